/* Boxes that scroll can be reached by keyboard; boxes whose content fits are no stop. */
"use strict";

(() => {
  const watched = new WeakSet();

  function update(box) {
    const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    if (!scrolls) {
      box.removeAttribute("tabindex");
      return;
    }
    box.tabIndex = 0;
    if (box.hasAttribute("role")) return;
    const section = box.closest("section");
    const heading = section && section.querySelector("h2");
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `${heading ? heading.textContent : "Table"}, scrolls`);
  }

  const sizes = new ResizeObserver((entries) => {
    const boxes = new Set(entries.map((entry) => entry.target.closest(".scroll")));
    boxes.delete(null); // its content was replaced
    boxes.forEach(update);
  });

  function watch() {
    for (const box of document.querySelectorAll(".scroll")) {
      const content = box.firstElementChild;
      for (const element of [box, content]) {
        if (!element || watched.has(element)) continue;
        watched.add(element);
        sizes.observe(element);
      }
    }
  }

  new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
  watch();
})();
