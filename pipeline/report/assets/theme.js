/* Light or dark theme: follows the system until the user chooses. Printing always uses the light theme. */
"use strict";

(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";

  function show() {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
    report.redraw();
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  window.addEventListener("beforeprint", () => {
    root.dataset.printing = "";
    report.redraw();
  });
  window.addEventListener("afterprint", () => {
    delete root.dataset.printing;
    report.redraw();
  });
  show();
})();
