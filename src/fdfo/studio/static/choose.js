// The choosing page. A click shows the next pair at once, from pictures that are loaded; the choice is on its way
// meanwhile, and comes back as a notice if it could not be saved.
"use strict";

const at = (id) => document.getElementById(id);
const SMALL = 96; // pixels a side: shown with visible pixels, as in the report
const LONG = 140; // characters of a prompt
const RETRY_MS = 1000;
const NAMES = { left: "the left picture", right: "the right picture", tie: "no preference", skip: "skipped" };

let view = null; // what the server told last
let current = null; // the pair that is shown
let unsent = []; // choices on their way, oldest first
let isSending = false;
let seen = 0; // milliseconds that the pair was visible, until `since`
let since = 0;
let isRefused = false; // what the run shows cannot be had
let again = 0; // the timer of the next try then
let isLost = false; // the run does not answer
let isSwitching = false; // what the switch shows is on its way
const pairs = (count) => `${count} ${count === 1 ? "pair" : "pairs"}`;
const pictures = new Map(); // address -> image, loaded ahead

const same = (a, b) => a !== null && b !== null && a.pair === b.pair && a.repeat === b.repeat;

// ---- what is shown ----

function apply(told) {
  if (view === null || told.told_at >= view.told_at) view = told; // answers may overtake each other
  const items = waiting();
  for (const item of items) {
    load(item.left);
    load(item.right);
  }
  if (!items.some((item) => same(item, current))) show(items[0] ?? null);
  forget(items);
  draw();
}

function waiting() {
  return view.items.filter((item) => !unsent.some((one) => same(one.item, item)));
}

function show(item) {
  current = item;
  seen = 0;
  since = performance.now();
  if (item === null) return;
  at("prompt").textContent = item.prompt;
  scrollable(at("prompt"));
  for (const side of ["left", "right"]) at(side).querySelector(".frame").replaceChildren(load(item[side]));
}

// A long prompt is set smaller, can be scrolled by keys as well, and fades where there is more. The section may be hidden
// yet, so this is looked up when it is drawn.
function scrollable(element) {
  element.classList.toggle("long", element.textContent.length > LONG);
  element.scrollTop = 0;
  requestAnimationFrame(() => {
    if (element.scrollHeight > element.clientHeight + 1) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
    fade(element);
  });
}

function fade(element) {
  element.classList.toggle("more", element.scrollHeight > element.clientHeight + element.scrollTop + 1);
}
at("prompt").addEventListener("scroll", () => fade(at("prompt")));
addEventListener("resize", () => fade(at("prompt")));

function load(address) {
  if (!pictures.has(address)) {
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    image.addEventListener("load", () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL));
    image.addEventListener("error", () => {
      const gone = document.createElement("span");
      gone.className = "gone";
      gone.textContent = "This picture is missing: skip the pair";
      image.replaceWith(gone);
      pictures.set(address, gone);
    });
    image.src = address;
    image.decode?.().catch(() => {});
    pictures.set(address, image);
  }
  return pictures.get(address);
}

function forget(items) {
  const used = new Set([current, ...items].filter(Boolean).flatMap((item) => [item.left, item.right]));
  for (const address of pictures.keys()) if (!used.has(address)) pictures.delete(address);
}

function draw() {
  const isPair = current !== null;
  at("pair").hidden = !isPair;
  at("rest").hidden = isPair;
  at("question").textContent = view.all_skipped
    ? "Every pair was skipped, and training needs at least one. Which picture do you prefer for"
    : "Which picture do you prefer for";
  at("epoch").textContent = ["judging", "finished"].includes(view.phase) ? "Finished" : `Epoch ${view.epoch} of ${view.epochs}`;
  at("count").textContent = view.total ? `${view.decided} of ${pairs(view.total)}` : "";
  at("progress").hidden = !view.total;
  at("progress").max = view.total || 1;
  at("progress").value = view.decided;
  const hasPace = view.pace_s !== null && isPair;
  at("pace").textContent = hasPace ? `${view.pace_s.toFixed(1)} s a pair ·` : "";
  at("left-time").textContent = hasPace ? `${clock(view.left_s)} left` : "";
  at("switch").hidden = !view.has_others;
  if (!isSwitching) at("only").checked = view.only_undecided;
  at("undecided").textContent = view.undecided?.[1] ? `(${view.undecided[0]} of ${view.undecided[1]})` : "";
  at("facts").textContent = facts().join(" · ");
  for (const button of document.querySelectorAll(".undo")) button.disabled = !view.can_undo && !unsent.length;
  for (const side of ["left", "right", "tie"]) at(side).disabled = isPair && current.missing;
  if (!isPair) rest();
}

function facts() {
  const [alike, again] = view.self;
  const [unanimous, shared] = view.others;
  const found = [];
  if (view.people > 1) found.push(`You choose as ${view.who}`);
  if (again) found.push(`You agree with yourself on ${alike} of ${pairs(again)} that came again`);
  if (shared) found.push(`All agree on ${unanimous} of ${pairs(shared)} that several people chose from`);
  return found;
}

function rest() {
  const soon = view.training_s === null ? "" : ` That took ${clock(view.training_s)} the last time.`;
  const theirs = view.only_undecided ? "Others also get the pairs that you leave to the other scores. " : "";
  const texts = {
    drawing: ["Pictures are being drawn", "They appear here one after the other, as soon as they are there."],
    weighing: ["Pictures are being drawn", "Pairs appear here when all are there, and the other scores have judged them."],
    others: ["Others are still choosing", `You have chosen from all your pairs of this epoch. ${theirs}The next ones appear here.`],
    done: ["That was the last pair of this epoch", "Training goes on with your choices in a moment."],
    starting: ["The first pictures are being drawn", "They appear here by themselves."],
    training: ["Training on your choices", `The next pairs appear here by themselves.${soon}`],
    judging: ["Judging the result", "Thank you. This was the last choice; report.html in the folder of the run comes next."],
    finished: ["The run is finished", "Thank you. report.html in the folder of the run shows what the model learned."],
  };
  // The server may not know yet what was chosen last.
  const expected = view.decided + unsent.length < view.total ? texts.drawing : texts.done;
  const [title, text] = texts[view.phase] ?? expected;
  at("busy").hidden = view.phase === "others" || view.phase === "finished";
  at("rest-title").textContent = title;
  at("rest-text").textContent = text;
  at("rest").querySelector(".undo").hidden = !view.can_undo;
}

function clock(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function notice(text, isMild = false) {
  if (isLost && !text) return; // that stays until the run answers
  at("notice").textContent = text;
  at("notice").hidden = !text;
  at("notice").classList.toggle("mild", isMild);
}

// ---- what a person does ----

function choose(chosen) {
  if (current === null || (current.missing && chosen !== "skip")) return;
  const seconds = (seen + (document.hidden ? 0 : performance.now() - since)) / 1000;
  const { pair, repeat } = current;
  unsent.push({ item: current, body: { id: newId(), run: view.run, pair, chosen, repeat, seconds } });
  notice("");
  at("told").textContent = `Chosen: ${NAMES[chosen]}`;
  show(waiting()[0] ?? null);
  draw();
  void send();
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send() {
  if (isSending) return;
  isSending = true;
  while (unsent.length) {
    const one = unsent[0];
    const answer = await post("/choose/answer", one.body);
    if (answer === null || answer.status === 429) {
      await new Promise((done) => setTimeout(done, RETRY_MS));
      continue;
    }
    if (answer.status === 200) {
      unsent.shift();
      apply(answer.content);
    } else {
      unsent = []; // those after it are asked again
      current = null;
      await refresh();
      if (answer.status !== 409) show(view.items.find((item) => same(item, one.item)) ?? current);
      draw();
      notice(answer.content.error, answer.status === 409);
    }
  }
  isSending = false;
}

async function undo() {
  while (isSending) await new Promise((done) => setTimeout(done, 20));
  const answer = await post("/choose/undo", {});
  if (answer === null) return;
  if (answer.status !== 200) return notice(answer.content.error, true);
  apply(answer.content);
  const back = view.items.find((item) => item.pair === answer.content.done);
  if (back) show(back);
  draw();
  notice("");
  at("told").textContent = "Undone";
}

async function showOnly(isOn) {
  isSwitching = true;
  at("only").checked = isOn;
  while (isSending) await new Promise((done) => setTimeout(done, 20));
  const answer = await post("/choose/show", { run: view.run, only_undecided: isOn });
  isSwitching = false;
  if (answer?.status === 200) {
    notice("");
    current = null; // what is shown may be none of those that are wanted
    apply(answer.content);
  } else {
    draw();
    if (answer !== null) notice(answer.content.error);
  }
}
at("only").addEventListener("change", () => showOnly(at("only").checked));

async function post(address, body) {
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      keepalive: true,
    });
    lost(false);
    return { status: answer.status, content: await answer.json() };
  } catch {
    lost(true);
    return null;
  }
}

for (const chosen of ["left", "right", "tie", "skip"]) at(chosen).addEventListener("click", () => choose(chosen));
for (const button of document.querySelectorAll(".undo")) button.addEventListener("click", undo);

const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "tie", ArrowDown: "skip" };
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.altKey || event.metaKey || (event.ctrlKey && event.key !== "z")) return;
  if (event.key === "Backspace" || event.key === "u" || (event.ctrlKey && event.key === "z")) {
    event.preventDefault();
    void undo();
  } else if (event.key === "o" && view?.has_others && !isSwitching) {
    void showOnly(!at("only").checked);
  } else if (event.key in KEYS && view !== null) {
    event.preventDefault();
    choose(KEYS[event.key]);
  }
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) seen += performance.now() - since;
  else since = performance.now();
});

// ---- what the run tells ----

const LOST = "The run does not answer. What you chose is saved; repeat its command if it was stopped. This page goes on by itself.";
function lost(now) {
  if (now && view?.phase === "judging") { // it ends right after the report
    view.phase = "finished";
    draw();
  }
  if (now === isLost || view?.phase === "finished") return;
  isLost = now;
  at("notice").hidden = !now;
  if (now) notice(LOST, true);
}

async function refresh() {
  try {
    const answer = await fetch("/choose/state");
    if (answer.status === 401) return location.reload();
    const content = await answer.json();
    lost(false);
    if (!answer.ok) {
      isRefused = true;
      clearTimeout(again); // no line may tell when it is there again
      again = setTimeout(refresh, RETRY_MS);
      return notice(content.error);
    }
    if (isRefused) notice("");
    isRefused = false;
    apply(content);
  } catch {
    lost(true);
  }
}

function listen() {
  const stream = new EventSource("/choose/events");
  stream.addEventListener("message", (event) => {
    lost(false);
    if (event.data === "true") void refresh();
  });
  stream.addEventListener("error", () => {
    lost(true);
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  });
}

void refresh().then(listen);
