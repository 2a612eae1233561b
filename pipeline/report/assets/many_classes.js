/* Many classes: the most frequent errors, a matrix of blocks of classes, and a table of scores, with a search box. */
"use strict";

(() => {
  const { make, name } = report;
  const { sentence, errorButton } = report.classes;
  const AT_ONCE = 25;

  /** Fill a list or a table with rows, some at a time; `more` shows the next ones. */
  function fill(container, more, items, rowOf) {
    container.replaceChildren();
    let shown = 0;
    const show = () => {
      const next = items.slice(shown, shown + AT_ONCE);
      container.append(...next.map(rowOf));
      shown += next.length;
      more.hidden = shown >= items.length;
      more.textContent = `Show ${Math.min(AT_ONCE, items.length - shown)} more of ${items.length.toLocaleString("en")}`;
    };
    more.onclick = () => {
      const first = shown;
      show();
      const button = container.children[first].querySelector("button:enabled");
      if (button) button.focus();
    };
    show();
  }

  const blockName = (view, block) => {
    const [first, last] = [view.study.labels[block[0]], view.study.labels[block[block.length - 1]]];
    return block.length > 1 ? `${first} … ${last}` : first;
  };

  function showErrors(view) {
    const own = view.data.models[view.model];
    const [rows, columns] = view.block ? view.block.map((at) => new Set(own.blocks[at])) : [null, null];
    const isWanted = ([row, column]) =>
      (!rows || (rows.has(row) && columns.has(column))) &&
      (view.matches[row] || (!view.data.columns && view.matches[column]));
    const errors = own.cells.filter(isWanted);
    const found = view.element.querySelector(".found");
    const what = view.block ? ` of ${blockName(view, own.blocks[view.block[0]])} predicted as ${blockName(view, own.blocks[view.block[1]])}` : "";
    const kinds = errors.length === 1 ? "1 kind of error" : `${errors.length.toLocaleString("en")} kinds of errors`;
    found.replaceChildren(name(`${kinds}${what}. `));
    if (view.block) {
      const all = make("button", { type: "button" }, "Show all");
      all.addEventListener("click", () => choose(view, null));
      found.append(all);
    }
    fill(view.element.querySelector(".ranked"), view.element.querySelector(".more-errors"), errors, (cell) => errorButton(view, cell));
  }

  /** List the errors of one cell of the matrix, or of all for null. */
  function choose(view, block, button) {
    view.block = block;
    view.element.querySelectorAll('.blocks [aria-pressed="true"]').forEach((one) => one.removeAttribute("aria-pressed"));
    if (button) button.setAttribute("aria-pressed", "true");
    showErrors(view);
    view.element.querySelector(".found").scrollIntoView({ block: "nearest" });
  }

  function blockButton(view, [row, column, share]) {
    const own = view.data.models[view.model];
    const button = make("button", { type: "button", class: row === column ? "" : "mistake" });
    button.title = `${blockName(view, own.blocks[row])} predicted as ${blockName(view, own.blocks[column])}: ${(100 * share).toFixed(1)} %`;
    button.setAttribute("aria-label", button.title);
    button.style.setProperty("--share", row === column ? share : Math.min(1, 4 * share));
    button.addEventListener("click", () => choose(view, [row, column], button));
    return button;
  }

  function showMatrix(view) {
    const own = view.data.models[view.model];
    const place = view.element.querySelector(".matrix-side .matrix-scroll");
    if (!place) return;
    const cells = new Map(own.shares.map((cell) => [`${cell[0]},${cell[1]}`, cell]));
    const heading = (block, scope) =>
      make("th", { scope, title: blockName(view, block) }, make("span", {}, name(view.study.labels[block[0]])));
    const head = make("tr", {}, make("th", { scope: "col" }, "true, predicted"), ...own.blocks.map((block) => heading(block, "col")));
    const lines = own.blocks.map((block, row) => {
      const buttons = own.blocks.map((_, column) => cells.get(`${row},${column}`));
      return make("tr", {}, heading(block, "row"), ...buttons.map((cell) => make("td", {}, cell ? blockButton(view, cell) : null)));
    });
    const table = make("table", { class: "matrix square blocks" }, make("thead", {}, head), make("tbody", {}, ...lines));
    place.replaceChildren(table);
    report.asGrid(table);
  }

  function showClasses(view) {
    const { data, study, element } = view;
    const values = data.models[view.model].values;
    const rows = data.order.map((number, at) => ({ number, at })).filter(({ number }) => view.matches[number]);
    if (element.querySelector(".score-order").value === "name") rows.sort((one, other) => one.number - other.number);
    const text = (value) => make("td", { class: "number" }, value === null ? "–" : value.toFixed(2));
    const line = ({ number, at }) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, name(study.labels[number])),
        make("td", { class: "number" }, data.totals[number].toLocaleString("en")),
        ...values[at].map(text),
      );
    fill(element.querySelector(".class-scores tbody"), element.querySelector(".more-classes"), rows, line);
  }

  function start(element, data, study) {
    if (!data || !data.is_summary) return;
    const view = { element, data, study, model: 0, block: null };
    const labels = study.labels.map((label) => label.toLowerCase());
    const [model, find] = [element.querySelector("select.model"), element.querySelector(".find")];
    const search = () => {
      const words = find.value.toLowerCase().split(/\s+/);
      view.matches = labels.map((label) => words.every((word) => label.includes(word)));
      showErrors(view);
      showClasses(view);
    };
    const show = () => {
      [view.model, view.block] = [Number(model.value), null];
      showMatrix(view);
      search();
    };
    model.addEventListener("change", show);
    find.addEventListener("input", search);
    element.querySelector(".score-order").addEventListener("change", () => showClasses(view));
    show();
  }

  report.section("classes", start);
})();
