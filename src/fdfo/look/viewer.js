"use strict";

// Pictures as large as the window. The left and right arrow keys go to the next ones, up and down to another epoch, F shows
// every pixel, Escape leaves. A source says how many things there are, what one of them is, and how to turn to another epoch.
const viewer = (() => {
  let source, at, dialog;

  const element = (tag, properties, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const build = () => {
    const button = (text, label, act, extra) => element("button", { type: "button", textContent: text, ariaLabel: label, onclick: act, ...extra });
    const stage = element("div", { className: "stage", tabIndex: 0, role: "group", ariaLabel: "Pictures" });
    const full = button("Full size", null, () => setFull(!stage.classList.contains("full")), { className: "full-size", ariaPressed: "false" });
    const setFull = (isFull) => {
      stage.classList.toggle("full", isFull);
      full.ariaPressed = String(isFull);
    };
    const built = element("dialog", { className: "viewer", ariaLabel: "Pictures, large" },
      element("div", { className: "tools" },
        element("p", { className: "title" }),
        element("span", { className: "at" }),
        button("←", "Previous", () => step(-1)),
        button("→", "Next", () => step(1), { autofocus: true }),
        full,
        button("Close", null, () => built.close())),
      stage);
    built.addEventListener("close", () => setFull(false));
    document.addEventListener("keydown", (event) => {
      if (!built.open) return;
      const isMoving = stage.classList.contains("full") && event.target === stage;  // the keys then move the picture
      const act = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(1), ArrowDown: () => turn(-1) }[event.key];
      if (event.key === "f" && !full.hidden) setFull(!stage.classList.contains("full"));
      else if (act && !isMoving) { event.preventDefault(); act(); }
    });
    document.body.append(built);
    return built;
  };
  const draw = () => {
    const { title, isPixelated, pictures } = source.item(at);
    const stage = dialog.querySelector(".stage");
    dialog.querySelector(".title").textContent = title;
    dialog.querySelector(".at").textContent = `${at + 1} of ${source.count()}`;
    dialog.querySelector(".full-size").hidden = isPixelated;
    stage.classList.toggle("pixelated", isPixelated);
    stage.style.setProperty("--count", pictures.length);
    stage.replaceChildren(...pictures.map((one) => element("figure", { className: one.isBetter ? "better" : "" },
      element("img", { src: one.source, alt: `${title} (${one.text})` }),
      element("figcaption", { textContent: one.text }))));
  };
  const step = (by) => {
    at = (at + by + source.count()) % source.count();
    draw();
  };
  const turn = (by) => {
    source.turn(by);
    at = Math.min(at, Math.max(0, source.count() - 1));
    if (source.count()) draw();
    else dialog.close();
  };
  return {
    show: (from, index) => {
      dialog = dialog || build();
      [source, at] = [from, index];
      draw();
      dialog.showModal();
    },
  };
})();
