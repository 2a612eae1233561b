/* Charts: drawn by Plotly in the colours of the theme when they come near the viewport, with their values as tables. */
"use strict";

(() => {
  const { make } = report;
  const drawn = new Set();

  /** Load Plotly when it is first needed. Parsing its 1.5 MB earlier would delay the page. */
  function plotly() {
    if (!window.Plotly) {
      const script = document.createElement("script");
      script.textContent = document.getElementById("plotly").textContent;
      document.head.append(script);
    }
    return window.Plotly;
  }

  const colour = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();

  /** A copy of Plotly's JSON with names of colours replaced by the colours of the theme. */
  function coloured(value, key = "") {
    if (typeof value === "string") return /color(scale)?$/i.test(key) && value.startsWith("--") ? colour(value) : value;
    if (Array.isArray(value)) return value.map((own) => coloured(own, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, coloured(own, name)]));
    }
    return value;
  }

  const PAPER = 680; // text width of A4 and Letter in CSS pixels

  function layout(own, width) {
    const axis = { gridcolor: "--line", linecolor: "--line", zerolinecolor: "--line", automargin: true };
    const base = {
      font: { family: "system-ui, sans-serif", size: width < 500 ? 11 : 13, color: "--ink" },
      paper_bgcolor: "--page",
      plot_bgcolor: "--page",
      margin: { l: 60, r: 16, t: 16, b: 56 },
      legend: { orientation: "h", y: -0.22 },
      hoverlabel: { align: "left", bgcolor: "--raised", bordercolor: "--line", font: { color: "--ink" } },
      hovermode: "closest",
      dragmode: false,
      width: "printing" in document.documentElement.dataset ? PAPER : undefined,
    };
    return coloured({ ...base, ...own, xaxis: { ...axis, ...own.xaxis }, yaxis: { ...axis, ...own.yaxis } });
  }

  /** Escape text so that Plotly shows it verbatim. */
  const escaped = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  /** The JSON of a chart. Points with a clip but without a tooltip get the clip's id and label as tooltip. */
  function figureOf(place) {
    const figure = report.json(place.parentElement.querySelector(":scope > .figure-data"));
    for (const trace of figure.data.filter((own) => own.customdata && !own.hovertext)) {
      const study = report.study(place);
      const note = ({ id, target }) => `${escaped(id)}<br>${escaped(report.valueText(study, target))}`;
      trace.hovertext = trace.customdata.map((index) => (index >= 0 ? note(study.clips[index]) : ""));
      trace.hoverinfo = "text";
    }
    return figure;
  }

  /** Fade all series except the highlighted one. */
  function highlighted(traces, wanted) {
    return wanted ? traces.map((own) => ({ ...own, opacity: own.name === escaped(wanted) ? 1 : 0.12 })) : traces;
  }

  /** Remove the labels of points, which would overlap on a phone. */
  function unlabel(trace) {
    if (trace.mode) trace.mode = trace.mode.replace("+text", "");
  }

  function draw(place) {
    const figure = figureOf(place);
    if (place.clientWidth < 500) figure.data.forEach(unlabel);
    const data = highlighted(figure.data, place.dataset.highlight);
    // With equal scales, a narrow chart needs less height.
    const limit = figure.layout.yaxis.scaleanchor ? place.clientWidth + 140 : Infinity;
    const height = Math.min(figure.layout.height, limit);
    place.style.minHeight = `${height}px`;
    const config = { responsive: true, displaylogo: false, displayModeBar: false };
    plotly().react(place, coloured(data), layout({ ...figure.layout, height }, place.clientWidth), config);
    if (drawn.has(place)) return;
    drawn.add(place);
    place.on("plotly_click", (event) => play(place, event.points.map((point) => point.customdata)));
  }

  function play(place, indices, caption = "Clip") {
    const playable = indices.filter((index) => Number.isInteger(index) && index >= 0);
    const container = place.parentElement.querySelector(":scope > .clips");
    if (container && playable.length) report.clipList(container, report.study(place), playable, caption);
  }

  /** Undo the escaping of text for Plotly. */
  const plain = (text) =>
    String(text).replaceAll("<br>", "\n").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

  function rowsOf(trace) {
    if (trace.type === "heatmap") {
      return trace.z.flatMap((row, at) => row.map((value, column) => [trace.y[at], trace.x[column], value]));
    }
    const { array, arrayminus } = trace.error_y || {};
    const round = (value) => Number(value.toPrecision(6));
    return trace.x.map((x, at) => {
      const y = trace.y[at];
      const interval = array ? `${round(y - arrayminus[at])} – ${round(y + array[at])}` : "";
      const note = trace.hovertext || trace.text;
      return [trace.name, x, y, interval, note ? note[at] : "", trace.customdata ? trace.customdata[at] : null];
    });
  }

  /** The values of a chart as a table, with a play button for each point that has a clip. */
  function table(place) {
    const figure = figureOf(place);
    const isHeat = figure.data.some((trace) => trace.type === "heatmap");
    const axes = [plain(figure.layout.xaxis.title.text), plain(figure.layout.yaxis.title.text)];
    const rows = figure.data.filter((trace) => !trace.fill).flatMap(rowsOf);
    const heads = isHeat ? [axes[1], axes[0], "value"] : ["", ...axes, (figure.layout.meta || {}).interval || "95 % interval", "note", "clip"];
    const used = heads.map((_, at) => rows.some((row) => row[at] !== "" && row[at] !== null && row[at] !== undefined));
    const keep = (cells) => cells.filter((_, at) => used[at]);
    const line = (row) =>
      make("tr", {}, ...keep(row.map((value, at) => make("td", {}, at === 5 ? button(place, value) : cell(value)))));
    const head = make("tr", {}, ...keep(heads.map((text) => make("th", { scope: "col" }, text))));
    return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows.map(line)));
  }

  const cell = (value) => (value === null || value === undefined ? "" : plain(value));

  function button(place, index) {
    if (!Number.isInteger(index) || index < 0) return "";
    const made = make("button", { type: "button" }, "play");
    made.addEventListener("click", () => play(place, [index]));
    return made;
  }

  const queue = [];
  const whenIdle = (run) => (window.requestIdleCallback ? requestIdleCallback(run, { timeout: 500 }) : setTimeout(run, 1));

  /** Load Plotly or draw one chart of the queue per idle period, so that the page stays responsive. */
  function next() {
    if (!queue.length) return;
    whenIdle(next);
    if (window.Plotly) draw(queue.shift());
    else plotly();
  }

  function drawSoon(place) {
    queue.push(place);
    if (queue.length === 1) whenIdle(next);
  }

  window.addEventListener("beforeprint", () => queue.splice(0).forEach(draw));

  for (const place of document.querySelectorAll(".figure[data-figure]")) {
    report.whenNear(place, () => drawSoon(place));
    const values = place.parentElement.querySelector(":scope > .values");
    values.addEventListener("toggle", () => {
      if (values.open) values.querySelector("div").replaceChildren(table(place));
    });
  }

  /** Draw the visible charts again, after a change of theme or width. */
  report.redraw = (within = document) =>
    [...drawn].filter((place) => within.contains(place) && place.checkVisibility()).forEach(draw);
})();
