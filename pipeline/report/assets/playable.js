/* Buttons that play clips, in tables and in text. */
"use strict";

(() => {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-clips]");
    if (button) report.play(report.study(button), button.dataset.clips.split(",").map(Number), button);
  });
})();
