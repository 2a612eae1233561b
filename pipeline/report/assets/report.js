/* The page's data and shared functions of the sections. Text is always inserted as text, never as HTML. */
"use strict";

const report = (() => {
  const parsed = new WeakMap();

  function json(script) {
    if (!parsed.has(script)) parsed.set(script, JSON.parse(script.textContent));
    return parsed.get(script);
  }

  /** A new element: `report.make("td", {class: "number"}, "0.97", other, …)`; null children are left out. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    for (const child of children) if (child !== null && child !== undefined) element.append(child);
    return element;
  }

  /** A name from the user's data, isolated so that its writing direction does not affect the text around it. */
  const name = (text) => make("bdi", {}, String(text));

  const studies = new WeakMap();

  /** The experiment that contains an element: {name, task, labels, clips: [{id, target, duration, src, picture}], models}. */
  function study(element) {
    const article = element.closest(".study");
    if (!studies.has(article)) {
      const stored = json(article.querySelector(":scope > .study-clips"));
      const { number, id, target, duration, src } = stored.clips;
      const inside = article.querySelector(":scope > .study-audio");
      const source = (at) => src[at] ?? (inside ? json(inside)[at] : null);
      const pictures = article.querySelector(":scope > .study-pictures");
      const clips = []; // by number; clips that no section lists are missing
      id.forEach((own, at) => {
        clips[number[at]] = {
          id: own,
          at, // its position in the lists of predictions
          target: target[at],
          duration: duration[at],
          get src() {
            return source(at);
          },
          get picture() {
            return pictures ? json(pictures)[at] : null;
          },
        };
      });
      studies.set(article, { ...stored, name: article.dataset.study, clips });
    }
    return studies.get(article);
  }

  /** The JSON of section `key` in the experiment that contains an element. */
  function data(key, element) {
    const section = element.closest(".study").querySelector(`:scope > [data-section="${CSS.escape(key)}"]`);
    const script = section && section.querySelector(":scope > .section-data");
    return script ? json(script) : null;
  }

  const waiting = new Map();
  const observer = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => begin(entry.target)),
    { rootMargin: "600px 0px" },
  );

  function begin(element) {
    observer.unobserve(element);
    const start = waiting.get(element);
    waiting.delete(element);
    if (start) start();
  }

  /** Run `start` once when `element` comes near the viewport, or before printing; after what already waits for it. */
  function whenNear(element, start) {
    const before = waiting.get(element);
    waiting.set(element, before ? () => (before(), start()) : start);
    observer.observe(element);
  }

  /** Run `start(element, data, study)` once for each section `key` of the page when it comes near the viewport. */
  function section(key, start) {
    for (const element of document.querySelectorAll(`[data-section="${CSS.escape(key)}"]`)) {
      whenNear(element, () => start(element, data(key, element), study(element)));
    }
  }

  window.addEventListener("beforeprint", () =>
    [...waiting.keys()].filter((element) => element.checkVisibility()).forEach(begin),
  );

  return { json, make, name, study, data, section, whenNear };
})();
window.report = report;
