/* The map: highlight one class. */
"use strict";

(() => {
  for (const select of document.querySelectorAll("select.highlight")) {
    const choices = select.closest(".choices");
    const show = () => {
      for (const place of choices.querySelectorAll(".figure")) place.dataset.highlight = select.value;
    };
    select.addEventListener("change", () => {
      show();
      report.redraw(choices);
    });
    show();
  }
})();
