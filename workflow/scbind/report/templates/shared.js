"use strict";
// What the report and the page of loci share. The data of a page is gzip in base64 and is opened when it is asked for.
const byId = (id) => document.getElementById(id);
async function unpack(id) {
  const text = atob(byId(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
