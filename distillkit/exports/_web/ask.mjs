// Ask an exported folder under Node, by the page's own code and runtime: node ask.mjs FOLDER (images|texts) SAID < ASKED
//
// ASKED: of images, each its width and height (uint32) and three bytes a pixel; of texts, a JSON list.
// SAID: a file of raw embeddings, float32, row by row.

import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const BATCH = 8;
const [folder, what, said] = process.argv.slice(2);
const module = (name) => import(pathToFileURL(join(folder, name)).href);
const ort = await module("runtime/ort.wasm.min.mjs");
const { open } = await module("student.js");
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmBinary = await readFile(join(folder, "runtime/ort-wasm-simd-threaded.wasm"));
const student = await open(ort, (name) => readFile(join(folder, name)));
const out = createWriteStream(said);

function write(vectors) {
  for (const vector of vectors) out.write(Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength));
}

// Pictures as they come: those of a corpus need not lie in memory at once.
async function* pictures() {
  const coming = process.stdin[Symbol.asyncIterator]();
  let held = [], length = 0;

  async function take(count) {
    while (length < count) {
      const { value, done } = await coming.next();
      if (done) return null;
      held.push(value);
      length += value.length;
    }
    const whole = Buffer.concat(held);
    held = [whole.subarray(count)];
    length -= count;
    return whole.subarray(0, count);
  }

  for (let head = await take(8); head !== null; head = await take(8)) {
    const width = head.readUInt32LE(0), height = head.readUInt32LE(4);
    yield { width, height, data: await take(width * height * 3) };
  }
}

if (what === "texts") {
  const parts = [];
  for await (const part of process.stdin) parts.push(part);
  write(await student.texts(JSON.parse(Buffer.concat(parts))));
} else {
  let part = [];
  for await (const picture of pictures()) {
    part.push(picture);
    if (part.length === BATCH) {
      write(await student.images(part));
      part = [];
    }
  }
  if (part.length) write(await student.images(part));
}
out.end();
