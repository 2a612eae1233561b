/* Parts of a section of which selects show one at a time: the one whose data-choice is their values. */
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
    const change = () => report.redraw(show()); // a chart may have been drawn in other colours, at another width
    selects.forEach((select) => select.addEventListener("change", change));
    if (selects.length) show(); // browsers keep the choice when a page is loaded again
  }
})();
