export default { render({ model, el }) {
  const say = () => { el.innerHTML = model.get("value"); };
  const keep = ({ target }) => { if (target.closest(".imagelab")) target.dataset.lmSuppressShortcuts = "true"; };
  el.setAttribute("aria-live", "polite");
  model.on("change:value", say);
  say();
  document.addEventListener("focusin", keep);
  return () => document.removeEventListener("focusin", keep);
} }
