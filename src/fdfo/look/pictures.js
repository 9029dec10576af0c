"use strict";

// Pictures before and after: side by side, or over each other with one divider for all tiles. Snapshots are swapped by
// number; tiles are put in order and left out by the change of a score.
bindings.push((part) => {
  for (const gallery of part.querySelectorAll("[data-gallery]")) {
    const tiles = [...gallery.querySelectorAll(".tile")];
    const title = (tile) => tile.querySelector(".caption").title;
    const store = gallery.querySelector("[data-snapshots]");
    const more = gallery.querySelector("[data-more]");
    let most = matchMedia("(max-width: 640px)").matches ? 8 : Infinity;
    let seen = tiles;
    const turned = { by: () => {} };

    const picture = (tile, side) => {
      const image = tile.querySelector("img." + side);
      const value = tile.querySelector(`[data-value="${side}"]`);
      const change = side === "right" ? tile.querySelector("[data-change]") : null;
      const name = gallery.querySelector(`[data-name="${side}"]`);
      const input = gallery.querySelector(`select[data-side="${side}"]`);
      const where = name ? name.textContent : input ? input.selectedOptions[0].text : "";
      return { source: image.src, text: [where, value && value.textContent, change && change.textContent].filter(Boolean).join(" · ") };
    };
    const item = (tile) => ({
      title: title(tile),
      isPixelated: gallery.classList.contains("pixelated"),
      pictures: ["left", "right"].filter((side) => tile.querySelector("img." + side)).map((side) => picture(tile, side)),
    });
    const arrange = () => {
      const ordered = [...seen, ...tiles.filter((tile) => !seen.includes(tile))];
      ordered.forEach((tile, i) => {
        tile.hidden = i >= Math.min(most, seen.length);
        tile.parentElement.append(tile);
      });
      more.hidden = seen.length <= most;
      gallery.querySelector("[data-none]").hidden = seen.length > 0;
    };
    for (const tile of tiles) {
      const frame = tile.querySelector(".frame");
      const open = () => viewer.show({ count: () => seen.length, item: (i) => item(seen[i]), turn: (by) => turned.by(by) }, seen.indexOf(tile));
      tile.querySelector("[data-enlarge]").addEventListener("click", open);
      frame.addEventListener("click", (event) => {
        if (event.target.matches("img") && (!store || gallery.classList.contains("beside"))) open();
      });
    }
    more.addEventListener("click", () => { most = Infinity; arrange(); });
    arrange();
    if (!store) continue;

    const { snapshots, decimals } = JSON.parse(store.textContent);
    const split = gallery.querySelector("[data-split]");
    const [score, order, show] = ["score", "order", "show"].map((name) => gallery.querySelector(`[data-${name}]`));
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
        if (event.button !== 0 || !event.target.matches("img") || gallery.classList.contains("beside")) return;
        frame.setPointerCapture(event.pointerId);
        follow(event);
      });
      frame.addEventListener("pointermove", (event) => {
        if (frame.hasPointerCapture(event.pointerId)) follow(event);
      });
    }

    const numbers = () => {
      const label = score ? score.value : Object.keys(decimals)[0];
      if (label === undefined) return;
      const places = decimals[label];
      const text = (value, isSigned) => {
        if (value === null) return "–";
        const size = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
        const isZero = !/[1-9]/.test(size);
        return (isZero ? "" : value < 0 ? "−" : isSigned ? "+" : "") + size;
      };
      const changes = new Map();
      const counts = { better: 0, worse: 0, "the same": 0 };
      tiles.forEach((tile, i) => {
        const [before, after] = ["left", "right"].map((side) => {
          const value = (snapshots[shown[side]].values[label] || [])[i];
          tile.querySelector(`[data-value="${side}"]`).textContent = text(value === undefined ? null : value, false);
          return value;
        });
        const isKnown = Number.isFinite(before) && Number.isFinite(after);
        const change = isKnown ? Number((after - before).toFixed(places)) : null;
        const outcome = change === null ? "" : change > 0 ? "better" : change < 0 ? "worse" : "the same";
        const mark = tile.querySelector("[data-change]");
        mark.textContent = text(change, true);
        mark.dataset.outcome = outcome;
        changes.set(tile, change);
        if (outcome) counts[outcome] += 1;
      });
      gallery.querySelector("[data-tally]").textContent = `By ${label}: ${counts.better} better, ${counts.worse} worse and ${counts["the same"]} the same.`;
      seen = tiles.filter((tile) => !show.value || tile.querySelector("[data-change]").dataset.outcome === show.value);
      const sign = { gain: -1, loss: 1 }[order.value];
      if (sign) seen.sort((a, b) => sign * ((changes.get(a) ?? -sign * Infinity) - (changes.get(b) ?? -sign * Infinity)) || 0);
      arrange();
    };
    const name = (input, snapshot) => { if (input.matches("[type=range]")) input.setAttribute("aria-valuetext", snapshot.label); };
    const swap = (side, index) => {
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
        name(input, snapshot);
      }
      numbers();
    };
    turned.by = (by) => swap("right", Math.min(snapshots.length - 1, Math.max(0, shown.right + by)));
    for (const input of gallery.querySelectorAll("[data-side]")) {
      input.addEventListener("input", () => { stop(); swap(input.dataset.side, Number(input.value)); });
      name(input, snapshots[shown[input.dataset.side]]);
    }
    for (const choice of [score, order, show]) if (choice) choice.addEventListener("change", numbers);

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
          swap("right", next);
          next += 1;
          if (next === snapshots.length) stop();
        };
        timer = setInterval(step, 700);
        play.textContent = "Stop";
        step();
      });
    }
  }

  // Groups that were compared in training.
  for (const group of part.querySelectorAll("[data-group]")) {
    const siblings = [...group.parentElement.querySelectorAll("[data-group]")];
    const item = (of) => ({
      title: of.querySelector(".caption").title,
      isPixelated: of.parentElement.classList.contains("pixelated"),
      pictures: [...of.querySelectorAll(".sample")].map((sample) => ({
        source: sample.querySelector("img").src,
        text: sample.querySelector("p").textContent.trim().replace(/\s+/g, " · "),
        isBetter: sample.classList.contains("better"),
      })),
    });
    const open = () => viewer.show({ count: () => siblings.length, item: (i) => item(siblings[i]), turn: () => {} }, siblings.indexOf(group));
    group.querySelector("[data-enlarge]").addEventListener("click", open);
    group.querySelector(".samples").addEventListener("click", open);
  }
});
