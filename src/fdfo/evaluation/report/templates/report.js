"use strict";

// Before and after: side by side, or over each other with one divider for all tiles; snapshots are swapped by number.
for (const gallery of document.querySelectorAll("[data-gallery]")) {
  const store = gallery.querySelector("[data-snapshots]");
  if (!store) continue;
  const snapshots = JSON.parse(store.textContent);
  const tiles = [...gallery.querySelectorAll(".tile")];
  const split = gallery.querySelector("[data-split]");
  const score = gallery.querySelector("[data-score]");
  const shown = { left: Number(gallery.dataset.left), right: Number(gallery.dataset.right) };
  for (const side of ["left", "right"]) {
    snapshots[shown[side]].tiles = tiles.map((tile) => tile.querySelector("img." + side).src);
  }

  const move = (percent) => {
    const value = Math.min(100, Math.max(0, percent));
    gallery.style.setProperty("--split", value + "%");
    split.value = value;
    split.setAttribute("aria-valuetext", Math.round(value) + " % left, " + Math.round(100 - value) + " % right");
  };
  split.addEventListener("input", () => move(Number(split.value)));
  gallery.querySelector("[data-view]").addEventListener("change", (event) => {
    gallery.classList.toggle("beside", event.target.value === "beside");
  });
  for (const tile of tiles) {
    const frame = tile.querySelector(".frame");
    const follow = (event) => {
      const box = frame.getBoundingClientRect();
      move(100 * (event.clientX - box.left) / box.width);
    };
    frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || gallery.classList.contains("beside")) return;
      frame.setPointerCapture(event.pointerId);
      follow(event);
    });
    frame.addEventListener("pointermove", (event) => {
      if (frame.hasPointerCapture(event.pointerId)) follow(event);
    });
  }

  const numbers = () => {
    for (const side of ["left", "right"]) {
      const values = snapshots[shown[side]].values;
      const label = score ? score.value : Object.keys(values)[0];
      tiles.forEach((tile, i) => {
        const place = tile.querySelector(`[data-value="${side}"]`);
        if (place) place.textContent = values[label] ? values[label][i] : "–";
      });
    }
  };
  const show = (side, index) => {
    const snapshot = snapshots[index];
    shown[side] = index;
    tiles.forEach((tile, i) => {
      const image = tile.querySelector("img." + side);
      image.src = snapshot.tiles[i];
      image.alt = tile.querySelector(".caption").textContent + " (" + snapshot.label + ")";
    });
    for (const place of gallery.querySelectorAll(`[data-name="${side}"]`)) place.textContent = snapshot.label;
    for (const input of gallery.querySelectorAll(`[data-side="${side}"]`)) {
      input.value = index;
      input.setAttribute("aria-valuetext", snapshot.label);
    }
    numbers();
  };
  for (const input of gallery.querySelectorAll("[data-side]")) {
    input.addEventListener("input", () => { stop(); show(input.dataset.side, Number(input.value)); });
    input.setAttribute("aria-valuetext", snapshots[shown[input.dataset.side]].label);
  }
  if (score) score.addEventListener("change", numbers);

  const play = gallery.querySelector("[data-play]");
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    if (play) play.textContent = "Play";
  };
  if (play) {
    play.addEventListener("click", () => {
      if (timer) return stop();
      let next = 0;
      const step = () => {
        show("right", next);
        next += 1;
        if (next === snapshots.length) stop();
      };
      timer = setInterval(step, 700);
      play.textContent = "Stop";
      step();
    });
  }
}

// Curves: the nearest points to the pointer, or to the arrow keys, are read out in the legend.
for (const area of document.querySelectorAll("[data-readings]")) {
  const lines = JSON.parse(area.dataset.readings);
  const outputs = area.closest("figure").querySelectorAll("output");
  const cursor = area.querySelector(".cursor");
  const places = [...new Set(lines.flat().map((reading) => reading[0]))].sort((a, b) => a - b);
  const nearest = (found, x, of) => found.reduce((a, b) => (Math.abs(of(b) - x) < Math.abs(of(a) - x) ? b : a));
  const end = places[places.length - 1];
  let at = end;
  const read = (x) => {
    at = nearest(places, x, (place) => place);
    cursor.hidden = false;
    cursor.style.left = at + "%";
    lines.forEach((line, i) => {
      const [, label, text] = nearest(line, at, (reading) => reading[0]);
      outputs[i].textContent = label + ": " + text;
    });
  };
  const rest = () => {
    cursor.hidden = true;
    at = end;
    outputs.forEach((output) => { output.textContent = output.dataset.rest; });
  };
  const point = (event) => {
    const box = area.getBoundingClientRect();
    read(100 * (event.clientX - box.left) / box.width);
  };
  area.addEventListener("pointermove", point);
  area.addEventListener("pointerdown", point);
  area.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") rest(); });
  area.addEventListener("blur", rest);
  area.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const index = cursor.hidden ? places.indexOf(at) : places.indexOf(at) + step;
    read(places[Math.min(places.length - 1, Math.max(0, index))]);
  });
}

// Choices between prepared parts of the page.
for (const select of document.querySelectorAll("[data-groups]")) {
  select.addEventListener("change", () => {
    for (const part of document.querySelectorAll("[data-group-epoch]")) part.hidden = part.dataset.groupEpoch !== select.value;
  });
}
for (const choice of document.querySelectorAll('[data-choice="axis"]')) {
  choice.addEventListener("change", (event) => {
    for (const part of document.querySelectorAll("[data-axis]")) part.hidden = part.dataset.axis !== event.target.value;
  });
}
