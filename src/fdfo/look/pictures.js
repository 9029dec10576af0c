"use strict";

// Before and after: side by side, or over each other with one divider for all tiles; snapshots are swapped by number.
bindings.push((part) => {
  for (const gallery of part.querySelectorAll("[data-gallery]")) {
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
});
