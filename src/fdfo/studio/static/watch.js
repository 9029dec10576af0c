// Pages that watch: parts that have changed are replaced, as the server tells; buttons and forms send wishes.
"use strict";

const main = document.getElementById("main");
const told = document.getElementById("told");
const RETRY_MS = 2000;
const SMALL = 96; // pixels a side: shown with visible pixels, as in the report

// What is wrong is told until the next look succeeds; the answer to a wish stays.
let isBroken = false;
function complain(text) {
  told.textContent = text;
  isBroken = true;
}

const parts = () => [...document.querySelectorAll("[data-part]")];

// ---- what changes ----

// What a person has opened, marked or typed stays.
function remember(part) {
  const open = [...part.querySelectorAll("details")].map((one) => one.open);
  const marked = new Set([...part.querySelectorAll("input[type=checkbox]:checked")].map((one) => one.value));
  return () => {
    [...part.querySelectorAll("details")].forEach((one, i) => { one.open = one.open || Boolean(open[i]); });
    for (const one of part.querySelectorAll("input[type=checkbox]")) one.checked = marked.has(one.value);
  };
}

function replace(part, [digest, html]) {
  const again = remember(part);
  const focused = part.contains(document.activeElement) ? document.activeElement.dataset.post : undefined;
  part.innerHTML = html;
  part.dataset.digest = digest;
  again();
  enliven(part);
  if (focused) part.querySelector(`[data-post="${CSS.escape(focused)}"]`)?.focus();
}

let isFetching = false;
let isStale = false;
async function refresh() {
  isStale = true;
  if (isFetching) return;
  isFetching = true;
  while (isStale) {
    isStale = false;
    try {
      const answer = await fetch(location.href, { headers: { have: parts().map((part) => part.dataset.digest).join(",") } });
      if (!answer.ok) { complain((await answer.json()).error); break; }
      const changed = await answer.json();
      for (const part of parts()) if (changed[part.dataset.part]) replace(part, changed[part.dataset.part]);
      if (isBroken) told.textContent = "";
      isBroken = false;
    } catch {
      complain("The studio does not answer");
      break;
    }
  }
  isFetching = false;
}

function listen() {
  const stream = new EventSource(main.dataset.events);
  stream.addEventListener("message", (event) => { if (event.data === "true") void refresh(); });
  stream.addEventListener("error", () => {
    complain("The studio does not answer");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  });
  addEventListener("pagehide", () => stream.close());
}

// ---- what a person wishes ----

async function send(address, body, done) {
  try {
    const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const content = await answer.json();
    told.textContent = answer.ok ? done : content.error;
    isBroken = false;
    if (answer.ok) await refresh();
  } catch {
    complain("The studio does not answer");
  }
}

bindings.push((part) => {
  for (const button of part.querySelectorAll("[data-post]")) {
    button.addEventListener("click", () => {
      if (button.dataset.sure && !confirm(button.dataset.sure)) return;
      void send(button.dataset.post, JSON.parse(button.dataset.body ?? "{}"), button.dataset.done);
    });
  }
  for (const form of part.querySelectorAll("[data-draw]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = Object.fromEntries(new FormData(form));
      const strengths = fields.strengths.split(",").map(Number);
      void send(form.dataset.draw, { ...fields, seed: Number(fields.seed), strengths }, "Started");
    });
  }
  // What was drawn: a row of strengths, each of which opens large.
  for (const row of part.querySelectorAll("[data-drawn]")) {
    const figures = [...row.querySelectorAll("figure")];
    const isSmall = (image) => Math.max(image.naturalWidth, image.naturalHeight) <= SMALL;
    const source = {
      count: () => figures.length,
      item: (at) => {
        const [image, text] = [figures[at].querySelector("img"), figures[at].querySelector("figcaption").textContent];
        return { title: row.dataset.drawn, isPixelated: isSmall(image), pictures: [{ source: image.src, text }] };
      },
      turn: () => {},
    };
    figures.forEach((figure, at) => {
      const image = figure.querySelector("img");
      const mark = () => image.classList.toggle("small", isSmall(image));
      image.addEventListener("load", mark);
      mark();
      figure.querySelector("button").addEventListener("click", () => viewer.show(source, at));
    });
  }
  // A contact sheet, picture by picture: the next prompt, or the same one of another row.
  for (const table of part.querySelectorAll("[data-contact]")) {
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1).map((cell) => cell.querySelector("button")));
    const titles = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.title);
    let row = 0;
    const picture = (column) => {
      const label = table.tBodies[0].rows[row].cells[0].textContent.trim();
      const button = rows[row][column];
      return button === null ? [] : [{ source: button.dataset.full, text: label }];
    };
    const source = {
      count: () => titles.length,
      item: (column) => ({ title: titles[column], isPixelated: table.classList.contains("pixelated"), pictures: picture(column) }),
      turn: (by) => { row = Math.min(rows.length - 1, Math.max(0, row - by)); },
    };
    rows.forEach((buttons, index) => buttons.forEach((button, column) => button?.addEventListener("click", () => {
      row = index;
      viewer.show(source, column);
    })));
  }
  // Several runs are compared once several are marked.
  for (const form of part.querySelectorAll("form.compare")) {
    const count = () => form.querySelectorAll("input:checked").length;
    const update = () => {
      for (const [name, least] of [["compare", 2], ["sheet", 1], ["tradeoffs", 1]]) {
        const button = form.querySelector(`[data-${name}]`);
        if (button) button.disabled = count() < least;
      }
    };
    form.addEventListener("change", update);
    update();
  }
});

// look.js has enlivened the page before these bindings were there.
for (const bind of bindings.slice(-1)) bind(document);
listen();
