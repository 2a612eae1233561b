/* Sorting and filtering of tables. */
"use strict";

(() => {
  const collator = new Intl.Collator(undefined, { numeric: true });

  const cells = (row) => [...row.cells];
  const valueOf = (cell) => (cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort);
  const isNumber = (cell) => cell.dataset.sort !== undefined;

  /** Compare by number or text; empty cells come last in both directions. */
  function compare(one, other, sign) {
    const [first, second] = [valueOf(one), valueOf(other)];
    if (first === "" || second === "") return (first === "") - (second === "");
    if (isNumber(one) && isNumber(other)) return sign * (Number(first) - Number(second));
    return sign * collator.compare(first, second);
  }

  function sortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      if (head.getAttribute("aria-hidden")) return;
      const button = report.make("button", { type: "button", class: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const numbers = cells(body.rows[0])[at] && isNumber(cells(body.rows[0])[at]);
        const first = numbers && !("lower" in head.dataset) ? "descending" : "ascending"; // the best first
        const now = before === first ? (first === "ascending" ? "descending" : "ascending") : first;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", now);
        const sign = now === "ascending" ? 1 : -1;
        const rows = [...body.rows];
        rows.sort((one, other) => compare(one.cells[at], other.cells[at], sign));
        body.append(...rows);
      });
    });
  }

  /** Hide rows that do not match the filters above a table, and show the number of matches. */
  function filterable(tools, table) {
    const fields = [...tools.querySelectorAll("[data-filter]")];
    const count = tools.querySelector("output");
    const rows = [...table.tBodies[0].rows];
    function apply() {
      for (const row of rows) {
        row.hidden = !fields.every((field) => {
          const wanted = field.value;
          if (field.dataset.filter !== "text") return !wanted || row.dataset[field.dataset.filter] === wanted;
          const words = wanted.toLowerCase().split(/\s+/);
          const text = `${row.textContent} ${row.dataset.family}`.toLowerCase();
          return words.every((word) => text.includes(word));
        });
      }
      const left = rows.filter((row) => !row.hidden).length;
      count.textContent = left === rows.length ? `${left} models` : `${left} of ${rows.length} models`;
    }
    fields.forEach((field) => field.addEventListener("input", apply));
    tools.hidden = false;
    apply();
  }

  /** Hide the columns of class `more` until a button shows them. */
  function expandable(button, table) {
    const show = (all) => {
      table.classList.toggle("brief", !all);
      button.setAttribute("aria-pressed", String(all));
      button.textContent = all ? "Fewer columns" : "More columns";
    };
    button.addEventListener("click", () => show(table.classList.contains("brief")));
    show(false);
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  for (const tools of document.querySelectorAll(".table-tools")) {
    const table = tools.nextElementSibling.querySelector("table");
    filterable(tools, table);
    const more = tools.querySelector(".more-columns");
    if (more) expandable(more, table);
  }
  Object.assign(report, { sortable });
})();
