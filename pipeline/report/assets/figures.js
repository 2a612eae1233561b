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
    const margin = { ...base.margin, ...own.margin };
    return coloured({ ...base, ...own, margin, xaxis: { ...axis, ...own.xaxis }, yaxis: { ...axis, ...own.yaxis } });
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

  const NARROW = 600; // names and labels would overlap in charts that are narrower than this many pixels

  /** Show names of series either in the chart or, if it is narrow, in a legend below it. */
  function named(figure, width) {
    const isNamed = (figure.layout.meta || {}).named;
    if (width >= NARROW) {
      if (isNamed) figure.layout.showlegend = false;
      return;
    }
    if (isNamed) {
      delete figure.layout.annotations;
      delete figure.layout.margin;
    }
    for (const trace of figure.data) if (trace.mode) trace.mode = trace.mode.replace("+text", "");
  }

  function draw(place) {
    const figure = structuredClone(figureOf(place));
    named(figure, place.clientWidth);
    const data = highlighted(figure.data, place.dataset.highlight);
    // With equal scales, a narrow chart needs less height.
    const limit = figure.layout.yaxis.scaleanchor ? place.clientWidth + 140 : Infinity;
    figure.layout.height = Math.min(figure.layout.height, limit);
    place.style.minHeight = `${figure.layout.height}px`;
    const config = { responsive: true, displaylogo: false, displayModeBar: false };
    plotly().react(place, coloured(data), layout(figure.layout, place.clientWidth), config);
    if (drawn.has(place)) return;
    drawn.add(place);
    place.on("plotly_click", (event) => play(place, event.points.map((point) => point.customdata)));
  }

  function play(place, indices, button) {
    const playable = indices.filter((index) => Number.isInteger(index) && index >= 0);
    if (playable.length) report.play(report.study(place), playable, button);
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
    const label = `Play ${report.study(place).clips[index].id}`;
    const made = make("button", { type: "button", class: "play", "aria-label": label }, "▶");
    made.addEventListener("click", () => play(place, [index], made));
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

  let saving = Promise.resolve(); // Plotly saves one chart at a time

  /** Save a chart as it is shown, or its values as CSV. */
  function download(place, format) {
    const filename = place.dataset.figure;
    if (format !== "csv") {
      if (!drawn.has(place)) draw(place);
      const size = { width: place.clientWidth, height: place.clientHeight, scale: 2 };
      saving = saving.then(() => plotly().downloadImage(place, { format, filename, ...size }));
      return;
    }
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const rows = [...table(place).rows].map((row) => [...row.cells].map((own) => quoted(own.textContent)).join(","));
    const link = make("a", { download: `${filename}.csv` });
    link.href = URL.createObjectURL(new Blob([rows.join("\n"), "\n"], { type: "text/csv" }));
    link.click();
    URL.revokeObjectURL(link.href);
  }

  for (const tools of document.querySelectorAll(".chart-tools")) {
    tools.hidden = false;
    tools.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) download(tools.parentElement.querySelector(":scope > .figure"), button.dataset.format);
    });
  }

  /** Draw the visible charts again, after a change of theme or width. */
  report.redraw = (within = document) =>
    [...drawn].filter((place) => within.contains(place) && place.checkVisibility()).forEach(draw);
})();
