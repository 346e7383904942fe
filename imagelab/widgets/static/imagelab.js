// The views of imagelab: tables, file trees, builds and charts, in a live widget and in a static page alike.
// anywidget calls `render`; a page has <imagelab-view> elements, each with its data and a plain fallback inside.
// Everything that comes from an image is set as text, never as markup.

const STYLE = `
imagelab-view, .il-view { display: block; --il-line: rgba(128,128,128,.35); --il-soft: rgba(128,128,128,.12);
  --il-link: #0b5f9e; --il-added: #00694c; --il-modified: #7a4b00; --il-removed: #a3161b; }
html.dark :is(imagelab-view, .il-view), [data-jp-theme-light="false"] :is(imagelab-view, .il-view) {
  --il-link: #6db7ee; --il-added: #4cc79f; --il-modified: #e6b04f; --il-removed: #ff8f88; }
.il-caption { font-weight: 600; margin: .2em 0 .4em; overflow-wrap: anywhere; }
.il-bar { display: flex; flex-wrap: wrap; gap: .4em .6em; align-items: center; margin: .3em 0; font-size: .88em; }
.il-bar input[type=search] { flex: 1 1 9em; max-width: 16em; }
.il-bar .il-grow { flex: 1; }
.il-view :is(button, input, select), imagelab-view :is(button, input, select) { font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--il-line); border-radius: 4px; padding: .15em .5em; }
.il-view button, imagelab-view button { cursor: pointer; }
.il-bar select { max-width: 100%; }
.il-bar button:disabled { opacity: .55; cursor: default; }
.il-bar button[aria-pressed=false] { text-decoration: line-through; opacity: .75; }
.il-bar details { position: relative; }
.il-bar summary { cursor: pointer; border: 1px solid var(--il-line); border-radius: 4px; padding: .15em .5em; list-style: none; }
.il-bar details[open] > div { position: absolute; z-index: 5; display: grid; gap: .2em; padding: .5em .8em; right: 0;
  max-height: 20em; overflow: auto; background: Canvas; color: CanvasText; border: 1px solid var(--il-line); border-radius: 4px; }
.il-scroll { overflow-x: auto; }
:is(.il-view, imagelab-view) .il-scroll table { border-collapse: collapse; width: 100%; margin: 0; font-size: .88em; table-layout: auto; }
:is(.il-view, imagelab-view) .il-scroll :is(th, td) { padding: .28em .6em; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--il-line); overflow-wrap: anywhere; white-space: pre-line; max-width: 34em; }
:is(.il-view, imagelab-view) .il-scroll th { white-space: nowrap; } .il-view th wbr, imagelab-view th wbr { display: none; }
.il-view th button, imagelab-view th button { border: 0; padding: 0; font-weight: 600; }
.il-view th[aria-sort=ascending] button::after, imagelab-view th[aria-sort=ascending] button::after { content: " ▲" / ""; }
.il-view th[aria-sort=descending] button::after, imagelab-view th[aria-sort=descending] button::after { content: " ▼" / ""; }
:is(.il-view, imagelab-view) :is(th, td).il-right { text-align: right; }
:is(.il-view, imagelab-view) td:is(.il-right, .il-short) { white-space: nowrap; overflow-wrap: normal; }
:is(.il-view, imagelab-view) td.il-long { min-width: 13em; }
:is(.il-view, imagelab-view) td.il-code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .95em; white-space: nowrap; }
:is(.il-view, imagelab-view) td button { border: 0; padding: 0; color: var(--il-link); text-decoration: underline; }
:is(.il-view, imagelab-view) td a { color: var(--il-link); }
:is(.il-view, imagelab-view) tr.il-pick { cursor: pointer; }
:is(.il-view, imagelab-view) tr[aria-selected=true] { background: var(--il-soft); outline: 2px solid var(--il-link); }
.il-chip { border-radius: 3px; padding: 0 .4em; }
.il-tree { max-height: 34em; overflow: auto; border: 1px solid var(--il-line); border-radius: 6px; padding: .3em 0; font-size: .9em; }
.il-tree [role=treeitem] { outline-offset: -2px; }
.il-node { display: flex; gap: .6em; align-items: center; padding: .08em .6em; cursor: default; }
.il-tree [role=treeitem]:focus > .il-node { background: var(--il-soft); }
.il-node .il-name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.il-node .il-size { flex: 0 0 5em; text-align: right; } .il-node .il-layer { flex: 0 0 4.6em; text-align: right; }
.il-node .il-sign { flex: 0 0 1em; text-align: center; font-weight: 700; }
.il-node .il-gauge { flex: 0 1 6em; height: .6em; background: var(--il-soft); }
.il-node .il-gauge span { display: block; height: 100%; background: #2a8ea8; }
.il-added { color: var(--il-added); } .il-modified { color: var(--il-modified); } .il-removed, .il-wasted { color: var(--il-removed); }
.il-wasted .il-name { text-decoration: line-through; }
.il-bar input[type=search].il-wide { flex: 0 1 28em; max-width: none; padding: .4em .7em; margin-top: 1.2em; } .il-found { list-style: none; padding: 0; margin: .3em 0; } .il-found li { padding: .15em 0; } .il-found a { color: var(--il-link); font-weight: 600; }
.il-build { margin-bottom: .9em; } .il-build pre { margin: .2em 0 .6em; max-height: 22em; overflow: auto; font-size: .85em; white-space: pre-wrap; }
.il-step { display: grid; grid-template-columns: minmax(6em, 19em) 1fr 4.6em; gap: 0 .7em; align-items: center; padding: .12em .2em; font-size: .88em; list-style: none; cursor: pointer; }
.il-step::-webkit-details-marker { display: none; } .il-step.il-axis { cursor: default; }
.il-step .il-name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .il-step .il-size { text-align: right; white-space: nowrap; }
.il-track { position: relative; height: 1.35em; min-width: 0; background: repeating-linear-gradient(90deg, var(--il-line) 0 1px, transparent 1px var(--il-tick, 100%)); }
.il-axis .il-track { background: none; } .il-axis .il-track span { position: absolute; font-size: .92em; opacity: .8; }
.il-block { position: absolute; top: .1em; bottom: .1em; min-width: 7px; border: 2px solid; border-radius: 2px; }
.il-critical { outline: 2px solid currentColor; outline-offset: 0; } .il-cause { grid-column: 2 / 4; color: var(--il-removed); overflow-wrap: anywhere; }
.il-cause::before { content: "ran because: "; } .il-swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; vertical-align: -.05em; }
.il-diff { overflow-x: auto; border: 1px solid var(--il-line); border-radius: 6px; padding: .5em .8em; font-size: .85em; } .il-file { opacity: .7; }
.il-plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30em, 100%), 1fr)); gap: 1em; }
imagelab-view figure { margin: 0; min-width: 0; } imagelab-view figcaption { overflow-wrap: anywhere; }
imagelab-view figcaption strong { display: block; font-size: 1.06em; } imagelab-view figcaption span { font-size: .88em; opacity: .85; }
imagelab-view .js-plotly-plot { width: 100%; }
@media (max-width: 40em) { .il-step { grid-template-columns: 1fr 4.6em; } .il-step .il-name { grid-column: 1 / 3; white-space: normal; } .il-axis > span:first-child { display: none; }
  :is(.il-view, imagelab-view) .il-scroll :is(th, td) { padding: .28em .4em; }
  :is(.il-view, imagelab-view) td.il-long { min-width: 8em; }
  :is(.il-view, imagelab-view) td.il-short { min-width: 4.4em; white-space: pre-line; overflow-wrap: anywhere; } .il-chip { white-space: nowrap; } .il-cause { grid-column: 1 / 3; } .il-node .il-gauge, .il-node .il-layer { display: none; } }
@media print {
  div.il-bar { display: none !important; }
  .il-scroll, .il-tree { overflow: visible !important; max-height: none !important; }
  :is(.il-view, imagelab-view) .il-scroll :is(th, td) { padding: .15em .3em; font-size: 7pt; min-width: 0 !important; white-space: pre-line !important;
    overflow-wrap: anywhere !important; }
  :is(.il-view, imagelab-view) td.il-right { overflow-wrap: normal !important; white-space: nowrap !important; }
  tr { break-inside: avoid; }
  :is(.il-view, imagelab-view) td.il-short { overflow-wrap: break-word !important; }
}
@media print, (max-width: 40em) { :is(.il-view, imagelab-view) th { white-space: normal; overflow-wrap: break-word !important; }
  :is(.il-view, imagelab-view) th wbr { display: inline; } }`;

/** Create an element; children are elements or text. */
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};
const button = (text, action, properties = {}) => make("button", { type: "button", textContent: text, onclick: action, ...properties });
let count = 0;
const unique = (name) => `${name}-${(count += 1)}-${Math.random().toString(36).slice(2, 8)}`;

/** Bytes as imagelab.core.frames.format_bytes writes them: all digits of a double, a tie to even. */
export const formatBytes = (data) => {
  let [size, unit] = [data, "B"];
  for (const larger of ["kB", "MB", "GB", "TB"]) if (Math.abs(size) >= 999.5) [size, unit] = [size / 1000, larger];
  const digits = unit === "B" ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  const number = new Intl.NumberFormat("en", { ...digits, roundingMode: "halfEven", useGrouping: false });
  return `${number.format(size.toPrecision(60))} ${unit}`;
};

const save = (name, type, text) => {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};

// What all views of a page share: its images, the chosen ones and the chosen layer. Widgets have none of it.
const page = (globalThis.imagelabPage ??= Object.assign(new EventTarget(), { images: [], chosen: [], layer: null, linked: false }));
const choose = (changes) => { Object.assign(page, changes); page.dispatchEvent(new Event("change")); };
const shown = (image) => !page.linked || !page.images.length || image === null || page.chosen.includes(image);

// ------------------------------------------------------------------------------------------------ tables
const text = (value, column) => {
  if (value === null || value === undefined) return "";
  if (column.kind === "bytes") return formatBytes(value);
  if (column.kind === "change") return `${value > 0 ? "+" : ""}${formatBytes(value)}`;
  if (column.kind === "link") return value[0];
  if (column.kind === "number" && !Number.isInteger(value)) return String(+value.toPrecision(4));
  if (column.kind === "digest") return value.replace(/^(sha256:)([0-9a-f]{12})[0-9a-f]+$/, "$1$2…");
  return String(value);
};
/** A line of a few numbers, from the first to the last. */
const spark = (values) => {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(picture.namespaceURI, "polyline");
  const top = Math.max(...values, 1);
  for (const [name, value] of Object.entries({ width: 80, height: 20, role: "img", "aria-label": values.map(formatBytes).join(", ") })) picture.setAttribute(name, value);
  line.setAttribute("points", values.map((value, place) => `${2 + (76 * place) / (values.length - 1)},${18 - (16 * value) / top}`).join(" "));
  line.setAttribute("style", "fill:none;stroke:#2a8ea8;stroke-width:2");
  picture.append(line);
  return picture;
};
const webAddress = (value) => { try { return ["http:", "https:"].includes(new URL(value).protocol); } catch { return false; } };
// A spreadsheet would run a cell that starts with one of these as a formula.
const csvCell = (value) => {
  const cell = value === null ? "" : String(value);
  return `"${(typeof value === "string" && /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell).replaceAll('"', '""')}"`;
};

function table(element, spec, pick) {
  const { columns } = spec;
  const at = (name) => columns.findIndex((column) => column.name === name);
  const [image, layer, url] = [at("reference"), at("layer_index"), at("url")];
  const severity = columns.findIndex((column) => column.colours);
  const all = spec.rows.map((cells, place) => ({ cells, place }));
  const view = { from: 0, page: spec.page, sort: null, down: false, search: "", off: new Set(), hidden: new Set(), tight: new Set(), asked: false };
  columns.forEach((column, place) => { if (place === url || (all.length && all.every(({ cells }) => cells[place] === null))) view.hidden.add(place); });
  const head = make("thead"), body = make("tbody"), chips = make("span", { className: "il-bar" });
  const counter = make("span", { className: "il-count" });
  const left = () => all.filter(({ cells }) =>
    (image < 0 || shown(cells[image])) &&
    (layer < 0 || !page.linked || page.layer === null || cells[layer] === page.layer) &&
    (severity < 0 || !view.off.has(cells[severity])) &&
    (!view.search || cells.some((value, place) => text(value, columns[place]).toLowerCase().includes(view.search))));
  const sorted = (rows) => {
    if (view.sort === null) return rows;
    const { order, kind } = columns[view.sort];
    const key = ({ cells }) => (order ? order.indexOf(cells[view.sort]) : kind === "link" ? cells[view.sort][0] : cells[view.sort]);
    return rows.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (view.down ? -1 : 1);
    });
  };
  const visible = () => columns.map((column, place) => place).filter((place) =>
    !view.hidden.has(place) && !view.tight.has(place) && !(place === image && page.images.length && page.chosen.length < 2));
  const cell = (row, place) => {
    const value = row.cells[place], column = columns[place], words = text(value, column);
    const td = make("td", { className: `il-${column.style}` });
    if (column.kind === "spark") { if (value) td.append(spark(value)); return td; }
    if (column.kind === "link") { td.append(make("a", { href: encodeURI(value[1]), textContent: value[0] })); return td; }
    const marks = column.colours ?? column.marks;
    if (marks?.[value]) {
      const chip = make("span", { className: "il-chip", textContent: words });
      [chip.style.background, chip.style.color] = marks[value];
      td.append(chip);
    } else if (column.name === "id" && url >= 0 && webAddress(row.cells[url])) {
      td.append(make("a", { href: row.cells[url], textContent: words, target: "_blank", rel: "noopener noreferrer" }));
    } else if (place === layer && page.linked && value !== null) {
      td.append(button(words, () => choose({ layer: value }), { title: `Show only layer ${value}` }));
    } else td.textContent = words;
    if (column.kind === "digest" && value !== null) td.title = value;
    return td;
  };
  const draw = () => {
    const rows = sorted(left()), places = visible();
    if (view.from >= rows.length) view.from = 0;
    const end = Math.min(view.from + view.page, rows.length);
    boxes.forEach((box, place) => { box.checked = !view.hidden.has(place) && !view.tight.has(place); });
    const left_out = boxes.filter((box, place) => !box.checked && place !== url).length;
    chooser.firstChild.textContent = left_out ? `Columns ${columns.length - left_out}/${columns.length}` : "Columns";
    head.replaceChildren(make("tr", {}, ...places.map((place) => {
      const th = make("th", { scope: "col", className: `il-${columns[place].style}` }, button("", () => {
        [view.down, view.sort, view.from] = [view.sort === place && !view.down, place, 0];
        draw();
      }));
      th.firstChild.append(...columns[place].name.split(/(?<=_)/).flatMap((part) => [part, make("wbr")])); // a narrow heading breaks between words
      if (view.sort === place) th.setAttribute("aria-sort", view.down ? "descending" : "ascending");
      return th;
    })));
    body.replaceChildren(...rows.slice(view.from, end).map((row) => {
      const tr = make("tr", {}, ...places.map((place) => cell(row, place)));
      if (pick) {
        Object.assign(tr, { className: "il-pick", tabIndex: 0 });
        const take = () => {
          body.querySelectorAll("tr").forEach((other) => other.setAttribute("aria-selected", other === tr));
          pick(row.place);
        };
        tr.onclick = take;
        tr.onkeydown = (event) => { if (event.key === "Enter") take(); };
      }
      return tr;
    }));
    counter.textContent = rows.length > view.page ? `${view.from + 1}–${end} of ${rows.length.toLocaleString("en")} rows` : `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "row" : "rows"}`;
    previous.disabled = view.from === 0;
    next.disabled = end === rows.length;
    for (const control of [previous, next, whole]) control.hidden = rows.length <= spec.page;
    element.classList.toggle("il-empty", !rows.length);
    if (severity >= 0) drawChips();
  };
  const drawChips = () => {
    const words = columns[severity].order.filter((word) => all.some(({ cells }) => cells[severity] === word)).reverse();
    chips.replaceChildren(...words.map((word) => {
      const number = all.filter(({ cells }) => cells[severity] === word && (image < 0 || shown(cells[image]))).length;
      const chip = button(`${word} ${number}`, () => { view.off.has(word) ? view.off.delete(word) : view.off.add(word); draw(); });
      chip.setAttribute("aria-pressed", !view.off.has(word));
      return chip;
    }));
  };
  const step = (by) => { view.from = Math.max(view.from + by * view.page, 0); draw(); };
  const previous = button("‹ Previous", () => step(-1)), next = button("Next ›", () => step(1));
  const whole = button("All", () => { [view.page, view.from] = [view.page === Infinity ? spec.page : Infinity, 0]; whole.textContent = view.page === Infinity ? "Fewer" : "All"; draw(); });
  const search = make("input", { type: "search", placeholder: "Search", ariaLabel: "Search this table" });
  search.oninput = () => { [view.search, view.from] = [search.value.toLowerCase(), 0]; draw(); };
  const boxes = columns.map((column, place) => {
    const box = make("input", { type: "checkbox" });
    box.onchange = () => {
      view.asked = true;
      for (const left of [view.hidden, view.tight]) left.delete(place);
      if (!box.checked) view.hidden.add(place);
      draw();
    };
    return box;
  });
  const chooser = make("details", {}, make("summary"), make("div", {}, ...columns.map((column, place) => make("label", {}, boxes[place], ` ${column.name}`))));
  // The last columns of a table that is too wide are left to the chooser, until the user has chosen; two always stand.
  const fit = () => {
    if (!scroll.clientWidth || view.asked || paper.matches) return;
    view.tight.clear();
    draw();
    for (let places = visible(); scroll.scrollWidth > scroll.clientWidth + 1 && places.length > 2; places = visible()) {
      view.tight.add(places.at(-1));
      draw();
    }
  };
  const name = (spec.caption || "table").replace(/[^\w]+/g, "-").slice(0, 40);
  const csv = () => [columns.map((column) => column.name), ...sorted(left()).map((row) => row.cells)].map((cells) => cells.map(csvCell).join(",")).join("\r\n");
  const json = () => JSON.stringify(sorted(left()).map(({ cells }) => Object.fromEntries(columns.map((column, place) => [column.name, cells[place]]))), null, 1);
  const tools = make("div", { className: "il-bar" }, all.length > spec.page ? search : null, severity < 0 || all.length <= spec.page ? null : chips, make("span", { className: "il-grow" }),
    counter, previous, next, whole, columns.length > 3 ? chooser : null,
    button("CSV", () => save(`${name}.csv`, "text/csv", csv()), { title: "Download these rows as CSV" }),
    button("JSON", () => save(`${name}.json`, "application/json", json()), { title: "Download these rows as JSON" }));
  const caption = spec.caption ? make("p", { className: "il-caption", textContent: spec.caption }) : null;
  const scroll = make("div", { className: "il-scroll", tabIndex: 0, role: "group", ariaLabel: spec.caption || "Table" }, make("table", {}, head, body));
  element.replaceChildren(...[caption, tools, scroll].filter(Boolean));
  // Paper shows every row.
  const paper = matchMedia("print");
  const print = () => {
    [view.page, view.from] = [paper.matches ? Infinity : spec.page, 0];
    view.tight.clear();
    draw();
    fit();
  };
  let width = 0;
  const sized = new ResizeObserver(() => { if (scroll.clientWidth !== width) { width = scroll.clientWidth; fit(); } });
  sized.observe(scroll);
  paper.addEventListener("change", print);
  page.addEventListener("change", draw);
  print();
  return () => { sized.disconnect(); paper.removeEventListener("change", print); page.removeEventListener("change", draw); };
}

// ------------------------------------------------------------------------------------------------ file trees
const SIGNS = { added: "+", modified: "~", removed: "−" };
const MOST = 200; // entries of a directory that are made at once

/** Build nested directories of [path, size, layer, change, wasted] entries; sizes are summed upwards. */
function grow(entries) {
  const root = { name: "/", children: new Map(), size: 0, wasted: 0, signs: new Set(), layer: null };
  for (const [path, size, layer, change, wasted] of entries) {
    const parts = path.split("/").filter(Boolean), line = [root];
    parts.forEach((part, depth) => {
      const last = depth === parts.length - 1, above = line.at(-1), key = last ? `${part}\0${layer}` : part;
      if (!above.children.has(key)) above.children.set(key, { name: part, children: new Map(), size: 0, wasted: 0, signs: new Set(), layer: last ? layer : null });
      line.push(above.children.get(key));
    });
    for (const node of line) {
      node.size += wasted ? 0 : size;
      node.wasted += wasted ? size : 0;
      node.signs.add(change);
    }
  }
  return root;
}

function tree(element, spec) {
  const view = { search: "", focus: null };
  const box = make("div", { className: "il-tree", role: "tree", ariaLabel: spec.caption || "Files" });
  const layers = make("select", { ariaLabel: "Files of" }, make("option", { value: "", textContent: "Final filesystem and waste" }),
    ...spec.layers.map((words, place) => make("option", { value: place, textContent: words })));
  const search = make("input", { type: "search", placeholder: "Search paths", ariaLabel: "Search paths" });
  const summary = make("span");
  const layer = () => (layers.value === "" ? null : Number(layers.value));
  const entries = () => spec.entries.filter(([path, , index, change]) =>
    (layer() === null ? change !== "removed" : index === layer()) && (!view.search || path.toLowerCase().includes(view.search)));
  const item = (node, level, whole) => {
    const folder = node.children.size > 0, sign = node.signs.size === 1 ? [...node.signs][0] : folder && layer() !== null ? "modified" : "";
    const marked = layer() !== null && sign ? `il-${sign}` : "";
    const wasted = node.wasted && !node.size ? " il-wasted" : "";
    const bytes = node.size + node.wasted, gauge = make("span");
    gauge.style.width = `${whole ? (100 * bytes) / whole : 0}%`;
    const row = make("div", { className: `il-node ${marked}${wasted}` });
    row.style.paddingLeft = `${level * 1.1}em`;
    const arrow = make("span", { textContent: folder ? "▸" : " ", ariaHidden: "true" });
    const waste = node.wasted ? `${formatBytes(node.wasted)} wasted` : "";
    row.append(arrow, make("span", { className: "il-sign", textContent: layer() === null ? "" : SIGNS[sign] ?? "", title: sign }),
      make("span", { className: "il-name", textContent: node.name, title: node.name }), make("span", { className: "il-removed", textContent: waste }),
      make("span", { className: "il-gauge", ariaHidden: "true" }, gauge), make("span", { className: "il-size", textContent: bytes || !folder ? formatBytes(bytes) : "" }),
      make("span", { className: "il-layer", textContent: node.layer === null ? "" : `layer ${node.layer}` }));
    const line = make("div", { role: "treeitem", tabIndex: -1, ariaLevel: String(level) }, row);
    if (folder) {
      const group = make("div", { role: "group" });
      group.hidden = true;
      line.append(group);
      line.setAttribute("aria-expanded", "false");
      line.open = (open) => {
        if (open && !group.childElementCount) more(group, node, level + 1, 0);
        group.hidden = !open;
        arrow.textContent = open ? "▾" : "▸";
        line.setAttribute("aria-expanded", String(open));
      };
    }
    row.onclick = () => { line.open?.(line.getAttribute("aria-expanded") === "false"); focus(line); };
    return line;
  };
  // Children are made when a directory is opened, the largest first.
  const more = (group, node, level, from) => {
    node.sorted ??= [...node.children.values()].sort((a, b) => b.size + b.wasted - a.size - a.wasted);
    group.append(...node.sorted.slice(from, from + MOST).map((child) => item(child, level, node.size + node.wasted)));
    const rest = node.sorted.length - from - MOST;
    if (rest > 0) {
      const line = make("div", { role: "treeitem", tabIndex: -1, ariaLevel: String(level) }, make("div", { className: "il-node", textContent: `… ${rest.toLocaleString("en")} smaller ones` }));
      line.style.paddingLeft = `${level * 1.1}em`;
      line.onclick = () => { line.remove(); more(group, node, level, from + MOST); };
      group.append(line);
    }
  };
  const focus = (line) => {
    if (view.focus) view.focus.tabIndex = -1;
    view.focus = line;
    line.tabIndex = 0;
    line.focus({ preventScroll: false });
  };
  box.onkeydown = (event) => {
    const lines = [...box.querySelectorAll("[role=treeitem]")].filter((line) => line.offsetParent), now = document.activeElement;
    const place = lines.indexOf(now), expanded = now.getAttribute("aria-expanded");
    const go = { ArrowDown: lines[place + 1], ArrowUp: lines[place - 1], Home: lines[0], End: lines.at(-1) }[event.key];
    if (go) focus(go);
    else if (event.key === "ArrowRight" && expanded === "false") now.open(true);
    else if (event.key === "ArrowRight" && expanded === "true") focus(lines[place + 1]);
    else if (event.key === "ArrowLeft" && expanded === "true") now.open(false);
    else if (event.key === "ArrowLeft") now.parentElement.closest("[role=treeitem]") && focus(now.parentElement.closest("[role=treeitem]"));
    else if (event.key === "Enter" || event.key === " ") now.open ? now.open(expanded === "false") : now.onclick?.();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const draw = () => {
    const found = entries(), root = grow(found), first = item(root, 1, root.size + root.wasted);
    box.replaceChildren(first);
    first.open?.(true);
    first.tabIndex = 0;
    view.focus = first;
    if (view.search) for (let depth = 0; depth < 12; depth += 1) {
      const closed = [...box.querySelectorAll("[aria-expanded=false]")];
      if (closed.length > 60) break;
      closed.forEach((line) => line.open(true));
    }
    const waste = root.wasted ? `, ${formatBytes(root.wasted)} wasted` : "";
    summary.textContent = `${found.length.toLocaleString("en")} entries, ${formatBytes(root.size + root.wasted)}${waste}`;
  };
  const follow = () => {
    element.hidden = !shown(spec.image);
    const wanted = page.layer === null ? "" : String(page.layer);
    if (page.linked && layers.value !== wanted && wanted < spec.layers.length) { layers.value = wanted; draw(); }
  };
  layers.onchange = () => (page.linked ? choose({ layer: layer() }) : draw());
  search.oninput = () => { clearTimeout(view.wait); view.wait = setTimeout(() => { view.search = search.value.toLowerCase(); draw(); }, 150); };
  element.replaceChildren(make("p", { className: "il-caption", textContent: spec.caption }),
    make("div", { className: "il-bar" }, layers, search, make("span", { className: "il-grow" }), summary), box,
    ...(spec.folded ? [make("p", { className: "il-bar", textContent: spec.folded })] : []));
  page.addEventListener("change", () => { follow(); draw(); });
  follow();
  draw();
}

// ------------------------------------------------------------------------------------------------ charts
/** A figure; of a figure with a menu of images, one plot for each chosen image. */
function chart(element, spec) {
  if (!globalThis.Plotly) return;
  if (spec.choices) {
    const choice = make("select", { ariaLabel: spec.choose }, ...spec.choices.map(({ name }, place) => make("option", { value: place, textContent: name })));
    const box = make("div");
    let close;
    choice.onchange = () => { close?.(); close = chart(box, spec.choices[choice.value]); };
    element.replaceChildren(make("div", { className: "il-bar" }, make("label", {}, `${spec.choose} `, choice)), box);
    close = chart(box, spec.choices[0]);
    return close;
  }
  const { layout } = spec, menus = layout.updatemenus ?? [];
  const buttons = menus.length ? menus[0].buttons : [null];
  const plots = make("div", { className: "il-plots" });
  element.replaceChildren(plots);
  const shorten = (ticks) => ticks.map((words) => {
    const characters = words.match(/&#?\w+;|<[^>]*>|[^]/g) ?? [];
    return characters.length > 20 ? `${characters.slice(0, 19).join("")}…` : words;
  });
  const plot = (one) => {
    const [restyle, relayout] = one ? one.args : [null, {}], caption = one ? one.caption : spec.caption;
    const drawn = { ...layout, ...relayout, updatemenus: [], title: undefined };
    const data = restyle ? spec.data.filter((trace, place) => restyle.visible[place]).map((trace) => ({ ...trace, visible: true })) : spec.data;
    // The title is HTML: it wraps at any width, and can be read and selected.
    const saved = (drawn.margin?.t ?? 60) - 8 - (drawn.legend?.y === 1 || drawn.annotations?.length ? 26 : 0);
    const narrow = innerWidth < 640;
    drawn.margin = { ...drawn.margin, t: drawn.margin.t - saved, ...(narrow && drawn.yaxis?.ticktext ? { r: 48 } : {}) }; // the labels at the ends of bars need it
    drawn.height -= saved;
    const { ticktext, tickvals } = drawn.xaxis ?? {};
    if (narrow && ticktext?.length > 4 && ticktext.every((words) => /\d [kMGT]?B$/.test(words))) { // sizes lie over each other: every other one
      const half = (values) => values.filter((value, place) => place % 2 === 0);
      drawn.xaxis = { ...drawn.xaxis, ticktext: half(ticktext), tickvals: half(tickvals) };
    }
    if (narrow) for (const axis of ["xaxis", "yaxis"]) {
      if (drawn[axis]?.ticktext) drawn[axis] = { ...drawn[axis], ticktext: shorten(drawn[axis].ticktext) };
    }
    const target = make("div");
    const figure = make("figure", {}, make("figcaption", {}, make("strong", { textContent: caption[0] }), make("span", { textContent: caption[1] })), target);
    plots.append(figure);
    return () => {
      Plotly.newPlot(target, data, drawn, { displaylogo: false, plotlyServerURL: "", responsive: true, showTips: false });
      target.on("plotly_click", ({ points }) => {
        const [image, layer] = points[0]?.customdata ?? [];
        if (page.linked && image) choose({ layer, ...(shown(image) ? {} : { chosen: [image] }) });
      });
    };
  };
  let last;
  const draw = () => {
    const wanted = buttons.filter((one) => !one || shown(one.name)), key = wanted.map((one) => one?.name).join("\n");
    if (key === last) return;
    last = key;
    plots.querySelectorAll(".js-plotly-plot").forEach((old) => Plotly.purge(old));
    plots.replaceChildren();
    wanted.map(plot).forEach((start) => start()); // all stand before one is measured
  };
  page.addEventListener("change", draw);
  draw();
  return () => {
    plots.querySelectorAll(".js-plotly-plot").forEach((old) => Plotly.purge(old));
    page.removeEventListener("change", draw);
  };
}

// ------------------------------------------------------------------------------------------------ builds
/** Steps over time, a row each; a row is a <details>, so that a click or a key opens what the log recorded. */
function build(element, spec) {
  const choice = make("select", { ariaLabel: spec.choose ?? "Build" }, ...spec.builds.map(({ name }, place) => make("option", { value: place, textContent: name })));
  const body = make("div"), every = spec.builds.flatMap(({ steps }) => steps);
  const end = Math.max(...every.map(({ start, seconds }) => start + seconds), 0.001);
  const size = 10 ** Math.floor(Math.log10(end)), tick = [0.2, 0.5, 1, 2].map((part) => part * size).find((part) => end / part <= 6) ?? 2 * size;
  const ticks = Array.from({ length: Math.floor(end / tick) + 1 }, (_, place) => place * tick);
  const share = (seconds) => `${(100 * seconds) / end}%`;
  const words = (seconds) => `${seconds < 1 ? +seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const axis = () => {
    const track = make("span", { className: "il-track" }, ...ticks.filter((at) => at < 0.97 * end).map((at) => {
      const mark = make("span", { textContent: `${+at.toPrecision(3)} s` });
      mark.style.left = share(at);
      return mark;
    }));
    return make("div", { className: "il-step il-axis", ariaHidden: "true" }, make("span"), track, make("span"));
  };
  const row = (step) => {
    const bar = make("span", { className: `il-block${step.critical ? " il-critical" : ""}` }), colour = spec.colours[step.kind];
    Object.assign(bar.style, { left: share(step.start), width: share(step.seconds), borderColor: colour, background: step.cached ? "transparent" : colour });
    const track = make("span", { className: "il-track" }, bar);
    track.style.setProperty("--il-tick", share(tick));
    const cause = step.cause ? make("span", { className: "il-cause", textContent: step.cause }) : null;
    const line = make("summary", { className: "il-step", title: step.name }, make("span", { className: "il-name", textContent: `${step.number} ${step.name}` }), track,
      make("span", { className: "il-size", textContent: step.cached ? "cached" : words(step.seconds) }), cause);
    const facts = [step.status, words(step.seconds), step.critical ? "on the critical path" : "", step.cause].filter(Boolean).join("; ");
    return make("details", {}, line, make("pre", { textContent: `${facts}\n${step.log}`.trim() }));
  };
  const draw = () => {
    const wanted = spec.choose ? [spec.builds[choice.value || 0]] : spec.builds.filter(({ name }) => !page.images.includes(name) || shown(name));
    element.hidden = !wanted.length && spec.builds.length > 0;
    body.replaceChildren(...wanted.map(({ title, steps }) => make("div", { className: "il-build" },
      make("p", { className: "il-caption", textContent: title, role: spec.choose ? "status" : null }), axis(), ...steps.map(row))));
  };
  const kinds = Object.keys(spec.colours).filter((kind) => every.some((step) => step.kind === kind)).map((kind) => {
    const swatch = make("span", { className: "il-swatch" });
    swatch.style.background = spec.colours[kind];
    return make("span", {}, swatch, ` ${kind}`);
  });
  choice.onchange = draw;
  element.replaceChildren(...(spec.choose && spec.builds.length > 1 ? [make("div", { className: "il-bar" }, make("label", {}, `${spec.choose} `, choice))] : []), body,
    make("p", { className: "il-bar" }, ...kinds, make("span", { textContent: `Hollow: from the cache. Thick edge: critical path.${spec.note}` })));
  page.addEventListener("change", draw);
  draw();
  return () => page.removeEventListener("change", draw);
}

// ------------------------------------------------------------------------------------------------ diffs
const copyText = async (words) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(words);
  const area = make("textarea", { value: words });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
};
/** Diffs in colours, each with a button that copies its text. */
function diffs(element, { pieces }) {
  const classOf = (line) => (/^(\+\+\+|---|diff |new file)/.test(line) ? "il-file" : { "+": "il-added", "-": "il-removed", "@": "il-modified" }[line[0]] ?? "");
  const piece = ({ caption: title, text: words }) => {
    const copy = button("Copy", async () => { await copyText(words); copy.textContent = "Copied"; setTimeout(() => { copy.textContent = "Copy"; }, 2000); });
    const lines = words.split("\n").map((line) => make("span", { className: classOf(line), textContent: `${line}\n` }));
    return make("figure", {}, make("div", { className: "il-bar" }, make("figcaption", { textContent: title }), copy), make("pre", { className: "il-diff" }, ...lines));
  };
  element.replaceChildren(...pieces.map(piece));
}

// ------------------------------------------------------------------------------------------------ search
/** The sections and functions of a site, as [words, address, description, text]; every word of the query has to be in one,
 *  and those that have them in their name or description come first. Of a text, the part around the first word is shown. */
function search(element, spec) {
  const input = make("input", { type: "search", placeholder: "Search lessons and functions", ariaLabel: "Search lessons and functions", className: "il-wide" });
  const found = make("ul", { className: "il-found", role: "status" });
  input.oninput = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (...parts) => words.every((word) => parts.join(" ").toLowerCase().includes(word));
    const named = spec.entries.filter(([name, , about]) => has(name, about)).map((entry) => [...entry.slice(0, 3), ""]);
    const hits = [...named, ...spec.entries.filter(([name, , about, body]) => !has(name, about) && has(name, about, body))];
    const part = (body) => {
      const at = Math.max(body.toLowerCase().indexOf(words.find((word) => body.toLowerCase().includes(word))) - 40, 0);
      return body && `: ${at ? "…" : ""}${body.slice(at, at + 120)}…`;
    };
    const shown_hits = words.length ? hits.slice(0, 12) : [];
    found.replaceChildren(...shown_hits.map(([name, address, about, body]) => make("li", {}, make("a", { href: encodeURI(address), textContent: name }), ` ${about}${part(body)}`)),
      ...(words.length && !hits.length ? [make("li", { textContent: "Nothing found" })] : []));
  };
  element.replaceChildren(make("div", { className: "il-bar" }, input), found);
}

const VIEWS = { table, tree, chart, build, diffs, search };

// ------------------------------------------------------------------------------------------------ pages
/** The address keeps the section, the images and the layer: #files?image=app:v2&layer=3 */
const address = () => {
  const [section, query] = location.hash.slice(1).split("?");
  return { section: decodeURIComponent(section), wanted: new URLSearchParams(query) };
};
function openPage(spec) {
  page.images = spec.images;
  page.linked = true;
  const bar = make("div", { className: "switcher", role: "group", ariaLabel: "Image and filter" }), chip = make("span");
  const select = (label, names) => make("select", { ariaLabel: label }, ...names.map(([value, words]) => make("option", { value, textContent: words })));
  const first = select("Image", spec.images.map((name) => [name, name]));
  const second = select("Compare with", [["", "no other image"], ...spec.images.map((name) => [name, name])]);
  const chosen = () => [first.value, second.value].filter((name, place, names) => name && names.indexOf(name) === place);
  const write = () => {
    const query = new URLSearchParams();
    if (page.images.length > 1) page.chosen.forEach((name) => query.append("image", name));
    if (page.layer !== null) query.set("layer", page.layer);
    const words = String(query);
    if (words !== String(address().wanted)) history.replaceState(null, "", `#${encodeURIComponent(address().section)}${words ? `?${words}` : ""}`);
  };
  const read = () => {
    const { section, wanted } = address(), names = wanted.getAll("image").filter((name) => page.images.includes(name));
    if (names.length) page.chosen = names.slice(0, 2);
    if (wanted.has("layer")) page.layer = /^\d+$/.test(wanted.get("layer")) ? Number(wanted.get("layer")) : null;
    page.dispatchEvent(new Event("change"));
    if (section && wanted.size) document.getElementById(section)?.scrollIntoView();
  };
  const draw = () => {
    [first.value, second.value] = [page.chosen[0] ?? "", page.chosen[1] ?? ""];
    for (const option of second.options) option.disabled = option.value === first.value;
    document.querySelectorAll("[data-image]").forEach((element) => { element.hidden = !shown(element.dataset.image); });
    chip.replaceChildren(...(page.layer === null ? [] : [button(`Layer ${page.layer} ✕`, () => choose({ layer: null }), { title: "Clear the filter" })]));
    bar.hidden = page.images.length < 2 && page.layer === null;
    write();
  };
  page.chosen = spec.images.slice(0, 1);
  first.onchange = second.onchange = () => choose({ chosen: chosen() });
  if (spec.images.length > 1) bar.append(make("label", {}, "Image ", first), make("label", {}, " compare with ", second));
  bar.append(chip);
  document.querySelector("header")?.after(bar);
  page.addEventListener("change", draw);
  addEventListener("hashchange", read);
  read();
}

/** The class for dark follows the system; paper is light, and charts are measured again for it. */
function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print");
  const paint = () => document.documentElement.classList.toggle("dark", dark.matches && !paper.matches);
  const fit = () => document.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
  for (const query of [dark, paper]) query.addEventListener("change", paint);
  paper.addEventListener("change", fit);
  paint();
}

const addStyle = () => {
  if (!document.getElementById("imagelab-style")) document.head.append(make("style", { id: "imagelab-style", textContent: STYLE }));
};

class ImagelabView extends HTMLElement {
  connectedCallback() {
    addStyle();
    const data = this.querySelector(":scope > script[type='application/json']");
    if (!data || this.ready) return;
    this.ready = true;
    const open = () => VIEWS[this.getAttribute("kind")]?.(this, JSON.parse(data.textContent), null);
    // Charts first; what is below waits until the browser has time.
    if (this.getAttribute("kind") === "chart" && !document.querySelector("imagelab-view .js-plotly-plot")) open();
    else (globalThis.requestIdleCallback ?? setTimeout)(open, { timeout: 500 });
  }
}

if (globalThis.customElements && !customElements.get("imagelab-view")) {
  const spec = document.getElementById("imagelab-page");
  if (spec) { followTheme(); openPage(JSON.parse(spec.textContent)); }
  customElements.define("imagelab-view", ImagelabView);
}

/** anywidget's entry: the traits are kind, data and selected (the place of the chosen row). */
export default {
  render({ model, el }) {
    addStyle();
    el.classList.add("il-view");
    const element = make("div");
    el.append(element);
    let close;
    const draw = () => {
      close?.();
      const data = model.get("data");
      const pick = model.get("selects") ? (place) => { model.set("selected", place); model.save_changes(); } : null;
      close = Object.keys(data).length ? VIEWS[model.get("kind")](element, data, pick) : null;
    };
    model.on("change:data", draw);
    draw();
    return () => { close?.(); model.off("change:data", draw); };
  },
};
