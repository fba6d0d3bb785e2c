"use strict";
(() => {
// The data of a locus is gzip in base64 and is opened when it is asked for. Coordinates are 0-based half-open, as
// igv.js has them in features; `place` writes them for people.
const FEW = 8; // cell types with tracks, unless all are asked for
const VIEW = 2000; // bp shown on either side of a site
const NOT_KNOWN = 255;
let index, browser, sites = [], at = 0, asked = 0;

const site = (i) => {
  const s = index.sites;
  const word = index.activity ? index.activity.of[s.tf[i] * index.types.length + s.type[i]] : -1;
  return { tf: index.tfs[s.tf[i]], type: s.type[i], active: word < 0 ? "" : index.activity.words[word], first: word < 0 ? 1 : index.activity.first[word], locus: s.locus[i], rank: s.rank[i], start: s.start[i], end: s.end[i],
    binding: s.binding[i], chrom: index.loci[s.locus[i]][0] };
};

// ---- what is asked for ----
function genesOf(name) {
  return Object.entries(index.genes).flatMap(([chrom, rows]) => rows.filter((row) => row[0] === name)
    .map(([gene, start, end, tss, strand]) => ({ gene, chrom, start, end, tss, strand })));
}
function find(name, type) {
  const found = index.allSites.filter((s) => type < 0 || s.type === type);
  if (index.tfs.includes(name)) return found.filter((s) => s.tf === name).sort((a, b) => a.first - b.first || a.rank - b.rank || b.binding - a.binding);
  const near = [];
  genesOf(name).forEach((gene) => found.forEach((s) => {
    if (s.chrom !== gene.chrom) return;
    const distance = Math.round((s.start + s.end - 1) / 2 - gene.tss) * (gene.strand === "-" ? -1 : 1);
    if (Math.abs(distance) <= index.reach) near.push({ ...s, distance });
  }));
  return near.sort((a, b) => Math.abs(a.distance) - Math.abs(b.distance) || b.binding - a.binding);
}
async function ask(name, type = Number(byId("type").value)) {
  const isTf = index.tfs.includes(name);
  byId("pick").value = name;
  sites = find(name, type);
  at = 0;
  const of = type < 0 ? "" : ` in ${index.types[type]}`;
  const known = isTf || index.geneNames.has(name);
  const motif = index.motif.includes(name) ? ` No ChIP-seq was used for ${name}: it is predicted from its motif, and nothing tests it.` : "";
  byId("told").textContent = !known ? `No TF or gene of this page is named ${name}.`
    : isTf ? `${sites.length.toLocaleString("en")} sites of ${name}${of}.${motif}`
    : `${sites.length.toLocaleString("en")} sites of TFs within ${index.reach / 1000} kb of the start of ${name}${of}. A negative distance is upstream.`;
  byId("distance").hidden = isTf;
  byId("activity").hidden = !index.activity;
  byId("activity").textContent = index.activity_name;
  list(isTf);
  if (known) history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  await show();
}
function list(isTf) {
  const rows = sites.map((s, i) => {
    const row = document.createElement("tr");
    const cell = (text, kind) => { const td = document.createElement("td"); td.textContent = text; td.className = kind; row.append(td); return td; };
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = place(s.chrom, s.start, s.end);
    button.addEventListener("click", () => { at = i; show(); });
    cell("", "").append(button);
    cell(s.tf, ""); cell(index.types[s.type], "");
    cell(s.rank, "number"); cell(s.binding.toFixed(3), "number");
    if (index.activity) cell(s.active, "");
    if (!isTf) cell(bp(s.distance), "number");
    return row;
  });
  byId("sites").replaceChildren(...rows);
}

// ---- tracks ----
function bars(codes, first, window, value) {
  const [chrom, start, end] = window, features = [];
  const bins = Math.ceil((end - start) / index.bin);
  for (let i = 0; i < bins; i++) {
    if (codes[first + i] === 0) continue;
    const from = start + i * index.bin;
    features.push({ chr: chrom, start: from, end: Math.min(from + index.bin, end), value: codes[first + i] * value / index.steps });
  }
  return features;
}
const wig = (name, color, height, max, features) => ({ type: "wig", format: "bedgraph", name, color, height, min: 0, max, autoscale: false, features });
const marks = (name, color, features, more) => ({ type: "annotation", format: "bed", name, color, features, height: 40, displayMode: "EXPANDED", searchable: false, ...more });
const inside = (rows, window, start, end) => (rows || []).filter((row) => row[start] < window[2] && row[end] > window[1]);

async function tracks(s, window) {
  const whole = await unpack(`pack-c${s.locus}`);
  const top = new Float32Array(whole.slice(0, 4))[0], depth = new Uint8Array(whole, 4);
  const bound = new Uint8Array(await unpack(`pack-b${s.locus}-${s.tf}`));
  const width = depth.length / index.types.length;
  const peak = index.types.map((_, type) => Math.max(...bound.subarray(type * width, (type + 1) * width).map((v) => v === NOT_KNOWN ? 0 : v)));
  let order = index.types.map((_, type) => type).sort((a, b) => (b === s.type) - (a === s.type) || peak[b] - peak[a]);
  if (byId("shown").value === "few") order = order.slice(0, FEW);
  const found = index.allSites.filter((o) => o.tf === s.tf && o.locus === s.locus);
  const spots = new Map();
  found.forEach((o) => { const key = o.start; spots.set(key, [...(spots.get(key) || []), o]); });
  const [chrom] = window;
  const shown = [];
  if (index.withGenes) {
    shown.push(marks("Genes", "#1B3A6B", inside(index.genes[chrom], window, 1, 2).map(([name, start, end, , strand]) => ({ chr: chrom, start, end, name, strand })), { height: 70 }));
  }
  shown.push(marks("Peaks", "#444444", inside(index.peaks[chrom], window, 0, 1).map(([start, end]) => ({ chr: chrom, start, end }))));
  shown.push(marks("Best sites", "#A8003C", [...spots.values()].map((of) => ({ chr: chrom, start: of[0].start, end: of[0].end,
    name: of.length > 2 ? `in ${of.length} cell types` : `in ${of.map((o) => index.types[o.type]).join(", ")}` }))));
  const missing = [];
  order.forEach((type) => {
    const name = index.types[type], colour = index.colours[type];
    shown.push(wig(name, colour, 45, top, bars(depth, type * width, window, top)));
    if (bound[type * width] === NOT_KNOWN) { missing.push(name); return; }
    shown.push(wig(s.tf, colour, 32, 1, bars(bound, type * width, window, 1)));
  });
  return { shown: shown.map((track, i) => ({ ...track, order: i + 1, removable: false })), top, missing };
}

// ---- the view ----
const view = (s, window) => `${window[0]}:${Math.max(s.start - VIEW, window[1]) + 1}-${Math.min(s.end + VIEW, window[2])}`;
async function show() {
  const mine = ++asked;
  delete document.documentElement.dataset.shows;
  const s = sites[at];
  [...byId("sites").children].forEach((row, i) => row.setAttribute("aria-current", i === at));
  byId("previous").disabled = !s || at === 0;
  byId("next").disabled = !s || at === sites.length - 1;
  ["left", "right", "in", "out", "whole"].forEach((id) => { byId(id).disabled = !s; });
  if (browser) { igv.removeBrowser(browser); browser = null; }
  byId("igv").replaceChildren();
  byId("where").textContent = s ? `${place(s.chrom, s.start, s.end)}: ${s.tf}, rank ${s.rank} in ${index.types[s.type]}` : "No site";
  byId("legend").textContent = "";
  if (!s) { document.documentElement.dataset.shows = "nothing"; return; }
  const row = byId("sites").children[at], frame = row.closest(".scroll");
  if (row.offsetTop < frame.scrollTop + 40 || row.offsetTop + row.offsetHeight > frame.scrollTop + frame.clientHeight) frame.scrollTop = row.offsetTop - 60;
  const window = index.loci[s.locus], found = await tracks(s, window);
  if (mine !== asked) return;
  byId("legend").textContent = `The window has data for ${place(...window)}. Per cell type, on one scale from 0 to ${found.top.toPrecision(3)}: fragments over a base per million fragments, mean of ${index.bin} bp. ` +
    `Below it, from 0 to 1: P(bound) of ${s.tf}, the highest in ${index.bin} bp, mean of the samples. The cell type of the site comes first, then those with the highest P(bound) in the window. Peaks are the consensus peaks.` +
    (found.missing.length ? ` scbind abstains on ${s.tf}, or has no cells, in: ${found.missing.join(", ")}.` : "");
  const made = await igv.createBrowser(byId("igv"), {
    loadDefaultGenomes: false, queryParametersSupported: false, showNavigation: false, showIdeogram: false, showControls: false,
    reference: { id: index.genome, name: index.genome, indexed: false, wholeGenomeView: false, showSequence: true,
      fastaURL: `data:application/gzip;base64,${byId(`pack-s${s.locus}`).textContent}` },
    locus: view(s, window), tracks: found.shown,
  });
  if (mine !== asked) { igv.removeBrowser(made); return; }
  browser = made;
  reachable();
  watch.observe(byId("igv").shadowRoot, { childList: true, subtree: true });
  document.documentElement.dataset.shows = `${s.tf}@${s.chrom}:${s.start}`;
}
async function go(change) {
  if (!browser) return;
  const [frame] = browser.referenceFrameList, [chrom, low, high] = index.loci[sites[at].locus];
  const [start, width] = change(frame.start, frame.end - frame.start, low, high);
  const from = Math.round(Math.min(Math.max(start, low), high - Math.min(width, high - low)));
  await browser.search(`${chrom}:${from + 1}-${Math.round(Math.min(from + width, high))}`);
}

// ---- igv.js by keyboard ----
// The controls of igv.js are <div> and <svg> without a role. Here they get a role, a name and a place in the order of Tab.
const MENU = ".igv-menu-popup", DIALOG = '[class*="-dialog-container"], .igv-ui-colorpicker-container';
const CLOSE = ".igv-menu-popup-header > div, [class*='-dialog-header'] > div, .igv-ui-colorpicker-container > div:first-child > div";
const ITEM = ".igv-menu-popup > div:last-child > div, .igv-menu-popup-check-container";
const CONTROLS = [
  [".igv-gear-menu-column > div > div > svg", "button", (gear) => {
    const i = [...gear.closest(".igv-gear-menu-column").children].indexOf(gear.parentNode.parentNode);
    gear.setAttribute("aria-haspopup", "menu");
    return `Menu of track ${i}, ${browser.trackViews[i].track.name || "sequence"}`;
  }],
  [".igv-menu-popup > div:last-child", "menu", () => "Track"],
  [ITEM, "menuitem", null],
  [CLOSE, "button", () => "Close"],
  ["[class*='-dialog-ok-cancel'] > div, [class*='-dialog-container'] [class*='-ok'] > div, .igv-ui-color-swatch, .igv-ui-color-more-colors", "button", null],
];
const seen = (element) => element.getClientRects().length > 0;
let opener = null; // the gear of the menu that was opened by a key
function reachable() {
  const root = byId("igv").shadowRoot;
  if (!root || !browser) return;
  for (const [selector, role, name] of CONTROLS) for (const element of root.querySelectorAll(selector)) {
    if (element.hasAttribute("role")) continue;
    element.setAttribute("role", role);
    if (name) element.setAttribute("aria-label", name(element));
    else if (!element.textContent.trim()) element.setAttribute("aria-label", element.style.backgroundColor || "Choose");
    if (role !== "menu") element.setAttribute("tabindex", "0");
  }
  for (const input of root.querySelectorAll(`:is(${DIALOG}) :is(input, select)`)) {  // a dialog is used again with another title
    const title = input.closest("tr")?.cells[0] || input.closest(DIALOG).querySelector("[class*='one-liner']");
    if (!input.labels?.length) input.setAttribute("aria-label", title?.textContent.trim() || "Value");
  }
  if (!root.getElementById("by-key")) {
    const style = document.createElement("style");
    style.id = "by-key";
    style.textContent = "[tabindex]:focus-visible { outline: 2px solid #0b5c8a; outline-offset: 1px; }";
    root.append(style);
  }
}
const watch = new MutationObserver(reachable);
function byKey(event) {
  const [target] = event.composedPath(), root = byId("igv").shadowRoot;
  if (!(target instanceof Element) || target.closest("input, select") && event.key !== "Escape") return;
  const box = target.closest(`${MENU}, ${DIALOG}`);
  const items = box ? [...box.querySelectorAll('[role="menuitem"]')] : [], place = items.indexOf(target);
  if (event.key === "Escape" && box) {
    const close = box.querySelector(CLOSE);
    if (close) close.click(); else box.style.display = "none";
    if (opener) opener.focus();
  } else if (place >= 0 && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    items[(place + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length].focus();
  } else if (["Enter", " "].includes(event.key) && target.hasAttribute("role")) {
    if (target.getAttribute("aria-haspopup")) opener = target;
    target.dispatchEvent(new MouseEvent("click", { bubbles: true, composed: true, cancelable: true }));
    reachable();
    const open = [...root.querySelectorAll(DIALOG), ...root.querySelectorAll(MENU)].find(seen);
    const first = open && [...open.querySelectorAll('input, select, [role="menuitem"], [role="button"]')].find((each) => seen(each) && !each.matches(CLOSE));
    if (first) first.focus(); else if (opener) opener.focus();
  } else return;
  event.preventDefault();
}

// For tests.
globalThis.scbindLoci = {
  window: () => index.loci[sites[at].locus].slice(1),
  view: () => { const [frame] = browser.referenceFrameList; return [Math.round(frame.start), Math.round(frame.end)]; },
};
async function begin() {
  if (!byId("explorer")) return;
  if (typeof DecompressionStream === "undefined") { byId("too-old").hidden = false; return; }
  index = JSON.parse(new TextDecoder().decode(await unpack("index")));
  index.allSites = index.sites.tf.map((_, i) => site(i));
  const centres = new Map();
  index.allSites.forEach((s) => {
    if (!centres.has(s.chrom)) centres.set(s.chrom, []);
    centres.get(s.chrom).push((s.start + s.end - 1) / 2);
  });
  centres.forEach((values, chrom) => centres.set(chrom, Float64Array.from(values).sort()));
  const near = (chrom, tss) => {
    const values = centres.get(chrom) || [];
    let low = 0, high = values.length; // the first centre that is not before the reach
    while (low < high) { const middle = (low + high) >> 1; if (values[middle] < tss - index.reach) low = middle + 1; else high = middle; }
    return low < values.length && values[low] <= tss + index.reach;
  };
  index.withGenes = Object.values(index.genes).some((rows) => rows.length);
  index.geneNames = new Set(Object.entries(index.genes).flatMap(([chrom, rows]) => rows.filter((row) => near(chrom, row[3])).map((row) => row[0])));
  const option = (text, value, label) => { const made = document.createElement("option"); made.value = value; made.textContent = text; if (label) made.label = label; return made; };
  byId("names").replaceChildren(
    ...index.tfs.map((tf) => option("", tf, index.motif.includes(tf) ? "TF, from its motif" : "TF")),
    ...[...index.geneNames].filter((gene) => !index.tfs.includes(gene)).sort().map((gene) => option("", gene, "gene")));
  byId("type").replaceChildren(option("any cell type", -1), ...index.types.map((name, i) => option(name, i)));
  const few = Math.min(FEW, index.types.length);
  byId("shown").replaceChildren(...(few < index.types.length ? [option(`${few} cell types with the highest P(bound)`, "few")] : []), option(`all ${index.types.length} cell types`, "all"));
  byId("explorer").hidden = false;
  edges(document.querySelector(".scroll"));
  byId("pick").addEventListener("change", () => ask(byId("pick").value.trim()));
  byId("type").addEventListener("change", () => ask(byId("pick").value.trim()));
  byId("shown").addEventListener("change", show);
  byId("previous").addEventListener("click", () => { at = Math.max(at - 1, 0); show(); });
  byId("next").addEventListener("click", () => { at = Math.min(at + 1, sites.length - 1); show(); });
  byId("left").addEventListener("click", () => go((start, width) => [start - width / 4, width]));
  byId("right").addEventListener("click", () => go((start, width) => [start + width / 4, width]));
  byId("in").addEventListener("click", () => go((start, width) => [start + width / 4, width / 2]));
  byId("out").addEventListener("click", () => go((start, width, low, high) => [start - width / 2, Math.min(width * 2, high - low)]));
  byId("whole").addEventListener("click", () => go((start, width, low, high) => [low, high - low]));
  byId("igv").addEventListener("keydown", byKey);
  window.addEventListener("hashchange", () => ask(decodeURIComponent(location.hash.slice(1))));
  const wanted = decodeURIComponent(location.hash.slice(1));
  await ask(wanted || index.tfs[0]);
  document.documentElement.dataset.ready = "yes";
}
begin();
})();
