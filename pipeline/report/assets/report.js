/* The page's data and what sections share. Text always goes in as text, never as HTML. */
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

  /** A name that someone else gave, kept apart from the text around it whichever way it is written. */
  const name = (text) => make("bdi", {}, String(text));

  const studies = new WeakMap();

  /** The experiment an element stands in: {name, task, labels, clips: [{id, target, duration, src}], models}. */
  function study(element) {
    const article = element.closest(".study");
    if (!studies.has(article)) {
      const held = json(article.querySelector(":scope > .study-clips"));
      const { id, target, duration, src } = held.clips;
      const inside = article.querySelector(":scope > .study-audio");
      const source = (at) => src[at] ?? (inside ? json(inside)[at] : null);
      const clips = id.map((own, at) => ({
        id: own,
        target: target[at],
        duration: duration[at],
        get src() {
          return source(at);
        },
      }));
      studies.set(article, { ...held, name: article.dataset.study, clips });
    }
    return studies.get(article);
  }

  /** The JSON of the section `key` of the experiment an element stands in. */
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

  /** Run `start` once `element` comes near the window, at the latest before printing. */
  function whenNear(element, start) {
    waiting.set(element, start);
    observer.observe(element);
  }

  /** Run `start(element, data, study)` for each section `key` of the page once it comes near the window. */
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
