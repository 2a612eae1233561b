/* Charts of which a select shows one at a time. */
"use strict";

(() => {
  for (const select of document.querySelectorAll("select.chart-choice")) {
    const charts = [...select.closest("section").querySelectorAll(":scope > .choice")];
    const show = () => charts.forEach((chart, at) => (chart.hidden = at !== Number(select.value)));
    select.addEventListener("change", show);
    show(); // browsers keep the choice when a page is loaded again
  }
})();
