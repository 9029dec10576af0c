"use strict";

// Curves: the nearest points to the pointer, or to the arrow keys, are read out in the legend.
bindings.push((part) => {
  for (const area of part.querySelectorAll("[data-readings]")) {
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
});
