/* Keyboard navigation in a table of buttons: the table is a single tab stop, and arrow keys move between buttons. */
"use strict";

(() => {
  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

  const buttonAt = (row, column) => row.cells[column] && row.cells[column].querySelector("button");

  /** The button that a key moves to from a cell; null if there is none in that direction. */
  function next(cell, key) {
    const rows = [...cell.closest("tbody").rows];
    let row = rows.indexOf(cell.parentElement);
    let column = cell.cellIndex;
    if (key === "Home") return cell.parentElement.querySelector("button");
    if (key === "End") return [...cell.parentElement.querySelectorAll("button")].pop();
    const [down, right] = STEPS[key];
    for (;;) {
      row += down;
      column += right;
      if (row < 0 || column < 0 || row >= rows.length || column >= rows[row].cells.length) return null;
      const found = buttonAt(rows[row], column);
      if (found) return found;
    }
  }

  /** Enable keyboard navigation for the buttons of a table. */
  report.asGrid = (table) => {
    const buttons = table.querySelectorAll("tbody button");
    buttons.forEach((button, at) => (button.tabIndex = at ? -1 : 0));
    const enter = (button) => {
      const before = table.querySelector('tbody button[tabindex="0"]');
      if (before) before.tabIndex = -1;
      button.tabIndex = 0;
    };
    table.addEventListener("focusin", (event) => event.target.matches("tbody button") && enter(event.target));
    table.addEventListener("keydown", (event) => {
      const button = event.target.closest("tbody button");
      if (!button || !(event.key in STEPS || ["Home", "End"].includes(event.key))) return;
      event.preventDefault();
      const found = next(button.closest("td"), event.key);
      if (found) found.focus();
    });
  };
})();
