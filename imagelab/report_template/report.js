// What scrolls sideways can be reached and scrolled by keyboard, as soon as DataTables has made it.
new MutationObserver(() => document.querySelectorAll(".dt-scroll-body:not([tabindex])").forEach((body) => {
  body.tabIndex = 0;
  body.setAttribute("role", "region");
  body.setAttribute("aria-label", "Rows of a table");
})).observe(document, { childList: true, subtree: true });

// DataTables takes its dark style from a class; paper is always light; charts are measured again for paper.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (on) => document.documentElement.classList.toggle("dark", on);
  const fit = () => document.querySelectorAll(".js-plotly-plot").forEach((chart) => Plotly.Plots.resize(chart));
  dark.addEventListener("change", () => paint(dark.matches));
  addEventListener("beforeprint", () => { paint(false); fit(); });
  addEventListener("afterprint", () => { paint(dark.matches); fit(); });
  paint(dark.matches);
})();
