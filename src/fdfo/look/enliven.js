"use strict";

// What makes a part of a page live: of the whole page at its start, and of every part that comes later.
const bindings = [];
const enliven = (part) => { for (const bind of bindings) bind(part); };

// Choices between prepared parts: a field named "axis" shows the parts whose data-axis is its value.
bindings.push((part) => {
  for (const choice of part.querySelectorAll("[data-choice]")) {
    const name = choice.dataset.choice;
    choice.addEventListener("change", (event) => {
      for (const one of document.querySelectorAll(`[data-${name}]`)) one.hidden = one.getAttribute(`data-${name}`) !== event.target.value;
    });
  }
});
