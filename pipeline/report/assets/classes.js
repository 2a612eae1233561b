/* Classes: the confusion matrix of the chosen model, its most frequent errors, and the clips of every number. */
"use strict";

(() => {
  const { make, name } = report;
  const LISTED = 8; // further errors are shown by a button

  const count = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
  const clips = (value, total) => `${count(value)} of ${total} ${total === 1 ? "clip" : "clips"}`;

  /** Describe a cell in words. */
  function sentence({ data, study }, [row, column, value]) {
    const truth = study.labels[row];
    const share = data.totals[row] ? ` (${Math.round((100 * value) / data.totals[row])} %)` : "";
    if (data.columns) {
      const times = column < 2 ? clips(value, data.totals[row]) + share : `${count(value)} clips without it`;
      return `${truth}, ${data.columns[column]}: ${times}`;
    }
    const what = row === column ? `${truth} predicted correctly` : `${truth} predicted as ${study.labels[column]}`;
    return `${what}: ${clips(value, data.totals[row])}${share}`;
  }

  /** List the clips of a cell. */
  function listen(view, cell, opener) {
    const container = view.element.querySelector(".clips.mistakes");
    const model = view.study.models[view.model].title;
    report.clipList(container, view.study, cell[3], `${model}: ${sentence(view, cell)}`);
    view.element.querySelectorAll('[aria-pressed="true"]').forEach((one) => one.removeAttribute("aria-pressed"));
    if (opener) opener.setAttribute("aria-pressed", "true");
  }

  function cellButton(view, cell) {
    const [row, column, value] = cell;
    const isRight = view.data.columns ? column === 0 : row === column;
    const button = make("button", { type: "button", class: isRight ? "" : "mistake" }, count(value));
    button.title = sentence(view, cell);
    button.setAttribute("aria-label", button.title);
    button.style.setProperty("--share", Math.min(1, view.data.totals[row] ? value / view.data.totals[row] : 1));
    button.addEventListener("click", () => listen(view, cell, button));
    return button;
  }

  function matrix(view) {
    const { data, study } = view;
    const own = data.models[view.model];
    const cells = new Map(own.cells.map((cell) => [`${cell[0]},${cell[1]}`, cell]));
    const rows = own.orders[view.order] || study.labels.map((_, at) => at);
    const columns = data.columns ? data.columns.map((_, at) => at) : rows;
    const heading = (column) => (data.columns ? data.columns[column] : study.labels[column]);
    const head = make("tr", {}, make("th", { scope: "col" }, data.columns ? "class (clips)" : "true, predicted"));
    for (const column of columns) {
      head.append(make("th", { scope: "col", title: heading(column) }, make("span", {}, name(heading(column)))));
    }
    const body = make("tbody");
    for (const row of rows) {
      const total = make("span", { class: "quiet" }, ` (${data.totals[row]})`);
      const line = make("tr", {}, make("th", { scope: "row", title: study.labels[row] }, name(study.labels[row]), total));
      for (const column of columns) {
        const cell = cells.get(`${row},${column}`);
        line.append(make("td", {}, cell ? cellButton(view, cell) : null));
      }
      body.append(line);
    }
    const table = make("table", { class: data.columns ? "matrix" : "matrix square" }, make("thead", {}, head), body);
    view.element.querySelector(".matrix-side .matrix-scroll").replaceChildren(table);
    report.asGrid(table);
  }

  /** A button for an error: its classes and the number of clips. */
  function errorButton(view, cell) {
    const { data, study } = view;
    const [row, column, value] = cell;
    const middle = data.columns ? ` ${data.columns[column]} ` : " → ";
    const button = make("button", { type: "button", title: sentence(view, cell) }, name(study.labels[row]), middle);
    if (!data.columns) button.append(name(study.labels[column]), " ");
    button.append(make("span", { class: "quiet" }, count(value)));
    if (cell[3].length) button.addEventListener("click", () => listen(view, cell, button));
    else button.disabled = true; // the page of a large experiment has the clips of frequent errors only
    return make("li", {}, button);
  }

  function ranked(view) {
    const own = view.data.models[view.model];
    const cells = new Map(own.cells.map((cell) => [`${cell[0]},${cell[1]}`, cell]));
    const items = own.ranked.map(([row, column]) => errorButton(view, cells.get(`${row},${column}`)));
    items.slice(LISTED).forEach((item) => (item.hidden = true));
    const list = view.element.querySelector(".ranked");
    list.replaceChildren(...(items.length ? items : [make("li", {}, "None: every clip is classified correctly.")]));
    if (items.length <= LISTED) return;
    const more = make("button", { type: "button" }, `Show ${items.length - LISTED} more`);
    const last = make("li", { class: "more" }, more);
    list.append(last);
    more.addEventListener("click", () => {
      items.forEach((item) => (item.hidden = false));
      last.remove();
      items[LISTED].firstElementChild.focus();
    });
  }

  /** The clips of a class, errors of the model first. */
  function clipsOfClass(view, model, row) {
    const cells = view.data.models[model].cells.filter((cell) => cell[0] === row);
    const isRight = (cell) => (view.data.columns ? cell[1] === 0 : cell[1] === row);
    const wrong = cells.filter((cell) => !isRight(cell)).sort((one, other) => other[2] - one[2]);
    return [...new Set([...wrong, ...cells.filter(isRight)].flatMap((cell) => cell[3]))];
  }

  /** The table of classes by models: sort it, and list the clips of its numbers. */
  function scores(view) {
    const { element, study } = view;
    const table = element.querySelector("table.scores");
    const body = table.tBodies[0];
    const hardest = [...body.rows];
    const byName = [...hardest].sort((one, other) => one.dataset.class - other.dataset.class);
    const order = element.querySelector(".score-order");
    order.addEventListener("change", () => body.append(...(order.value === "name" ? byName : hardest)));
    report.asGrid(table);
    table.addEventListener("click", (event) => {
      const button = event.target.closest("td button");
      if (!button) return;
      const [model, row] = [Number(button.dataset.model), Number(button.closest("tr").dataset.class)];
      const caption = `${study.models[model].title}: clips of ${study.labels[row]}, errors first`;
      report.clipList(element.querySelector(".clips.scored"), study, clipsOfClass(view, model, row), caption);
    });
  }

  function start(element, data, study) {
    if (!data || data.is_summary) return; // regression has no classes, and many classes have another script
    const view = { element, data, study, model: 0, order: "" };
    const model = element.querySelector("select.model");
    const order = element.querySelector("select.order");
    const show = () => {
      [view.model, view.order] = [Number(model.value), order.value];
      ranked(view);
      matrix(view);
    };
    model.addEventListener("change", show);
    order.addEventListener("change", () => {
      view.order = order.value;
      matrix(view);
    });
    show();
    scores(view);
  }

  /** Below the answer: a button that plays the clips of the best model's most frequent error. */
  function offer(place) {
    const [data, study] = [report.data("classes", place), report.study(place)];
    const best = data && data.models[0];
    if (!best || !best.ranked.length) return;
    const [row, column] = best.ranked[0];
    const cell = best.cells.find((own) => own[0] === row && own[1] === column);
    const text = `${study.models[0].title}: ${sentence({ data, study }, cell)}`;
    const button = make("button", { type: "button", class: "play" }, "▶ Play its most frequent error");
    button.addEventListener("click", () => report.play(study, cell[3], button));
    place.append(button, " ", make("span", { class: "quiet" }, name(text)));
    place.hidden = false;
  }

  report.classes = { sentence, errorButton };
  document.querySelectorAll(".hear").forEach(offer);
  report.section("classes", start);
})();
