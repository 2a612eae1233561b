/* Cards of clips: a play button, a picture, the true label, and the predictions of every model. */
"use strict";

(() => {
  const AT_ONCE = 20;
  const { make, name } = report;

  const seconds = (value) => (value === null ? "" : `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} s`);

  /** A target or a prediction as text: the class, the classes, or the number. */
  function valueText(study, value) {
    if (value === null || value === undefined) return "–";
    if (study.task === "regression") return String(value);
    if (study.task === "multi-label") return value.length ? value.map((at) => study.labels[at]).join(", ") : "none";
    return study.labels[value];
  }

  const same = (one, other) =>
    Array.isArray(one) ? one.length === other.length && one.every((value, at) => value === other[at]) : one === other;

  /** The predictions of one model over its repetitions: one table row per value, most frequent first. */
  function countPredictions(study, model, at) {
    const counts = new Map();
    model.predicted.forEach((values, repetition) => {
      const text = valueText(study, values[at]);
      const own = counts.get(text) || { text, value: values[at], times: 0, sum: 0 };
      own.times += 1;
      own.sum += model.confidence ? model.confidence[repetition][at] : 0;
      counts.set(text, own);
    });
    return [...counts.values()].sort((one, other) => other.times - one.times);
  }

  function verdict(study, value, target) {
    if (study.task === "regression") {
      return make("span", {}, `off by ${Math.abs(value - target).toPrecision(3)}`);
    }
    const right = same(value, target);
    return make("span", { class: right ? "right" : "wrong" }, right ? "✓ correct" : "✗ wrong");
  }

  const swatch = () => make("span", { class: "swatch", "aria-hidden": "true" });

  /** The predictions of every model for a clip, as a table. */
  function predictions(study, index) {
    const body = make("tbody");
    for (const model of study.models) {
      const found = countPredictions(study, model, study.clips[index].at);
      found.forEach((one, at) => {
        const times = model.predicted.length > 1 ? ` (${one.times} of ${model.predicted.length})` : "";
        const sure = model.confidence ? `${Math.round(one.sum / one.times / 10)} %` : "";
        body.append(
          make(
            "tr",
            {},
            at ? null : make("th", { scope: "row", rowspan: found.length, style: `--own: ${model.colour}` }, swatch(), name(model.title)),
            make("td", {}, name(one.text), times),
            make("td", {}, verdict(study, one.value, study.clips[index].target)),
            make("td", { class: "number" }, sure),
          ),
        );
      });
    }
    const heads = ["model", "predicted", "", study.models.some((model) => model.confidence) ? "confidence" : ""];
    const head = make("tr", {}, ...heads.map((text) => make(text ? "th" : "td", text ? { scope: "col" } : {}, text)));
    return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), body));
  }

  /** The name and duration of a clip. */
  const clipName = (clip) => [name(clip.id), " ", make("span", { class: "quiet" }, seconds(clip.duration))];

  const truth = (study, clip) => make("p", {}, "true: ", make("strong", {}, name(valueText(study, clip.target))));

  /** A button that plays a clip, or pauses it while it plays. */
  function playButton(study, index) {
    const button = make("button", { type: "button", class: "play", "aria-label": `Play ${study.clips[index].id}` }, "▶");
    button.addEventListener("click", () => report.play(study, [index], button));
    return button;
  }

  /** The card of a clip: its id, picture and true label, and the predictions of every model. */
  function clipCard(study, index) {
    const clip = study.clips[index];
    return make(
      "div",
      { class: "clip", role: "group", "aria-label": `clip ${clip.id}` },
      make("p", { class: "clip-id" }, playButton(study, index), " ", ...clipName(clip)),
      report.picture(clip),
      truth(study, clip),
      predictions(study, index),
    );
  }

  /** Show the cards of clips in a container below `caption`, and move the focus to the caption. */
  function clipList(container, study, indices, caption) {
    const heading = make("p", { class: "clips-caption", tabindex: "-1" }, caption);
    const all = make("button", { type: "button", class: "play" }, `▶ Play all ${indices.length}`);
    all.addEventListener("click", () => report.play(study, indices, all));
    const cards = make("div", { class: "cards" });
    const more = make("button", { type: "button" });
    let shown = 0;
    function show() {
      const next = indices.slice(shown, shown + AT_ONCE);
      cards.append(...next.map((index) => clipCard(study, index)));
      shown += next.length;
      more.textContent = `Show ${Math.min(AT_ONCE, indices.length - shown)} more of ${indices.length}`;
      more.hidden = shown >= indices.length;
    }
    more.addEventListener("click", () => {
      const before = cards.children.length;
      show();
      cards.children[before].querySelector("button").focus();
    });
    show();
    container.replaceChildren(heading, ...(indices.length > 1 ? [all] : []), cards, more);
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ block: "nearest" });
  }

  Object.assign(report, { clipCard, clipList, clipName, predictions, truth, valueText });
})();
