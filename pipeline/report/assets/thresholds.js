/* Thresholds: a slider shows the rates of the chosen model and class at a threshold, and marks it in the chart. */
"use strict";

(() => {
  const text = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

  /** The interval of a rate as text; empty for the rates of a class. */
  function interval({ low, high }, at) {
    return low && low[at] !== null && high[at] !== null ? `(${text(low[at])}–${text(high[at])})` : "";
  }

  /** A line at the threshold that was chosen on validation clips. */
  const chosenLine = (threshold) => ({
    type: "scatter",
    mode: "lines",
    name: "chosen on validation clips",
    x: [threshold, threshold],
    y: [0, 1],
    line: { color: "--muted", width: 2, dash: "dash" },
    hoverinfo: "skip",
  });

  /** Put the curves of the shown model and class into the chart, with lines at the threshold and the chosen one. */
  function drawCurves(view, own, threshold) {
    const { figure, data } = view;
    const lines = figure.data.filter((trace) => !trace.fill);
    const bands = figure.data.filter((trace) => trace.fill);
    own.curves.forEach(({ values, low, high }, at) => {
      Object.assign(lines[at], { x: data.thresholds, y: values });
      delete lines[at].error_y; // the interval is drawn as a band
      const known = low ? data.thresholds.map((_, place) => place).filter((place) => low[place] !== null) : [];
      const back = [...known].reverse();
      bands[at].x = [...known, ...back].map((place) => data.thresholds[place]);
      bands[at].y = [...known.map((place) => high[place]), ...back.map((place) => low[place])];
    });
    figure.data = [...bands, ...lines.slice(0, own.curves.length), ...(own.chosen === null ? [] : [chosenLine(own.chosen)])];
    const line = { color: "--ink", width: 2 };
    figure.layout.shapes = [{ type: "line", x0: threshold, x1: threshold, y0: 0, y1: 1, yref: "paper", line }];
  }

  function show(view) {
    const { data, element, slider } = view;
    const own = data.models[view.model.value][view.kind ? view.kind.value : 0];
    const at = Number(slider.value);
    const threshold = data.thresholds[at];
    element.querySelector(".at").textContent = threshold.toFixed(2);
    const said = own.curves.map((curve, place) => {
      const cell = view.cells[place];
      cell.querySelector("strong").textContent = text(curve.values[at]);
      cell.querySelector("span").textContent = interval(curve, at);
      return `${data.rates[place].replaceAll("_", " ")} ${text(curve.values[at])}`;
    });
    slider.setAttribute("aria-valuetext", `${threshold.toFixed(2)}: ${said.join(", ")}`);
    view.toChosen.hidden = own.chosen === null;
    if (own.chosen !== null) view.toChosen.textContent = `Go to the chosen threshold, ${own.chosen.toFixed(2)}`;
    drawCurves(view, own, threshold);
    cancelAnimationFrame(view.frame);
    view.frame = requestAnimationFrame(() => report.redraw(view.chart));
  }

  /** Move the slider to the chosen threshold, or to 0.5. */
  function toChosen(view) {
    const { chosen } = view.data.models[view.model.value][view.kind ? view.kind.value : 0];
    view.slider.value = Math.round((chosen ?? 0.5) * (view.data.thresholds.length - 1));
    show(view);
  }

  function start(element, data) {
    const chart = element.querySelector(".chart");
    const view = {
      element,
      data,
      chart,
      figure: report.json(chart.querySelector(".figure-data")),
      model: element.querySelector("select.model"),
      kind: element.querySelector("select.view"),
      slider: element.querySelector(".slider"),
      toChosen: element.querySelector(".to-chosen"),
      cells: [...element.querySelectorAll(".rates dd")],
    };
    const change = () => {
      chart.querySelector(".values").open = false; // its table is that of the curves before
      toChosen(view);
    };
    view.model.addEventListener("change", change);
    if (view.kind) view.kind.addEventListener("change", change);
    view.slider.addEventListener("input", () => show(view));
    view.toChosen.addEventListener("click", () => {
      toChosen(view);
      view.slider.focus();
    });
    element.querySelectorAll(".threshold, .rates").forEach((one) => (one.hidden = false));
    toChosen(view);
  }

  report.section("thresholds", start);
})();
