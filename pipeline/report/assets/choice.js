/* Show one part of a section at a time: the one whose data-choice equals the values of the selects. */
"use strict";

(() => {
  for (const choices of document.querySelectorAll(".choices")) {
    const parts = [...choices.querySelectorAll(":scope > .choice")];
    const selects = [...choices.querySelectorAll("select.choice-of")];
    const show = () => {
      const wanted = selects.map((select) => select.value).join(" ");
      parts.forEach((part) => (part.hidden = part.dataset.choice !== wanted));
      return parts.find((part) => !part.hidden);
    };
    const change = () => report.redraw(show()); // the theme or the width may have changed since it was drawn
    selects.forEach((select) => select.addEventListener("change", change));
    if (selects.length) show(); // browsers restore the choice when a page is reloaded
  }
})();
