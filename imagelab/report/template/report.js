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
