export default { render({ model, el }) {
  el.classList.add("widget-inline-hbox");
  const label = document.createElement("label"), input = document.createElement("input");
  const shown = document.createElement("output");
  label.className = "widget-label";
  label.textContent = model.get("description");
  label.htmlFor = input.id = `imagelab-slider-${crypto.getRandomValues(new Uint32Array(1))}`;
  Object.assign(input, { type: "range", min: 0 });
  input.style.cssText = "flex:1;min-width:0";
  shown.style.cssText = "flex:0 0 3em;text-align:right;line-height:var(--jp-widgets-inline-height)";
  el.append(label, input, shown);
  const draw = () => {
    input.max = model.get("max");
    input.value = shown.textContent = model.get("value");
  };
  input.addEventListener("input", () => { shown.textContent = input.value; });
  input.addEventListener("change", () => { model.set("value", Number(input.value)); model.save_changes(); });
  model.on("change:value change:max", draw);
  draw();
} }
