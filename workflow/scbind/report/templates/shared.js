"use strict";
// What the report and the page of loci share. The data of a page is gzip in base64 and is opened when it is asked for.
const byId = (id) => document.getElementById(id);
async function unpack(id) {
  const text = byId(id).textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  // Written and read by hand: through a Blob and a Response the same takes two to four times as long in Chromium.
  const stream = new DecompressionStream("gzip"), writer = stream.writable.getWriter(), reader = stream.readable.getReader();
  const written = Promise.all([writer.write(bytes), writer.close()]), pieces = [];
  written.catch(() => {});  // the reader reports the same error
  let n = 0;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) { pieces.push(piece.value); n += piece.value.length; }
  const whole = new Uint8Array(n);
  n = 0;
  for (const piece of pieces) { whole.set(piece, n); n += piece.length; }
  return whole.buffer;
}
// A place (0-based half-open) as genome browsers take it: chr1:1,001-1,200, and chr1:1,001 for one base. As in scbind.report.places.
const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const place = (chrom, start, end) => `${chrom}:${thousands(start + 1)}` + (end - start === 1 ? "" : `-${thousands(end)}`);
const bp = (n) => `${n < 0 ? "−" : n > 0 ? "+" : ""}${thousands(Math.abs(n))} bp`;
const regions = (text) => text.replace(/,(?=[^\s,;:]+:\d+-\d)/g, "; ").replace(/([^\s,;:]+):(\d+)-(\d+)/g, (_, chrom, start, end) => place(chrom, Number(start), Number(end)));
// A box that is moved sideways: the element of class "edge" around it says on which sides there is more.
function edges(box) {
  const mark = () => {
    const right = box.scrollWidth - box.clientWidth - box.scrollLeft;
    box.parentNode.dataset.more = (box.scrollLeft > 1 ? "left " : "") + (right > 1 ? "right" : "");
  };
  const sizes = new ResizeObserver(mark);
  [box, ...box.children].forEach((each) => sizes.observe(each));
  box.addEventListener("scroll", mark, { passive: true });
}
