(function () {
"use strict";
// ---- text and data ----
const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const safe = (text) => String(text).replace(/[&<>"]/g, (sign) => escapes[sign]);
const count = (n) => n.toLocaleString("en-US");
const MISSING = 255, NONE = 65535, PAGE = 20;

// As scbind.report.tables.number.
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return count(value);
  const size = Math.abs(value);
  if (size >= 1000) return count(Math.round(value));
  if (size < 1e-3) return value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
  return value.toPrecision(3);
}

const opened = new Map(), finished = new Set();
function once(id, open) {
  if (!opened.has(id)) opened.set(id, open());
  return opened.get(id);
}
async function parse(id) {
  const buffer = await unpack(id);
  await new Promise((done) => setTimeout(done, 0));  // between two packs the browser may draw and hear the user
  return JSON.parse(new TextDecoder().decode(buffer));
}
const json = (id) => (byId(id) ? once(id, () => parse(id)) : Promise.resolve(null));
// A table. A large one has its rows in blocks of some TFs, see scbind.report.pack.pack_blocks.
async function whole(id) {
  const head = await json(id);
  if (!head) return null;
  return allRows(id, head);
}
function allRows(id, head) {
  if (!head.blocks) return derived(head);
  return once("all:" + id, async () => {
    const parts = [];
    for (let k = 0; k < head.blocks; k++) parts.push(await parse(`${id}-${k}`));
    finished.add(id);
    return assembled(head, parts, true);
  });
}
function assembled(head, parts, placed) {
  const n = parts.reduce((sum, part) => sum + part.rows.length, 0);
  const data = head.data.map((column) => (column.of ? { ...column } : column.l ? { l: column.l, c: new Array(n) } : column.add === undefined ? { v: new Array(n) } : { ...column }));
  let first = 0;
  for (const part of parts) {
    let last = 0;
    const rows = part.rows.map((step, k) => { last += step; return placed ? last : first + k; });
    part.data.forEach((column, i) => {
      const to = data[i].v || data[i].c, from = column.v || column.c;
      if (from) for (let k = 0; k < rows.length; k++) to[rows[k]] = from[k];
    });
    first += rows.length;
  }
  return derived({ n, columns: head.columns, data, totals: head.totals });
}
// Fills the columns that are another column plus a number, and those that follow from the TF or from TF and cell type.
function derived(table) {
  for (const column of table.data) if (column.of && !column.c) {
    const [tf, type] = column.of.map((i) => table.data[i]);
    column.c = tf.c.map((code, row) => column.m[type ? code * type.l.length + type.c[row] : code]);
  }
  for (const column of table.data) if (!column.v && !column.l) column.v = table.data[column.from].v.map((value) => value + column.add);
  return table;
}
// A table with at least all rows of a TF.
async function ofTF(id, name) {
  const head = await json(id);
  if (!head || !head.blocks || finished.has(id)) return whole(id);
  const number = head.data[head.by].l.indexOf(name);
  if (number < 0) return assembled(head, [], false);
  const block = Math.floor(number / head.per);
  return once(`block:${id}-${block}`, async () => assembled(head, [await parse(`${id}-${block}`)], false));
}

// The sites of a link and their distances from the start of the gene, as scbind.report.places.placed_sites writes them.
function placedSites(sites, distances) {
  const far = distances.split(",").map(Number);
  return sites.split(",").map((site, i) =>
    `${regions(site)} (${Math.abs(far[i]) <= index.promoter ? "promoter" : "distal"}, ${bp(far[i])})`).join("; ");
}
// Names of files of the run become links. The page is in the folder results.
const linked = (text) => safe(text).replace(/\bresults\/([\w\/-]+\.(?:tsv|bed))\b/g, '<a href="$1">$&</a>');

// ---- tables ----
const ASKED = { tf: "TF", gene: "gene", cell_type: "cell type", population: "population", sample: "sample" };

const broad = (text) => (text.length > 16 ? ' class="broad"' : "");  // in the first column, which stays in view, it is wrapped on a phone

class Table {
  // A table: search, order, pages, download. `rows` are those to show, by default all; `columns` are keys to show.
  constructor(box, title, table, options = {}) {
    this.title = title; this.table = table; this.data = table.data; this.page = 0; this.words = "";
    this.kept = table.columns.map((column, i) => ({ ...column, i })).filter((column) =>
      options.columns ? options.columns.includes(column.key) : true);
    // Of a part of a table, columns without any text are in the download only.
    const empty = ({ i, place }) => !place && this.data[i].l && options.rows && options.rows.every((row) => !this.raw(i, row));
    this.columns = this.kept.filter((column) => !column.hidden && !empty(column));
    this.base = options.rows || Array.from({ length: table.n }, (_, row) => row);
    this.rows = this.base; this.order = null;
    if (options.sort) this.order = { i: table.columns.findIndex((column) => column.key === options.sort), down: options.down };
    this.make(box);
    this.update();
  }
  raw(i, row) { const column = this.data[i]; return column.v ? column.v[row] : column.l[column.c[row]]; }
  // The text of a cell. A place is a column of the page, and three of a download.
  text(column, row) {
    const value = this.raw(column.i, row);
    if (column.place) {
      const [start, end] = column.place.map((i) => this.data[i].v[row]);
      return value && start !== null && end !== null ? place(value, start, end) : "";
    }
    if (column.distances !== undefined) {
      const far = this.raw(column.distances, row);
      return far ? placedSites(value, far) : regions(value);
    }
    return column.regions ? regions(value) : value;
  }
  make(box) {
    box.textContent = "";
    const tools = document.createElement("div");
    tools.className = "tools";
    const label = safe(this.title), form = byId("place-form") ? byId("place-form").textContent : "";
    tools.innerHTML = `<input type="search" aria-label="Search in ${label}" placeholder="Search">` +
      `<button type="button" aria-label="Previous rows of ${label}">‹</button><span aria-live="polite"></span>` +
      `<button type="button" aria-label="Next rows of ${label}">›</button>` +
      `<button type="button" aria-label="Download TSV of ${label}">Download TSV</button>`;
    const [before, after, save] = tools.querySelectorAll("button");
    this.before = before; this.after = after; this.where = tools.querySelector("span");
    const search = tools.querySelector("input");
    search.addEventListener("input", () => { this.words = search.value.trim().toLowerCase(); this.page = 0; this.update(); });
    before.addEventListener("click", () => { this.page--; this.show(); });
    after.addEventListener("click", () => { this.page++; this.show(); });
    save.addEventListener("click", () => this.save());
    const scroll = document.createElement("div");
    scroll.className = "scroll"; scroll.tabIndex = 0;
    scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", this.title);
    scroll.innerHTML = "<table><thead><tr>" + this.columns.map((column) => `<th scope="col"${column.numeric ? ' class="number"' : ""}>` +
      `<button type="button"${(column.title = column.about || (column.place || column.regions ? form : "")) ? ` title="${safe(column.title)}"` : ""}>${safe(column.name)}</button></th>`).join("") + "</tr></thead><tbody></tbody></table>";
    this.body = scroll.querySelector("tbody");
    this.heads = [...scroll.querySelectorAll("th")];
    this.heads.forEach((head, place) => head.firstChild.addEventListener("click", () => {
      const i = this.columns[place].i;
      this.order = { i, down: !(this.order && this.order.i === i && this.order.down) };
      this.page = 0; this.update();
    }));
    if (this.base.length <= PAGE) [search, before, after].forEach((control) => { control.hidden = true; });
    const edge = document.createElement("div");
    edge.className = "edge";
    edge.append(scroll);
    box.append(tools, edge);
    this.columns.filter((column) => column.about && !column.in_text).forEach((column) => {
      const words = document.createElement("p");
      words.className = "note words"; words.textContent = column.about;
      box.append(words);
    });
    edges(scroll);
  }
  // Shows only the rows of a cell type; all if it is empty.
  keep(type) { this.type = type; this.page = 0; this.update(); }
  update() {
    let rows = this.base;
    if (this.type) {
      const column = this.data[this.columns.find(({ key }) => key === "cell_type").i], code = column.l.indexOf(this.type);
      rows = rows.filter((row) => column.c[row] === code);
    }
    if (this.words) {
      const hits = this.columns.map((column) => this.data[column.i].l && !column.place
        ? this.data[column.i].l.map((text) => (column.regions ? regions(text) : text).toLowerCase().includes(this.words)) : null);
      const plain = this.words.replace(/,/g, "");  // places are searched without the commas of their numbers
      const at = (column, row) => {
        const [start, end] = column.place.map((i) => this.data[i].v[row]);
        return `${this.raw(column.i, row)}:${start + 1}-${end}`.toLowerCase().includes(plain);
      };
      rows = rows.filter((row) => this.columns.some((column, k) => column.place ? at(column, row)
        : hits[k] ? hits[k][this.data[column.i].c[row]] : number(this.data[column.i].v[row]) === this.words));
    }
    if (this.order) {
      const { i, down } = this.order, column = this.data[i], sign = down ? -1 : 1;
      let key;
      if (column.v) key = column.v;
      else {
        const rank = new Array(column.l.length);
        column.l.map((text, n) => [text, n]).sort((a, b) => a[0].localeCompare(b[0], undefined, { numeric: true }))
          .forEach(([, n], place) => { rank[n] = place; });
        key = column.c.map((code) => rank[code]);
        const placed = this.table.columns[i].place;
        if (placed) key = key.map((chrom, row) => (this.data[placed[0]].v[row] === null ? null : chrom * 1e10 + this.data[placed[0]].v[row]));
      }
      rows = rows.slice().sort((a, b) => {
        const x = key[a], y = key[b];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x - y) || a - b;
      });
    }
    this.rows = rows;
    this.heads.forEach((head, place) => {
      const mine = this.order && this.order.i === this.columns[place].i;
      if (mine) head.setAttribute("aria-sort", this.order.down ? "descending" : "ascending"); else head.removeAttribute("aria-sort");
    });
    this.show();
  }
  show() {
    const pages = Math.max(1, Math.ceil(this.rows.length / PAGE));
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const from = this.page * PAGE, part = this.rows.slice(from, from + PAGE);
    this.body.innerHTML = part.map((row) => "<tr>" + this.columns.map((column) => {
      const value = this.text(column, row);
      if (column.numeric) return `<td class="number">${column.bp && value !== null ? bp(value) : number(value)}</td>`;
      const kind = ASKED[column.key];
      if (kind && value && things.has(kind + ":" + value)) {
        return `<td${broad(value)}><button type="button" data-ask="${safe(kind + ":" + value)}">${safe(value)}</button></td>`;
      }
      const shown = column.regions ? safe(value).replace(/[^\s;]+:[\d,]+-[\d,]+/g, '<span class="whole">$&</span>') : safe(value);
      return `<td${value.length > 40 ? ' class="long"' : broad(value)}>${shown}</td>`;
    }).join("") + "</tr>").join("");
    this.where.textContent = this.rows.length ? `${count(from + 1)}–${count(from + part.length)} of ${count(this.rows.length)}` : "no rows";
    this.before.disabled = this.page === 0; this.after.disabled = this.page === pages - 1;
  }
  save() {
    const lines = [this.kept.map((column) => column.key).join("\t")];
    for (const row of this.rows) lines.push(this.kept.map(({ i }) => this.raw(i, row) ?? "").join("\t"));
    download(new Blob([lines.join("\n") + "\n"], { type: "text/tab-separated-values" }), stem(this.title) + ".tsv");
  }
}
const stem = (title) => title.replace(/[^\p{L}\p{N}.-]+/gu, "_");
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob); link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
// A table whose rows all stand in the page.
function fromPage(box) {
  const heads = [...box.querySelectorAll("th")], rows = [...box.querySelectorAll("tbody tr")];
  const columns = heads.map((head) => ({ key: head.dataset.key, name: head.textContent, numeric: head.classList.contains("number"), about: head.firstChild.title, in_text: "inText" in head.dataset }));
  const data = columns.map((column, i) => {
    const cells = rows.map((row) => row.cells[i]);
    if (column.numeric) return { v: cells.map((cell) => (Number(cell.dataset.sort) <= -1e300 ? null : Number(cell.dataset.sort))) };
    return { l: cells.map((cell) => cell.textContent), c: cells.map((_, row) => row) };
  });
  return { n: rows.length, columns, data };
}
function whenSeen(box, act) {
  const watch = new IntersectionObserver((found) => {
    if (found.some((each) => each.isIntersecting)) { watch.disconnect(); act(); }
  }, { rootMargin: "600px" });
  watch.observe(box);
}

// ---- the UMAP ----
class Scatter {
  constructor(canvas, places) {
    this.canvas = canvas; this.pen = canvas.getContext("2d", { willReadFrequently: true });
    this.n = places.length / 2; this.x = new Float32Array(this.n); this.y = new Float32Array(this.n);
    for (let i = 0; i < this.n; i++) { this.x[i] = places[2 * i] / 65535; this.y[i] = 1 - places[2 * i + 1] / 65535; }
    let step = 7919;  // cells are stored type by type; in this order no type covers another
    while (this.n % step === 0) step++;
    this.order = new Uint32Array(this.n);
    for (let i = 0, at = 0; i < this.n; i++, at = (at + step) % this.n) this.order[i] = at;
    this.names = []; this.chosen = null; this.named = true; this.colour = () => MISSING; this.palette = new Uint32Array(256); this.only = null;
    this.reset(false);
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.listen();
  }
  reset(draw = true) { this.zoom = 1; this.cx = 0.5; this.cy = 0.5; if (draw) this.draw(); }
  // codes: number of the colour of each cell in `colours` (#rrggbb); others get `none`
  paint(codes, colours, none) {
    const pack = (text) => (255 << 24 | parseInt(text.slice(5, 7), 16) << 16 | parseInt(text.slice(3, 5), 16) << 8 | parseInt(text.slice(1, 3), 16)) >>> 0;
    this.codes = codes; this.palette = Uint32Array.from(colours, pack); this.css = colours; this.none = pack(none); this.noneCss = none;
    this.draw();
  }
  focus(only) { this.only = only; this.draw(); }
  size() {
    const ratio = window.devicePixelRatio || 1, w = Math.round(this.canvas.clientWidth * ratio), h = Math.round(this.canvas.clientHeight * ratio);
    if (this.canvas.width !== w || this.canvas.height !== h) { this.canvas.width = w; this.canvas.height = h; }
    const scale = 0.94 * Math.min(w, h) * this.zoom;
    return { ratio, w, h, scale, left: w / 2 - this.cx * scale, top: h / 2 - this.cy * scale };
  }
  draw() {
    const { ratio, w, h, scale, left, top } = this.size();
    if (!w || !h || !this.codes) return;
    const { n, x, y, order, codes, palette, only, none } = this;
    const radius = Math.min(7, Math.max(1, 110 / Math.sqrt(n)) * Math.sqrt(this.zoom)) * ratio;
    const faint = 0xffe8e4e0;
    const image = this.pen.createImageData(w, h), pixels = new Uint32Array(image.data.buffer);
    const reach = Math.round(radius), spans = [];
    for (let dy = -reach; dy <= reach; dy++) spans.push(Math.floor(Math.sqrt(Math.max(0, (radius + 0.3) ** 2 - dy * dy))));
    for (let layer = 0; layer < 2; layer++) {  // first what is grey, then what is asked for
      for (let k = 0; k < n; k++) {
        const i = order[k], code = codes[i], kept = only === null || only[i] === 1, known = code < palette.length;
        if ((kept && known) !== (layer === 1)) continue;
        const colour = !kept ? faint : known ? palette[code] : none;
        const px = Math.round(left + x[i] * scale), py = Math.round(top + y[i] * scale);
        if (px < -reach || py < -reach || px >= w + reach || py >= h + reach) continue;
        for (let dy = -reach; dy <= reach; dy++) {
          const row = py + dy;
          if (row < 0 || row >= h) continue;
          const span = spans[dy + reach], from = row * w + Math.max(0, px - span), to = row * w + Math.min(w - 1, px + span);
          for (let at = from; at <= to; at++) pixels[at] = colour;
        }
      }
    }
    this.pen.putImageData(image, 0, 0);
    if (this.named) {
      this.pen.font = `600 ${12 * ratio}px system-ui, sans-serif`; this.pen.textAlign = "center"; this.pen.textBaseline = "middle";
      this.pen.lineWidth = 3.5 * ratio; this.pen.lineJoin = "round";
      this.pen.strokeStyle = "#ffffff"; this.pen.fillStyle = "#1f2933";
      const taken = [], first = ({ text }) => (this.chosen && this.chosen.has(text) ? 0 : 1);  // what was asked for has its name
      for (const name of this.names.slice().sort((a, b) => first(a) - first(b))) {
        let px = left + name.x * scale;
        const py = top + name.y * scale, wide = this.pen.measureText(name.text).width / 2 + 2 * ratio;
        if (px < 0 || px > w) continue;
        px = Math.min(Math.max(px, wide), w - wide);  // a name beside the edge stays whole
        if (taken.some((t) => Math.abs(t.px - px) < t.wide + wide && Math.abs(t.py - py) < 14 * ratio)) continue;
        taken.push({ px, py, wide });
        this.pen.strokeText(name.text, px, py); this.pen.fillText(name.text, px, py);
      }
    }
  }
  // The names of groups, the largest group first. Each is where most of its cells are: the median of those in and around the fullest field of a grid.
  middles(codes, levels) {
    const side = 24, field = (v) => Math.min(side - 1, Math.floor(v * side)), n = levels.map(() => new Uint32Array(side * side));
    for (let i = 0; i < this.n; i++) if (codes[i] < levels.length) n[codes[i]][field(this.y[i]) * side + field(this.x[i])]++;
    const most = n.map((fields) => fields.indexOf(Math.max(...fields))), xs = levels.map(() => []), ys = levels.map(() => []);
    for (let i = 0; i < this.n; i++) {
      const k = codes[i];
      if (k >= levels.length || Math.abs(field(this.x[i]) - most[k] % side) > 1 || Math.abs(field(this.y[i]) - Math.floor(most[k] / side)) > 1) continue;
      xs[k].push(this.x[i]); ys[k].push(this.y[i]);
    }
    const middle = (values) => Float32Array.from(values).sort()[values.length >> 1];
    return levels.map((text, i) => ({ text, n: n[i].reduce((sum, each) => sum + each, 0), x: middle(xs[i]), y: middle(ys[i]) }))
      .filter((name) => name.n).sort((a, b) => b.n - a.n);
  }
  near(px, py) {
    const { ratio, scale, left, top } = this.size();
    let best = -1, least = (8 * ratio) ** 2;
    for (let i = 0; i < this.n; i++) {
      const dx = left + this.x[i] * scale - px * ratio, dy = top + this.y[i] * scale - py * ratio, d = dx * dx + dy * dy;
      if (d < least && (this.only === null || this.only[i])) { least = d; best = i; }
    }
    return best;
  }
  by(factor, px, py) {
    const { ratio, scale, left, top, w, h } = this.size(), x = (px ?? w / 2 / ratio) * ratio, y = (py ?? h / 2 / ratio) * ratio;
    const ux = (x - left) / scale, uy = (y - top) / scale, zoom = Math.min(60, Math.max(0.8, this.zoom * factor));
    const next = scale / this.zoom * zoom;
    this.cx = ux + (w / 2 - x) / next; this.cy = uy + (h / 2 - y) / next; this.zoom = zoom;
    this.draw();
  }
  move(dx, dy) { const { ratio, scale } = this.size(); this.cx -= dx * ratio / scale; this.cy -= dy * ratio / scale; this.draw(); }
  listen() {
    const canvas = this.canvas;
    const held = new Map();  // the mouse or the fingers that are down: number to place
    let waiting = false, left = false;  // left: the pointer went away from the map after it was clicked
    canvas.addEventListener("focus", () => { left = false; });
    canvas.addEventListener("wheel", (event) => {  // zooms with a key, or while the map has the focus; else the page scrolls. A pinch on a touchpad comes with ctrlKey.
      if (!event.ctrlKey && !event.metaKey && (left || document.activeElement !== canvas)) { if (this.hint) this.hint(); return; }
      event.preventDefault();
      const turn = -event.deltaY * (event.deltaMode ? 0.05 : 0.002) * (event.ctrlKey ? 10 : 1);
      this.by(2 ** Math.max(-0.35, Math.min(0.35, turn)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("touchmove", (event) => { if (event.touches.length > 1 && event.cancelable) event.preventDefault(); }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, [event.clientX, event.clientY]); canvas.setPointerCapture(event.pointerId); left = false;
    });
    ["pointerup", "pointercancel", "lostpointercapture"].forEach((name) => canvas.addEventListener(name, (event) => held.delete(event.pointerId)));
    canvas.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (before) {
        const now = [event.clientX, event.clientY], other = [...held].find(([id]) => id !== event.pointerId)?.[1];
        held.set(event.pointerId, now);
        if (!other) { this.move(now[0] - before[0], event.pointerType === "touch" ? 0 : now[1] - before[1]); return; }  // up and down, a finger moves the page
        const apart = ([x, y]) => Math.max(20, Math.hypot(x - other[0], y - other[1])), frame = canvas.getBoundingClientRect();
        this.by(apart(now) / apart(before), (now[0] + other[0]) / 2 - frame.left, (now[1] + other[1]) / 2 - frame.top);
        this.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
        return;
      }
      if (waiting) return;
      waiting = true;
      const { offsetX, offsetY } = event;
      requestAnimationFrame(() => { waiting = false; if (this.hover) this.hover(this.near(offsetX, offsetY), offsetX, offsetY); });
    });
    canvas.addEventListener("pointerleave", () => { left = true; if (this.hover) this.hover(-1); });
    canvas.addEventListener("keydown", (event) => {
      const act = { "+": () => this.by(1.3), "=": () => this.by(1.3), "-": () => this.by(1 / 1.3), "0": () => this.reset(),
        ArrowLeft: () => this.move(40, 0), ArrowRight: () => this.move(-40, 0), ArrowUp: () => this.move(0, 40), ArrowDown: () => this.move(0, -40), Escape: () => canvas.blur() }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
  }
}
// Blue, pale yellow, red: told apart with each kind of colour blindness, and from the grey of cells without a value.
const DIVERGING = [[33, 102, 172], [103, 169, 207], [196, 222, 232], [245, 233, 176], [253, 205, 175], [239, 138, 98], [178, 24, 43]];
const RISING = [[253, 231, 37], [94, 201, 98], [33, 145, 140], [59, 82, 139], [68, 1, 84]];
function scale(stops, n) {
  return Array.from({ length: n }, (_, i) => {
    const at = (n === 1 ? 0 : i / (n - 1)) * (stops.length - 1), k = Math.min(stops.length - 2, Math.floor(at)), f = at - k;
    return "#" + stops[k].map((low, c) => Math.round(low + f * (stops[k + 1][c] - low)).toString(16).padStart(2, "0")).join("");
  });
}

// ---- what can be asked ----
const things = new Map();  // "kind:name" -> { kind, name }
let index, scatter, told, groups = {}, current = null, hoverText = () => "";

function add(kind, name, about = "") { things.set(kind + ":" + name, { kind, name, about }); }
// The thing of this kind and name, else one that differs in case only, else undefined.
function known(thing) {
  const low = thing.toLowerCase();
  return things.has(thing) ? thing : [...things.keys()].find((key) => key.toLowerCase() === low);
}
// What the page says of a name that it does not have. It has only genes that its tables have.
const FILES = { "table-targets": "results/analysis/tf_targets.tsv", "table-links": "results/analysis/links.tsv" };
function unknown(kind, name) {
  const files = Object.keys(FILES).filter(byId).map((id) => FILES[id]).join(" and ");
  const kinds = document.querySelector("label[for=pick]").textContent;
  if (kind === "gene") return `<p>This page has no target gene or link named ${safe(name)}${files ? "; see " + linked(files) : ""}.</p>`;
  if (kind) return `<p>There is no ${safe(kind)} named ${safe(name)}.</p>`;
  return `<p>Nothing on this page is named ${safe(name)}. It can be asked for the name of a ${safe(kinds)}.${files ? " Of the genes, it has only those in its tables of target genes and links; see " + linked(files) + "." : ""}</p>`;
}

async function start() {
  index = JSON.parse(byId("index").textContent);
  index.tfs.forEach((tf) => add("TF", tf.name, tf.abstained ? "abstained" : tf.level));
  index.types.forEach((type) => add("cell type", type.name));
  index.colourings.forEach((colouring) => {
    if (["sample", "population", "condition", "donor"].includes(colouring.name)) colouring.levels.forEach((level) => add(colouring.name, level));
  });
  if (typeof DecompressionStream === "undefined") { byId("too-old").hidden = false; return; }
  byId("explorer").hidden = false;
  pans(document);
  document.querySelectorAll(".edge > .scroll").forEach(edges);
  told = byId("told");
  picker();
  const select = byId("colour");
  select.innerHTML = index.colourings.map((colouring, i) => `<option value="${i}">${safe(colouring.name)}</option>`).join("");
  select.addEventListener("change", () => { if (select.value !== "TF") colourBy(Number(select.value)); else if (current) activity(current); });
  if (index.cells.shown) {
    scatter = new Scatter(byId("umap"), new Uint16Array(await unpack("pack-xy")));
    scatter.hover = hover;
    let shownUntil;
    const hint = byId("hint");
    hint.textContent = `${/Mac|iPad|iPhone/.test(navigator.platform) ? "⌘" : "Ctrl"} + wheel zooms`;
    scatter.hint = () => { hint.hidden = false; clearTimeout(shownUntil); shownUntil = setTimeout(() => { hint.hidden = true; }, 1200); };
    byId("in").addEventListener("click", () => scatter.by(1.4));
    byId("out").addEventListener("click", () => scatter.by(1 / 1.4));
    byId("reset").addEventListener("click", () => scatter.reset());
    byId("names").addEventListener("click", (event) => {
      scatter.named = !scatter.named; event.target.setAttribute("aria-pressed", scatter.named); scatter.draw();
    });
    byId("save").addEventListener("click", () => byId("umap").toBlob((blob) => download(blob, `umap_${stem(byId("colour").selectedOptions[0].text)}.png`)));
    if (index.colourings.length) await colourBy(0);
    else scatter.draw();
  } else { byId("view").hidden = true; select.parentNode.hidden = true; }
  window.addEventListener("hashchange", asked);
  document.body.addEventListener("click", (event) => {
    const link = event.target.closest("[data-ask]");
    if (link) { ask(link.dataset.ask); byId("ask").scrollIntoView(); }
    const jump = event.target.closest("a[href^='#']"), place = jump && byId(jump.getAttribute("href").slice(1));
    if (place && place.tagName === "SECTION") { event.preventDefault(); history.pushState(null, "", jump.getAttribute("href")); land(place); }
  });
  // Tables open when they come near, and what a panel needs once the page is still.
  document.querySelectorAll(".table").forEach((box) => {
    const pack = box.dataset.pack;
    whenSeen(box, async () => { new Table(box, box.dataset.title, pack ? await whole(pack) : fromPage(box)); });
  });
  await asked();
  document.documentElement.dataset.ready = performance.now().toFixed(0);
  const idle = () => new Promise((done) => (window.requestIdleCallback || ((act) => setTimeout(act, 50)))(done));
  for (const id of ["table-targets", "table-differential", "table-links", "table-scores", "table-motifs", "table-sites", "table-expression"]) {
    await idle();
    await whole(id);
  }
  await idle();
  await genes();
  document.documentElement.dataset.still = "yes";
}
// Figures that are moved sideways on a phone, by keyboard too.
function pans(parent) {
  const narrow = matchMedia("(max-width: 40rem)").matches;
  parent.querySelectorAll(".pan").forEach((box) => {
    if (narrow) { box.tabIndex = 0; box.setAttribute("role", "group"); box.setAttribute("aria-label", "Figure"); }
    edges(box);
  });
}
let genesKnown = null;
function genes() {
  genesKnown = genesKnown || Promise.all(["table-targets", "table-links"].map(json)).then((tables) => {
    const names = tables.flatMap((table) => (table ? [...table.data[table.columns.findIndex((column) => column.key === "gene")].l, ...Object.keys((table.totals || {}).gene || {})] : []));
    names.forEach((gene) => add("gene", gene));
    return [...new Set(names)].sort();
  });
  return genesKnown;
}
async function asked() {
  const found = decodeURIComponent(location.hash.slice(1));
  if (/^(TF|gene|cell type|sample|population|condition|donor):/i.test(found)) await show(found);
}
// Sections get their height when they are first drawn, which moves those below them. So go there until it stands still.
function land(place) {
  let frames = 0, still = 0, stopped = false;
  const stop = () => { stopped = true; };
  ["wheel", "touchstart", "keydown", "pointerdown"].forEach((name) => window.addEventListener(name, stop, { once: true, passive: true }));
  const step = () => {
    const before = window.scrollY;
    place.scrollIntoView({ behavior: "instant" });
    still = Math.abs(window.scrollY - before) < 2 ? still + 1 : 0;
    if (!stopped && still < 20 && frames++ < 180) requestAnimationFrame(step);
  };
  step();
}
function ask(thing) {
  if (decodeURIComponent(location.hash.slice(1)) === thing) show(thing); else location.hash = encodeURIComponent(thing);
}

// ---- picker ----
function picker() {
  const input = byId("pick"), list = byId("options");
  let at = -1, leaving;
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); at = -1; };
  const choose = (thing) => { input.value = thing.slice(thing.indexOf(":") + 1); close(); followed = true; ask(thing); };
  const mark = (step) => {
    const items = list.children;
    if (!items.length) return;
    if (items[at]) items[at].setAttribute("aria-selected", "false");
    at = (at + step + items.length) % items.length;
    items[at].setAttribute("aria-selected", "true"); items[at].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", items[at].id);
  };
  const offer = async () => {
    await genes();
    const words = input.value.trim().toLowerCase(), first = [], then = [];
    for (const [key, thing] of things) {
      const place = thing.name.toLowerCase().indexOf(words);
      if (place === 0) first.push([key, thing]); else if (place > 0) then.push([key, thing]);
      if (first.length >= 40) break;
    }
    const found = [...first, ...then].slice(0, 40);
    list.innerHTML = found.map(([key, thing], i) => `<li role="option" id="option-${i}" aria-selected="false" data-thing="${safe(key)}">` +
      `<span>${safe(thing.name)}</span><small>${safe(thing.kind)}${thing.about ? ", " + safe(thing.about) : ""}</small></li>`).join("");
    list.hidden = !found.length; at = -1; input.setAttribute("aria-expanded", String(!list.hidden)); input.removeAttribute("aria-activedescendant");
    if (words && (first.length || found.length === 1)) mark(1);  // Enter takes it
  };
  input.addEventListener("input", offer);
  // No name of the list is marked, as after an answer: what is written in full is chosen, first of all what is shown.
  const enter = async () => {
    const words = input.value.trim();
    await genes();
    const same = [...things].filter(([, { name }]) => name.toLowerCase() === words.toLowerCase()).map(([key]) => key);
    const exact = same.filter((key) => things.get(key).name === words), named = exact.length ? exact : same, panel = byId("panel");
    if (named.length) choose(named.includes(panel.dataset.shows) ? panel.dataset.shows : named[0]);
    else if (!list.hidden && list.children.length) mark(1);  // names that only contain it: a second Enter takes the first
    else { shown++; panel.dataset.shows = ""; panel.innerHTML = unknown("", words); }
  };
  input.addEventListener("focus", () => { clearTimeout(leaving); input.select(); offer(); });
  input.addEventListener("blur", () => { clearTimeout(leaving); leaving = setTimeout(close, 150); });
  list.addEventListener("pointerdown", (event) => { const item = event.target.closest("li"); if (item) { event.preventDefault(); choose(item.dataset.thing); } });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); if (list.hidden) offer(); else mark(event.key === "ArrowDown" ? 1 : -1); }
    else if (event.key === "Enter" && list.children[at]) { event.preventDefault(); choose(list.children[at].dataset.thing); }
    else if (event.key === "Enter" && input.value.trim()) { event.preventDefault(); enter(); }
    else if (event.key === "Escape") close();
  });
}

// ---- colours of the cells ----
async function groupCodes(name) {
  const i = index.colourings.findIndex((colouring) => colouring.name === name);
  if (i < 0) return null;
  if (!groups[name]) groups[name] = { codes: new Uint16Array(await unpack("pack-c-" + i)), levels: index.colourings[i].levels, colours: index.colourings[i].colours };
  return groups[name];
}
// The names on the map: of the populations where they are the colour, else of the cell types, because the cells of a sample, donor or condition lie all over it.
const PLACED = ["cell type", "population"];
async function namesOf(colouring) {
  const kind = PLACED.includes(colouring) ? colouring : "cell type", found = await groupCodes(kind);
  if (found && !found.names) found.names = scatter.middles(found.codes, found.levels);
  return { names: found ? found.names : [], said: found ? ` Names on the map: ${kind}.` : "" };
}
let painted = 0;  // a colour that is late must not cover one that was asked for after it
async function colourBy(i, chosen = null) {
  const mine = ++painted, colouring = index.colourings[i], legend = byId("legend"), { names, said } = await namesOf(colouring.name);
  if (mine !== painted) return;
  byId("colour").value = String(i);
  const option = byId("colour").querySelector('option[value="TF"]');
  if (option) option.remove();
  if (colouring.levels) {
    const { codes, levels, colours } = await groupCodes(colouring.name);
    if (mine !== painted) return;
    scatter.only = chosen === null ? null : Uint8Array.from(codes, (code) => (code === chosen ? 1 : 0));
    scatter.names = names; scatter.chosen = chosen === null ? null : new Set([levels[chosen]]);
    scatter.paint(codes, colours, index.missing);
    const n = new Array(levels.length).fill(0);
    let none = 0;
    for (let k = 0; k < codes.length; k++) if (codes[k] < levels.length) n[codes[k]]++; else none++;
    legend.innerHTML = `<b>${safe(colouring.name)}</b>` + levels.map((level, k) => `<button type="button" aria-pressed="${k === chosen}" data-level="${k}">` +
      `<i style="background:${colours[k]}"></i><span>${safe(level)}</span><small>${count(n[k])}</small></button>`).join("") +
      (none ? `<button type="button" aria-pressed="false" data-level="${NONE}"><i style="background:${index.missing}"></i><span>${safe(colouring.none)}</span><small>${count(none)}</small></button>` : "");
    legend.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      const wanted = new Set([...legend.querySelectorAll('[aria-pressed="true"]')].map((each) => Number(each.dataset.level)));
      scatter.chosen = new Set([...wanted].map((k) => levels[k]));
      scatter.focus(wanted.size ? Uint8Array.from(codes, (code) => (wanted.has(code) ? 1 : 0)) : null);
    }));
    hoverText = (cell) => levels[codes[cell]] ?? colouring.none;
    told.textContent = `Colour: ${colouring.name}.${said} Choose names in the legend to see only these cells. Names that would cover others are left out; zoom in to see them.`;
  } else {
    const codes = new Uint8Array(await unpack("pack-c-" + i)), [low, high] = colouring.limits;
    if (mine !== painted) return;
    scatter.names = names; scatter.only = scatter.chosen = null;
    scatter.paint(codes, scale(RISING, 101), index.missing);
    const from = colouring.log ? Math.log10(low) : low, to = colouring.log ? Math.log10(high) : high;
    bar(colouring.name, RISING, low, high, colouring.log ? "Logarithmic. The ends are the 1st and 99th percentile." : "The ends are the 1st and 99th percentile.", "", colouring.name === "borrowed depth" ? index.depth : "");
    hoverText = (cell) => {
      if (codes[cell] === MISSING) return `${colouring.name}: unknown`;
      const value = from + (codes[cell] + 0.5) / 101 * (to - from);
      return `${colouring.name}: about ${number(colouring.log ? 10 ** value : value)}`;
    };
    told.textContent = `Colour: ${colouring.name}.${said}`;
  }
}
function bar(title, stops, low, high, note, middle = "", about = "") {
  byId("legend").innerHTML = `<b>${safe(title)}</b><div class="bar" style="background:linear-gradient(to right,${scale(stops, 15).join(",")})"></div>` +
    `<div class="ends"><span>${number(low)}</span><span>${middle}</span><span>${number(high)}</span></div><p class="note">${safe(note)}</p>` + (about ? `<p class="note">${safe(about)}</p>` : "");
}
async function activity(name) {
  if (!scatter) return;
  const mine = ++painted, i = index.tfs.findIndex((tf) => tf.name === name), tf = index.tfs[i];
  const [codes, { names, said }] = await Promise.all([zCodes(i), namesOf("")]);
  if (mine !== painted) return;
  scatter.only = scatter.chosen = null; scatter.names = names;
  scatter.paint(codes, scale(DIVERGING, index.steps), index.missing);
  const select = byId("colour");
  let option = select.querySelector('option[value="TF"]');
  if (!option) { option = document.createElement("option"); option.value = "TF"; select.append(option); }
  option.textContent = `activity of ${name}`; select.value = "TF";
  bar(`activity z of ${name}`, DIVERGING, -tf.limit, tf.limit, `0 is no difference from similar windows. Grey: the cell is too shallow for ${name}. ` +
    `The colours end at the 99th percentile of ${name}, in ${index.steps} steps.`, "0");
  hoverText = (cell) => codes[cell] === MISSING ? `${name}: too shallow` : `${name}: z about ${number(((codes[cell] + 0.5) / index.steps * 2 - 1) * tf.limit)}`;
  told.textContent = `Colour: activity of ${name}.${said}` + (tf.abstained ? " scbind abstains on this TF: do not interpret it." : "");
}
function hover(cell, x, y) {
  const tip = byId("tip");
  if (cell < 0) { tip.hidden = true; return; }
  const said = [hoverText(cell)];
  for (const name of ["cell type", "sample"]) if (groups[name]) { const level = groups[name].levels[groups[name].codes[cell]]; if (level && !said.includes(level)) said.push(level); }
  tip.textContent = said.join("\n"); tip.hidden = false;
  tip.style.left = Math.min(x + 12, byId("umap").clientWidth - tip.offsetWidth) + "px"; tip.style.top = y + 14 + "px";
}

// ---- panels ----
let shown = 0, followed = false;  // followed: chosen in the picker, so the start of the answer comes into view
async function show(asked) {
  const panel = byId("panel"), mine = ++shown;
  if (/^gene:/i.test(asked)) await genes();
  if (mine !== shown) return;
  const thing = known(asked) || asked, place = thing.indexOf(":"), kind = thing.slice(0, place), name = thing.slice(place + 1);
  if (!things.has(thing)) { panel.dataset.shows = ""; panel.innerHTML = unknown(kind.toLowerCase() === "gene" ? "gene" : kind, name); return; }
  current = kind === "TF" ? name : null;
  byId("pick").value = name;
  panel.dataset.shows = "";
  const next = document.createElement("div");  // what it holds goes into the page at once, so the page is laid out once
  if (kind === "TF") await Promise.all([activity(name), showTF(name, next)]);
  else if (kind === "gene") await Promise.all([scatter && index.colourings.length && colourBy(0), showGene(name, next)]);
  else await Promise.all([only(kind, name), showGroup(kind, name, next)]);
  if (mine !== shown) return;  // something else was asked for in the meantime
  panel.replaceChildren(...next.childNodes);
  pans(panel);
  panel.dataset.shows = thing;
  const top = panel.getBoundingClientRect().top;
  if (followed && top > 0.8 * window.innerHeight) window.scrollBy({ top: top - 0.6 * window.innerHeight, behavior: "instant" });
  followed = false;
}
async function only(kind, name) {
  const i = index.colourings.findIndex((colouring) => colouring.name === kind);
  if (i < 0 || !scatter) return;
  await colourBy(i, index.colourings[i].levels.indexOf(name));
}
// The rows of a table where a column has a value. They are sorted by value once.
function rowsOf(table, key, value) {
  const i = table.columns.findIndex((column) => column.key === key);
  if (i < 0) return null;
  const column = table.data[i];
  if (!column.rows) {
    column.rows = column.l.map(() => []);
    column.c.forEach((code, row) => column.rows[code].push(row));
  }
  return column.rows[column.l.indexOf(value)] || [];
}
const TYPES = "cell type", CONDITIONS = "condition";  // the contrasts of table-differential
// A table of a panel: the rows where a column has a value. Returns it; null if there is no such table or no row.
async function part(parent, pack, title, note, where, options = {}) {
  const [key, value] = where, table = await (key === "tf" ? ofTF(pack, value) : whole(pack));
  if (!table) return null;
  let rows = [].concat(key).map((each) => rowsOf(table, each, value));  // of one column, or of any of several
  if (rows.includes(null)) return null;
  rows = rows.length === 1 ? rows[0] : [...new Set(rows.flat())].sort((a, b) => a - b);
  if (options.contrast) {  // without a column, all are between cell types
    const column = table.data[table.columns.findIndex((each) => each.key === "contrast")];
    if (column) rows = rows.filter((row) => column.l[column.c[row]] === options.contrast);
    else if (options.contrast !== TYPES) return null;
    if (!rows.length && options.contrast !== TYPES) return null;
  }
  // A table with totals lacks rows of some values, and then says so.
  const all = table.totals && table.totals[key] && table.totals[key][value];
  if (all) note = `${count(rows.length)} of ${count(all)} ${options.what} ${all === 1 ? "is" : "are"} on this page; ${options.file} has all. ${note}`;
  if (options.order) rows = options.order(table, rows);
  const columns = table.columns.map((column) => column.key).filter((each) => each !== key && !(options.drop || []).includes(each));
  const head = document.createElement("div");
  head.innerHTML = `<h4>${safe(title)}</h4>` + (note ? `<p class="note">${linked(note)}</p>` : "");
  const more = pack === "table-links" ? [...document.querySelectorAll("#links > p")].slice(1) : [];  // the notes of the section
  if (more.length) head.insertAdjacentHTML("beforeend", `<details><summary>How to read links</summary>${more.map((each) => `<p>${each.innerHTML}</p>`).join("")}</details>`);
  const box = document.createElement("div");
  box.className = "table";
  parent.append(head, box);
  const made = new Table(box, title, table, { rows, columns, ...options });
  if (made.base.length) {
    const i = columns.includes("p_adjusted") ? table.columns.findIndex((column) => column.key === "p_adjusted") : -1;
    if (i >= 0 && !options.significant) {
      const n = made.base.filter((row) => table.data[i].v[row] !== null && table.data[i].v[row] < 0.05).length, all = count(made.base.length);
      head.insertAdjacentHTML("beforeend", `<p class="note"><strong>${n ? `${count(n)} of ${all} ${all === "1" ? "row has" : "rows have"}` : "No row has"} an adjusted p below 0.05.</strong></p>`);
    }
    return made;
  }
  box.outerHTML = all ? "" : `<p>${linked(options.empty || "No rows.")}</p>`;
  return null;
}
// The rows of a table of tests that are significant and, if asked for, positive. If there is none, the strongest, and `said` says so.
const STRONGEST = 5;
function significant(way, said) {
  return (table, rows) => {
    const of = (key) => table.data[table.columns.findIndex((column) => column.key === key)].v, p = of("p_adjusted"), d = of("difference"), effect = of("effect_size");
    const kept = rows.filter((row) => way === "any" || d[row] > 0), found = kept.filter((row) => p[row] !== null && p[row] < 0.05);
    const tf = table.data[table.columns.findIndex((column) => column.key === "tf")], one = new Set(rows.map((row) => tf.c[row])).size === rows.length;
    said(found.length, rows.length, one ? "TFs" : "tests");
    if (found.length || !rows.length) return found;
    return (kept.length ? kept : rows).slice().sort((a, b) => (way === "any" ? (p[a] ?? 2) - (p[b] ?? 2) : 0) || effect[b] - effect[a]).slice(0, STRONGEST);
  };
}
// A table of tests with only the significant rows, or the strongest ones and a sentence that none is significant.
async function tests(panel, title, note, where, way, options) {
  let found = 0, all = 0, what = "";
  const made = await part(panel, "table-differential", title, note, where, { ...options, significant: true, order: significant(way, (n, of, things) => { found = n; all = of; what = things; }) });
  if (made) panel.lastElementChild.insertAdjacentHTML("beforebegin", `<p class="note"><strong>${found ? `${count(found)} of ${count(all)} ${what} ${found === 1 ? "is" : "are"} significant${way === "any" ? "" : " and more active"} (adjusted p below 0.05); only these are shown.`
    : `None ${way === "any" ? "is significant" : "is significantly more active"} (adjusted p below 0.05). The strongest of ${count(all)} are:`}</strong></p>`);
  return made;
}
// The comparisons of conditions in a table that have `name` on either side, or all: [group, reference].
function comparisons(table, name = null) {
  const found = new Map(), of = (key) => table.data[table.columns.findIndex((column) => column.key === key)];
  const [contrast, group, reference] = ["contrast", "group", "reference"].map(of);
  if (group && reference) for (let row = 0; row < table.n; row++) {
    if (contrast && contrast.l[contrast.c[row]] !== CONDITIONS) continue;
    const pair = [group.l[group.c[row]], reference.l[reference.c[row]]];
    if (name === null || pair.includes(name)) found.set(pair.join("\t"), pair);
  }
  return [...found.values()];
}
// Columns that a table of one comparison does not need, because its note names both sides.
const sides = (pairs) => (pairs.length === 1 ? ["group", "reference"] : []);
// What the sign of a comparison means.
function signs(pairs, what, values = "difference or effect size") {
  const [group, reference] = pairs.length === 1 ? pairs[0] : ["the condition in the column group", "the one in the column reference"];
  return `A positive ${values}: ${what} in ${group} than in ${reference}. A negative one: less.`;
}
// A choice of one cell type for the tables below, in place of `box`.
function oneType(box, tables) {
  const kept = tables.filter((table) => table && table.columns.some(({ key }) => key === "cell_type")), found = new Set();
  for (const { data, columns, base } of kept) {
    const { l, c } = data[columns.find(({ key }) => key === "cell_type").i];
    for (const row of base) if (l[c[row]]) found.add(l[c[row]]);
  }
  if (found.size < 2) { box.remove(); return; }
  const names = [...found].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  box.innerHTML = `<label>Cell type in the tables below <select><option value="">all</option>${names.map((name) => `<option>${safe(name)}</option>`).join("")}</select></label>`;
  const select = box.querySelector("select");
  select.addEventListener("change", () => kept.forEach((table) => table.keep(select.value)));
}
const facts = (pairs) => `<dl class="facts">${pairs.filter(([, value]) => value !== undefined && value !== "").map(([label, value]) =>
  `<div><dt>${safe(label)}</dt><dd>${safe(value)}</dd></div>`).join("")}</dl>`;

// Options of a table of links. They are chosen as in scbind.report.regulation.links.
const links = () => ({ sort: "probability", down: true, file: "results/analysis/links.tsv", what: `links with a false discovery rate up to ${index.fdr}`,
  empty: `No link has a false discovery rate up to ${index.fdr}.${index.tfs.some((tf) => tf.abstained) ? " Links of TFs on which scbind abstains are left out." : ""}` });
const tables_of_links = () => (byId("table-links") ? " For regulation, use the table of links." : "");
const LINKS = "From the activity of the TF in the cell type (with RNA, also its expression), its predicted binding near the gene, and the association of these sites with the gene over cells. A probable link may have an association that is not significant. FDR: false discovery rate.";
async function showTF(name, panel) {
  const i = index.tfs.findIndex((tf) => tf.name === name), tf = index.tfs[i], expressed = await expression(name);
  panel.innerHTML = `<h3>${safe(name)}</h3>` + facts([
    ["evidence", tf.evidence === "motif" ? "motif only, no ChIP-seq" : "ChIP-seq"],
    ["reliability on bulk lines, full depth", (tf.level || "unknown") + (tf.abstained ? ", abstained" : "")],
    ["AUPRC on bulk lines, held-out windows", tf.auprc === undefined ? "" : number(tf.auprc)],
    ["AUPRC at the depth of these cells", tf.at ? number(tf.at[0]) : ""],
    ["prevalence (AUPRC of guessing)", tf.prevalence === undefined ? "" : number(tf.prevalence)],
    ["cells too shallow", (100 * tf.shallow).toFixed(1) + " %"],
    ["correlation of activity and expression", expressed ? expressed.correlation : ""]]) +
    (tf.why ? `<p>${safe(tf.why)}</p>` : "") + `<p>${safe(depthOf(tf))}</p>` + '<div class="pair"><div><div id="box"></div><div id="by-condition"></div></div><div><div id="curve"></div><div id="logo"></div></div></div>';
  const drawn = (await json("pack-t-" + Math.floor(i / index.per_pack)))[i % index.per_pack];
  if (index.types.length) panel.querySelector("#box").innerHTML = boxes(name, drawn.box, expressed && expressed.types);
  panel.querySelector("#curve").innerHTML = curve(name, drawn);
  panel.querySelector("#logo").innerHTML = motifLogos(name, drawn.motifs);
  await byCondition(name, i, panel.querySelector("#by-condition"));
  await genes();
  const drop = ["evidence", "reliability_level", "reliability_abstained"], choice = document.createElement("p");
  panel.append(choice);
  const tested = await ofTF("table-differential", name), pairs = tested ? comparisons(tested) : [];
  const between = pairs.length ? signs(pairs, "more activity") + " " : "";
  const tables = [
    await part(panel, "table-differential", `${name} in each cell type, tests`, "Each cell type against all other cells. The difference is in z. Adjusted p over all TFs and types.",
      ["tf", name], { contrast: TYPES, drop: [...drop, "contrast", "group", "reference"], sort: "effect_size", down: true, empty: tf.abstained ? "No tests, because scbind abstains on this TF." : "No tests." }),
    await part(panel, "table-differential", `${name} between conditions`, `Within each cell type. ${between}Adjusted p over all TFs and types.`,
      ["tf", name], { contrast: CONDITIONS, drop: [...drop, "contrast", ...sides(pairs)], sort: "effect_size", down: true }),
    await part(panel, "table-links", `Genes that ${name} probably regulates`, LINKS, ["tf", name],
      { ...links(), drop, ...(tf.abstained ? { empty: "No links are listed, because scbind abstains on this TF." } : {}) }),
    await part(panel, "table-targets", `Genes with the most predicted binding of ${name} around them`, `Genes with the largest regulatory potential: candidates, not proof of regulation.${tables_of_links()} This table ranks by binding alone${index.most_targets === null ? "" : ` and keeps at most ${count(index.most_targets)} genes per TF and type`}.`, ["tf", name],
      { drop, sort: "potential", down: true, empty: tf.abstained ? "No genes are listed, because scbind abstains on this TF." : "No genes." }),
    await part(panel, "table-sites", `Best sites of ${name}`, `The windows with the highest mean P(bound) in each cell type; types in which the TF is more active come first. ${index.no_protein}`, ["tf", name], { drop })];  // in the order of the page
  if (byId("table-sites") && !tf.abstained) panel.insertAdjacentHTML("beforeend", `<p><a href="browser/loci.html#${encodeURIComponent(name)}">Tracks of all cell types at the best sites of ${safe(name)}</a></p>`);
  tables.push(await part(panel, "table-motifs", `Motifs in the best sites of ${name}`, "The best predicted sites against windows of similar GC content and accessibility. If the TF's own motif is enriched, the model does not read accessibility alone.", ["tf", name], { drop, sort: "odds_ratio", down: true }));
  tables.push(await part(panel, "table-expression", `Activity and expression of ${name}`, "Expression: molecules of the TF's gene per 10,000 molecules of the cell.",
    ["tf", name], { drop: [...drop, "correlation", "correlation_p", "n_types"], sort: "mean_expression", down: true }));
  if (tf.evidence !== "motif") {
    await part(panel, "table-found", `Motifs found for ${name}`, "Motifs found in its bound windows, the known one, and the known motif that is most similar to each.", ["tf", name], { drop, sort: "auprc", down: true, empty: "No motif was found." });
    await part(panel, "table-learned", `Motif of ${name} as the model has learned it`, "", ["tf", name], { drop, empty: "The model has no motif of this TF." });
  }
  await part(panel, "table-scores", `Models and baselines on ${name}`, "AUPRC on held-out windows of the bulk lines, mean over lines.", ["tf", name], { drop, sort: "auprc", down: true });
  oneType(choice, tables);
}
// What the reliability does not say: at which depth these cells are, and the accuracy there.
function depthOf(tf) {
  const where = "The reliability is that of bulk data at full depth, not of these cells.";
  if (!index.cell_depth) return `${where} The depth of these cells is not known.`;
  const cells = `${where} Half of these cells have ${number(index.cell_depth)} insertions per base or more, with those that they borrow${index.cell_fragments === null ? "" : `, and half have ${count(index.cell_fragments)} fragments of their own or more`}.`;
  return tf.at ? `${cells} On bulk data of held-out windows thinned to this depth, the AUPRC is ${number(tf.at[0])} (at full depth: ${number(tf.at[1])}). Single cells can be worse: their depth is uneven, and they borrow from similar cells.`
    : `${cells} The accuracy at this depth was not measured${tf.evidence === "motif" ? ", because there is no ChIP-seq" : ""}.`;
}
// The median activity of a TF by cell type and condition, from the colours of the UMAP. Each is interpolated within its step.
async function byCondition(name, i, box) {
  if (!scatter) return;
  const types = await groupCodes("cell type"), sides = await groupCodes("condition");
  if (!types || !sides || sides.levels.length < 2) return;
  const z = await zCodes(i), { steps } = index, { limit } = index.tfs[i], wide = sides.levels.length;
  const seen = types.levels.map(() => sides.levels.map(() => new Uint32Array(steps)));
  for (let k = 0; k < z.length; k++) if (z[k] < steps && types.codes[k] < types.levels.length && sides.codes[k] < wide) seen[types.codes[k]][sides.codes[k]][z[k]]++;
  const n = seen.map((each) => each.map((steps) => steps.reduce((sum, more) => sum + more, 0)));
  const median = (counts, all) => {
    let before = 0;
    for (let k = 0; k < steps; k++) { if (before + counts[k] >= all / 2) return Number((((k + (all / 2 - before) / counts[k]) / steps * 2 - 1) * limit).toPrecision(3)); before += counts[k]; }
    return null;
  };
  const rows = types.levels.map((_, k) => k).filter((k) => n[k].some((each) => each)), title = `Activity of ${name} by cell type and condition`;
  if (!rows.length) return;
  box.innerHTML = `<h4>${safe(title)}</h4><p class="note">Median z of the cells in the UMAP, without those that are too shallow. Values beyond ${number(limit)} are cut there. ` +
    `Whether conditions differ is tested between donors, not cells: see the tests below.</p><div class="table"></div>`;
  new Table(box.lastElementChild, title, { n: rows.length,
    columns: [{ key: "cell_type", name: "cell type" }, ...sides.levels.flatMap((level) => [{ key: "z_" + level, name: "z, " + level, numeric: true }, { key: "cells_" + level, name: "cells, " + level, numeric: true }])],
    data: [{ l: types.levels, c: rows }, ...sides.levels.flatMap((_, c) => [{ v: rows.map((k) => (n[k][c] ? median(seen[k][c], n[k][c]) : null)) }, { v: rows.map((k) => n[k][c]) }])] });
}
let lastZ = [-1, null];
async function zCodes(i) {
  if (lastZ[0] !== i) lastZ = [i, unpack("pack-z-" + i).then((found) => new Uint8Array(found))];
  return lastZ[1];
}
// The correlation of the activity of a TF with its expression, and the expression by cell type. Null without RNA.
async function expression(name) {
  const table = await ofTF("table-expression", name);
  const rows = table ? rowsOf(table, "tf", name) : [];
  if (!rows || !rows.length) return null;
  const at = (key, row) => { const column = table.data[table.columns.findIndex((each) => each.key === key)]; return column.v ? column.v[row] : column.l[column.c[row]]; };
  const types = new Map(rows.map((row) => [at("cell_type", row), { mean: at("mean_expression", row), fraction: at("fraction_expressing", row) }]));
  const r = at("correlation", rows[0]);
  const correlation = r === null ? "not known" : `${number(r)} (p ${number(at("correlation_p", rows[0]))}, ${number(at("n_types", rows[0]))} cell types)`;
  return { correlation, types: [...types.values()].some(({ mean }) => mean !== null) ? types : null };
}
async function geneFacts(name) {
  const table = await json("pack-genes"), wanted = (await genes()).indexOf(name), rows = [];  // see scbind.report.explorer.gene_places
  let last = 0;
  table.gene.forEach((step, row) => { last += step; if (last === wanted) rows.push(row); });
  const each = (write) => [...new Set(rows.map((row) => write(table.chroms[table.chrom[row]], table.start[row], table.start[row] + table.length[row], table.plus[row])))].join("; ");
  return facts([["place", each((chrom, start, end) => place(chrom, start, end))], ["strand", each((chrom, start, end, plus) => (plus ? "+" : "−"))],
    ["TSS", each((chrom, start, end, plus) => (plus ? place(chrom, start, start + 1) : place(chrom, end - 1, end)))]]);
}
async function showGene(name, panel) {
  panel.innerHTML = `<h3>${safe(name)}</h3>${await geneFacts(name)}<div id="around"></div>`;
  const table = await whole("table-targets"), at = (key) => table.data[table.columns.findIndex((column) => column.key === key)];
  const found = new Map();  // by place: the TFs there, and the highest P(bound) of each
  for (const row of table ? rowsOf(table, "gene", name) : []) {
    const d = at("top_window_distance").v[row], tf = at("tf").l[at("tf").c[row]], p = at("top_window_binding").v[row];
    if (!found.has(d)) found.set(d, new Map());
    found.get(d).set(tf, Math.max(p, found.get(d).get(tf) || 0));
  }
  panel.querySelector("#around").innerHTML = around(name, [...found].map(([d, tfs]) => ({ d, tfs: [...tfs].sort((a, b) => b[1] - a[1]) })));
  if (byId("table-sites") && !things.has("TF:" + name)) panel.insertAdjacentHTML("beforeend", `<p><a href="browser/loci.html#${encodeURIComponent(name)}">Tracks of all cell types at the best sites around ${safe(name)}</a></p>`);
  const choice = document.createElement("p");
  panel.append(choice);
  const linked = await part(panel, "table-links", `TFs that probably regulate ${name}`, LINKS, ["gene", name], links());
  const near = await part(panel, "table-targets", `TFs with much predicted binding around ${name}`, "Each row is a TF in a cell type that has this gene among its strongest targets.", ["gene", name], { sort: "potential", down: true });
  oneType(choice, [linked, near]);
}
// What a table says of a group in a column of texts, such as cautions.
async function said(pack, kind, name, key) {
  const table = await whole(pack), i = table ? table.columns.findIndex((column) => column.key === key) : -1;
  const rows = i < 0 ? null : rowsOf(table, kind, name);
  return rows && rows.length ? table.data[i].l[table.data[i].c[rows[0]]] : "";
}
async function showGroup(kind, name, panel) {
  const found = await groupCodes(kind);
  let n = 0;
  const code = found ? found.levels.indexOf(name) : -1;
  if (found) for (const each of found.codes) if (each === code) n++;
  const caution = kind === "cell type" ? await said("table-peaks", "cell_type", name, "caution") : kind === "population" ? await said("table-populations", "population", name, "cautions") : "";
  panel.innerHTML = `<h3>${safe(name)}</h3>` + facts([["kind", kind], ["cells in the UMAP", count(n)]]) + (caution ? `<p><strong>Caution:</strong> ${safe(regions(caution))}</p>` : "") + `<p>${safe(await doublets(kind, name, caution))}</p>`;
  if (kind === "cell type") {
    const few = "Not tested: too few cells (analysis.min_cells).";
    await tests(panel, `TFs that mark ${name}`, "This type against all other cells, the largest effects first. Where z and mean binding disagree, go by z: mean binding is not corrected for accessibility.", ["cell_type", name], "more", { contrast: TYPES, drop: ["contrast", "group", "reference"], sort: "effect_size", down: true, empty: few });
    const tested = await whole("table-differential"), pairs = tested ? comparisons(tested) : [];
    await tests(panel, `TFs that differ between conditions in ${name}`, `The smallest adjusted p first. ${pairs.length ? signs(pairs, "more activity") : ""}`, ["cell_type", name], "any", { contrast: CONDITIONS, drop: ["contrast", ...sides(pairs)], sort: "p_adjusted", empty: few });
    await part(panel, "table-peaks", `Peaks of ${name}`, "", ["cell_type", name]);
    await part(panel, "table-populations", `Populations that are mostly ${name}`, "", ["cell_type", name]);
    await part(panel, "table-links", `Links of TFs and genes in ${name}`, LINKS, ["cell_type", name], links());
    await part(panel, "table-targets", `Genes with the most specific predicted binding in ${name}`, "Specificity: log2 ratio of the regulatory potential to its mean in the other cell types. The most specific come first, but those of TFs that are less active in this type come last: sites can be open without the TF.", ["cell_type", name], { order: activeFirst });
  } else {
    if (kind === "sample") await part(panel, "table-samples", `Quality of ${name}`, "Medians over passing cells.", ["sample", name]);
    if (kind === "population") await part(panel, "table-populations", `Population ${name}`, "Markers are given as TF:effect size (Cohen's d).", ["population", name]);
    if (kind === "condition") await compared(name, panel);
    const types = await groupCodes("cell type");
    if (types && found) composition(panel, name, found.codes, code, types);
  }
}
// Rows of target genes, the most specific first, those of TFs that are less active in the type last.
function activeFirst(table, rows) {
  const of = (key) => table.data[table.columns.findIndex((column) => column.key === key)], { v } = of("specificity"), mark = of("tf_in_type");
  const last = (row) => (mark && mark.l[mark.c[row]] === index.less ? 1 : 0);
  return rows.slice().sort((a, b) => last(a) - last(b) || v[b] - v[a] || a - b);
}
// Whether a type or population is flagged as doublets, and the number behind it. As scbind.formats.doubletgroups.
async function doublets(kind, name, caution) {
  const flagged = /doublets/.test(caution) ? "It is flagged as doublets" : "It is not flagged as doublets";
  if (kind === "cell type") {
    const { doublets: share } = index.types.find((type) => type.name === name);
    return share === undefined ? "Doublets: not known, because the cells have no doublet scores."
      : `Doublets: ${(100 * share).toFixed(1)} % of its cells have a doublet score of ${index.doublet} or more. ${flagged}: a type is flagged if half of its cells have one.`;
  }
  if (kind !== "population") return "";
  const table = await whole("table-populations"), i = table ? table.columns.findIndex((column) => column.key === "doublet_score") : -1, rows = i < 0 ? null : rowsOf(table, "population", name);
  const score = rows && rows.length ? table.data[i].v[rows[0]] : null;
  return score === null ? "Doublets: not known, because the cells have no doublet scores." : `Doublets: the median doublet score of its cells is ${number(score)}. ${flagged}: that takes ${index.doublet} or more.`;
}
// What differs between a condition and those that it was compared with, whichever side of the comparison it is on.
async function compared(name, panel) {
  const tested = await whole("table-differential"), counted = await whole("table-abundance");
  const pairs = [tested, counted].flatMap((table) => (table ? comparisons(table, name) : []))
    .filter((pair, i, all) => all.findIndex((each) => each.join("\t") === pair.join("\t")) === i);
  if (!pairs.length) { panel.insertAdjacentHTML("beforeend", `<p>${safe(name)} was not compared with another condition.</p>`); return; }
  const one = pairs.length === 1, both = one ? `${pairs[0][0]} and ${pairs[0][1]}` : `${name} and the conditions that it was compared with`;
  const drop = ["contrast", ...sides(pairs)], where = [["group", "reference"], name];
  const down = !one || pairs[0][0] === name;  // what is more in the condition that was asked for comes first
  await tests(panel, `TFs that differ between ${both}`, `Within each cell type, the smallest adjusted p first. ${signs(pairs, "more activity")}`,
    where, "any", { contrast: CONDITIONS, drop, sort: "p_adjusted" });
  await part(panel, "table-site_counts", `Sites that differ between ${both}`, one ? `More binding: windows that the TF binds more in ${pairs[0][0]} than in ${pairs[0][1]}. Less binding: the reverse.`
    : "More binding: windows that the TF binds more in the condition in the column group than in the one in the column reference. Less binding: the reverse.", where, { contrast: CONDITIONS, drop, down: true, sort: down ? "n_more" : "n_less" });
  await part(panel, "table-abundance", `Abundance of cell types and populations in ${both}`, signs(pairs, "a larger fraction of the cells", "log2 odds ratio"),
    where, { drop, sort: "p_adjusted" });
}
function composition(panel, name, codes, code, types) {
  const n = new Array(types.levels.length).fill(0), all = n.slice();
  for (let i = 0; i < codes.length; i++) if (types.codes[i] < n.length) { all[types.codes[i]]++; if (codes[i] === code) n[types.codes[i]]++; }
  const head = document.createElement("h4"), box = document.createElement("div");
  head.textContent = `Cell types in ${name}`; box.className = "table";
  panel.append(head, box);
  const rows = n.map((_, i) => i).filter((i) => n[i]), whole = n.reduce((sum, each) => sum + each, 0);
  new Table(box, head.textContent, { n: rows.length,
    columns: [{ key: "cell_type", name: "cell type" }, { key: "cells", name: "cells", numeric: true }, { key: "part", name: `fraction of ${name}`, numeric: true }, { key: "share", name: "fraction of the type", numeric: true }],
    data: [{ l: types.levels, c: rows }, { v: rows.map((i) => n[i]) }, { v: rows.map((i) => n[i] / whole) }, { v: rows.map((i) => n[i] / all[i]) }] }, { sort: "cells", down: true });
}

// ---- drawings ----
// Boxes of activity by cell type and, if RNA was measured, bars of expression beside them (on a phone: below).
function boxes(name, quantiles, expressed) {
  const rows = quantiles.map((q, i) => ({ q, name: index.types[i].name })).filter(({ q }) => q[5]).sort((a, b) => b.q[2] - a.q[2]);
  if (!rows.length) return "<h4>Activity by cell type</h4><p>Every cell is too shallow for this TF.</p>";
  const low = Math.min(0, ...rows.map(({ q }) => q[0])), high = Math.max(0, ...rows.map(({ q }) => q[4]));
  const longest = Math.max(...rows.map((row) => row.name.length)), left = Math.min(190, 12 + 6.6 * longest), w = matchMedia("(max-width: 40rem)").matches ? 360 : 520, line = 20, h = rows.length * line + 42;
  const narrow = w === 360, beside = expressed && !narrow ? 130 : 0, most = expressed ? Math.max(1e-9, ...rows.map((row) => (expressed.get(row.name) || {}).mean || 0)) : 0;
  const right = w - beside, x = (v) => left + (v - low) / Math.max(high - low, 1e-9) * (right - left - 14);
  const colour = (type) => { const c = index.colourings.find((each) => each.name === "cell type"); return c ? c.colours[c.levels.indexOf(type)] : "#0072B2"; };
  const ticks = nice(low, high);
  let svg = `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="Activity of ${safe(name)} by cell type">`;
  for (const t of ticks) svg += `<path class="grid" d="M${x(t)} 0V${h - 36}"/><text x="${x(t)}" y="${h - 20}" text-anchor="middle">${number(t)}</text>`;
  svg += `<path class="axis" d="M${x(0)} 0V${h - 36}"/><text x="${(left + right) / 2}" y="${h - 4}" text-anchor="middle">activity z</text>`;
  rows.forEach(({ q, name: type }, i) => {
    const y = i * line + line / 2, fill = colour(type), short = type.length > 27 ? type.slice(0, 26) + "…" : type;
    svg += `<text x="${left - 8}" y="${y + 4}" text-anchor="end">${safe(short)}<title>${safe(type)}: ${count(q[5])} cells, median ${number(q[2])}</title></text>` +
      `<path class="axis" d="M${x(q[0])} ${y}H${x(q[4])}"/><rect x="${x(q[1])}" y="${y - 6}" width="${Math.max(1, x(q[3]) - x(q[1]))}" height="12" fill="${fill}" stroke="currentColor" stroke-width=".6"/>` +
      `<path d="M${x(q[2])} ${y - 6}V${y + 6}" stroke="currentColor" stroke-width="2"/>`;
  });
  const bars = (from, to) => `<path class="axis" d="M${from} 0V${h - 36}"/>` + [0, most].map((v, k) => `<text x="${k ? to : from}" y="${h - 20}" text-anchor="${k ? "end" : "start"}">${number(v)}</text>`).join("") +
    `<text x="${(from + to) / 2}" y="${h - 4}" text-anchor="middle">expression</text>` + rows.map((row, i) => {
      const { mean, fraction } = expressed.get(row.name) || {}, y = i * line + line / 2;
      return mean === undefined || mean === null ? `<text x="${from + 4}" y="${y + 4}">–</text>` : `<rect x="${from}" y="${y - 6}" width="${(mean / most * (to - from)).toFixed(1)}" height="12" fill="#56626b">` +
        `<title>${safe(row.name)}: mean ${number(mean)}, in ${number(100 * fraction)} % of the cells</title></rect>`;
    }).join("");
  let below = "";
  if (beside) svg += bars(right + 6, w - 8);
  else if (expressed) below = `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="Expression of ${safe(name)} by cell type">` + rows.map((row, i) =>
    `<text x="${left - 8}" y="${i * line + line / 2 + 4}" text-anchor="end">${safe(row.name.length > 27 ? row.name.slice(0, 26) + "…" : row.name)}</text>`).join("") + bars(left, w - 14) + "</svg>";
  return `<h4>Activity ${expressed ? "and expression " : ""}by cell type</h4>${svg}</svg>${below}<p class="note">${expressed ? "Expression: mean molecules of the TF's gene per 10,000 molecules of the cell. " : ""}Box: half of the cells. Thick line: median. Thin line: 10 % to 90 %. 0 is no difference from similar windows. ` +
    "Compare z between cell types, not between TFs: a TF with more or stronger sites reaches larger z.</p>";
}
function nice(low, high) {
  const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const ticks = [];
  for (let t = Math.ceil(low / step) * step; t <= high + 1e-9; t += step) ticks.push(Math.abs(t) < 1e-9 ? 0 : Number(t.toPrecision(6)));
  return ticks;
}
function curve(name, drawn) {
  const w = matchMedia("(max-width: 40rem)").matches ? 360 : 420, h = 280, left = 44, low = 240, x = (v) => left + v * (w - left - 10), y = (v) => low - v * (low - 10);
  let svg = `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="Precision and recall of ${safe(name)}">`, keys = "";
  for (const t of [0, 0.25, 0.5, 0.75, 1]) {
    svg += `<path class="grid" d="M${x(t)} 10V${low}M${left} ${y(t)}H${w - 10}"/><text x="${x(t)}" y="${low + 16}" text-anchor="middle">${t}</text><text x="${left - 6}" y="${y(t) + 4}" text-anchor="end">${t}</text>`;
  }
  for (const [model, steps] of Object.entries(drawn.precision)) {
    let last = 0;
    const precision = steps.map((step) => { last += step; return last; });
    svg += `<path fill="none" stroke="${index.models[model]}" stroke-width="2"${index.controls.includes(model) ? ' stroke-dasharray="6 3"' : ""} d="M${precision.map((p, k) => `${x(index.recall[model][k]).toFixed(1)} ${y(p / 1000).toFixed(1)}`).join("L")}"/>`;
    keys += `<li><i style="background:${index.models[model]}"></i>${safe(model)}</li>`;
  }
  if (!keys) return "";
  const prevalence = drawn.prevalence ?? null;
  if (prevalence !== null) svg += `<path class="axis" stroke-dasharray="2 3" d="M${left} ${y(prevalence)}H${w - 10}"/>`;
  svg += `<text x="${(left + w) / 2}" y="${h - 6}" text-anchor="middle">recall</text><text transform="translate(12 ${low / 2}) rotate(-90)" text-anchor="middle">precision</text></svg>`;
  return `<h4>Precision and recall, held-out windows of bulk lines</h4>${svg}<ul class="keys">${keys}<li>dashed: controls</li><li>dotted: prevalence</li></ul>`;
}
const LETTERS = { A: "#009E73", C: "#0072B2", G: "#B07000", T: "#C04000" };
function motifLogos(name, motifs) {
  const titles = { known: "Known motif", found: "Motif found in the data", learned: "Motif as the model has learned it" };
  return Object.keys(titles).filter((key) => motifs[key]).map((key) => `<h4>${titles[key]}</h4><div class="edge"><div class="pan">${logo(`${titles[key]}, ${name}`, motifs[key])}</div></div>`).join("") +
    (motifs.learned ? '<p class="note">Training starts from the known or the found motif and may change it. A found motif may be on the other strand than the known one.</p>' : "");
}
function logo(name, heights) {
  const wide = heights.length > 20 ? 20 : 24, high = 90, w = heights.length * wide + 34;
  let svg = `<svg viewBox="0 0 ${w} ${high + 22}" width="${w}" role="img" aria-label="${safe(name)}"><path class="axis" d="M30 4V${high}H${w}"/>` +
    `<text x="26" y="12" text-anchor="end">2</text><text x="26" y="${high}" text-anchor="end">0</text><text x="26" y="52" text-anchor="end">bits</text>`;
  heights.forEach((four, i) => {
    let top = high;
    four.map((bits, k) => ["ACGT"[k], bits / 2 * (high - 6)]).sort((a, b) => a[1] - b[1]).forEach(([letter, size]) => {
      if (size < 0.8) return;
      svg += `<g transform="translate(${31 + i * wide} ${top}) scale(${wide / 17} ${size / 14.4})"><text style="font:700 20px Arial, sans-serif;fill:${LETTERS[letter]}" textLength="16" lengthAdjust="spacingAndGlyphs">${letter}</text></g>`;
      top -= size;
    });
    svg += `<text x="${31 + i * wide + wide / 2}" y="${high + 16}" text-anchor="middle">${i + 1}</text>`;
  });
  return svg + "</svg>";
}
function around(name, places) {
  if (!places.length) return "";
  const narrow = matchMedia("(max-width: 40rem)").matches, w = narrow ? 360 : 720, h = 190, base = 150;
  const reach = Math.max(1000, ...places.map(({ d }) => Math.abs(d))) * 1.1, x = (d) => 24 + (d + reach) / (2 * reach) * (w - 48);
  let svg = `<svg viewBox="0 0 ${w} ${h}" role="img" aria-label="Top sites around the start of ${safe(name)}"><path class="axis" d="M24 ${base}H${w - 24}M${x(0)} ${base + 6}V20"/><text x="${x(0)}" y="14" text-anchor="middle">start of ${safe(name)}</text>`;
  for (const t of nice(-reach, reach).filter((_, i) => !narrow || i % 2 === 0)) svg += `<text x="${x(t)}" y="${base + 20}" text-anchor="middle">${t === 0 ? "0" : (t / 1000) + " kb"}</text>`;
  const named = [];
  places.sort((a, b) => b.tfs[0][1] - a.tfs[0][1]).slice(0, 60).forEach(({ d, tfs }) => {
    const y = base - 8 - tfs[0][1] * (base - 40), few = narrow ? 1 : 3;
    const text = tfs.slice(0, few).map(([tf]) => tf).join(", ") + (tfs.length > few ? ` and ${tfs.length - few} more` : "");
    const wide = 7.2 * text.length, left = x(d) + 8 + wide > w - 4, from = left ? x(d) - 6 - wide : x(d) + 6;  // on the side with room
    svg += `<path d="M${x(d)} ${base}V${y}" stroke="currentColor" stroke-width="1.2"/><circle cx="${x(d)}" cy="${y}" r="3.5" fill="#0072B2"><title>${safe(tfs.map(([tf, p]) => `${tf}: ${d} bp, P(bound) ${number(p)}`).join("\n"))}</title></circle>`;
    if (from > 0 && named.every(([low, high, ny]) => low > from + wide || high < from || Math.abs(ny - y) > 13)) {
      named.push([from, from + wide, y]); svg += `<text x="${left ? x(d) - 6 : x(d) + 6}" y="${y + 4}"${left ? ' text-anchor="end"' : ""}>${safe(text)}</text>`;
    }
  });
  return `<h4>Top sites around its start</h4>${svg}</svg><p class="note">For each TF that has this gene among its strongest targets, the site that contributes most. Height: mean P(bound) in the cell type where it is highest. Negative distances are upstream.</p>`;
}

// The same inputs give the same bytes, so the page has no date. A browser knows the date of a file, but not that of a page from a server.
function dated() {
  const [, month, day, year, time] = /^(\d+)\/(\d+)\/(\d+) (\d+:\d+)/.exec(document.lastModified) || [];
  if (time && location.protocol === "file:") byId("dated").textContent = ` · file of ${year}-${month}-${day} ${time}`;
}

// On a phone, the open menu would fill the first screen.
if (matchMedia("(max-width: 60rem)").matches) byId("menu").open = false;
window.scbindReport = { ask: show };
dated();
start();
})();
