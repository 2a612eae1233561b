/* Tables of clips: a button opens the card of a clip below its row. */
"use strict";

(() => {
  function toggle(button) {
    const row = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) {
      row.nextElementSibling.remove();
      return;
    }
    const card = report.clipCard(report.study(button), Number(button.dataset.clip));
    const cell = report.make("td", { colspan: row.cells.length }, card);
    row.after(report.make("tr", { class: "opened" }, cell));
  }

  /** List the clips of a button in the container that follows it. */
  function list(button) {
    const container = button.parentElement.nextElementSibling;
    report.clipList(container, report.study(button), button.dataset.clips.split(",").map(Number), "Clips");
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && button.matches("table.playable [data-clip]")) toggle(button);
    if (button && button.matches("[data-clips]")) list(button);
  });
})();
