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
