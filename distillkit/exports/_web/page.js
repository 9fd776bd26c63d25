// The page: a picture to its classes, words to pictures of a folder. Everything is computed here.

import * as ort from "./runtime/ort.wasm.min.mjs";
import { withoutAlpha } from "./pixels.js";
import { cosine, nearest, open } from "./student.js";

const SHOWN = 5; // classes
const BEST = 24; // pictures of a search
const at = (id) => document.getElementById(id);

ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send
ort.env.logLevel = "error";

const student = await working("Opening", () => open(ort, bytes));
let classes = student?.classes ?? []; // {name, vector}
let asked = null; // the vector of the picture that is shown
let folder = []; // {name, file, vector}

if (student) {
  begin();
  await working("Loading the network", () => student.ready());
}

async function bytes(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: the server says ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

// Do something that takes a while; what goes wrong is said on the page.
async function working(what, work) {
  say(`${what} …`);
  try {
    const made = await work();
    say("");
    return made;
  } catch (error) {
    say(`${what} failed: ${error.message ?? error}`, true);
    return null;
  }
}

function say(line, wrong = false) {
  at("state").textContent = line;
  at("state").hidden = line === "";
  at("state").classList.toggle("wrong", wrong);
}

function begin() {
  document.title = at("name").textContent = student.told.name;
  at("one").hidden = at("many").hidden = false;
  at("words").hidden = !student.readsTexts;
  at("names").value = classes.map((one) => one.name).join("\n");
  at("search").hidden = !student.readsTexts;
  count();
  at("found").textContent = student.readsTexts ? "" : "This student reads no words: it finds pictures like the one above.";
  at("picture").addEventListener("change", (event) => event.target.files.length && look(event.target.files[0]));
  at("folder").addEventListener("change", (event) => gather([...event.target.files]));
  at("apply").addEventListener("click", () => name(at("names").value));
  at("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  const drop = at("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) look(event.dataTransfer.files[0]);
    });
  }
}

// Upright, transparency laid on white, colours as the file has them.
async function decoded(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error(`${file.name} is no picture that this browser reads`);
  });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, bitmap.width, bitmap.height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return withoutAlpha(pen.getImageData(0, 0, canvas.width, canvas.height));
}

async function look(file) {
  const started = performance.now();
  const vector = await working(`Looking at ${file.name}`, async () => (await student.images([await decoded(file)]))[0]);
  if (!vector) return;
  asked = vector;
  URL.revokeObjectURL(at("shown").src);
  at("shown").src = URL.createObjectURL(file);
  at("shown").alt = file.name;
  at("shown").hidden = false;
  at("ask").textContent = file.name;
  at("time").textContent = `${Math.round(performance.now() - started)} ms`;
  classify();
  if (!student.readsTexts) await show(asked);
}

function classify() {
  if (!asked) return;
  const told = student.told.scale;
  if (!classes.length) at("time").textContent = "Name some classes to see which of them it is.";
  const best = nearest(asked, classes, told ?? 1, SHOWN);
  at("classes").replaceChildren(...best.map((one) => bar(one.name, told === null ? one.cosine : one.share, told === null)));
  at("classes").dataset.for = at("shown").alt;
}

function bar(name, value, isCosine) {
  const item = document.createElement("li"), line = document.createElement("div");
  const who = document.createElement("b"), number = document.createElement("span"), length = document.createElement("progress");
  line.className = "line";
  who.textContent = name;
  number.textContent = isCosine ? value.toFixed(3) : `${(100 * value).toFixed(1)} %`;
  length.max = 1;
  length.value = Math.max(value, 0);
  length.setAttribute("aria-label", name);
  line.append(who, number);
  item.append(line, length);
  return item;
}

// Classes as they are typed: the student's own text tower tells a vector for each.
async function name(lines) {
  const names = [...new Set(lines.split("\n").map((line) => line.trim()).filter(Boolean))];
  const vectors = names.length ? await working(`Reading ${names.length} classes`, () => student.texts(names)) : [];
  if (!vectors) return;
  classes = names.map((one, place) => ({ name: one, vector: vectors[place] }));
  count();
  classify();
}

function count() {
  at("count").textContent = classes.length || "none yet";
  at("words").open = student.readsTexts && classes.length === 0;
}

async function gather(files) {
  const pictures = files.filter((file) => file.type.startsWith("image/"));
  folder = [];
  at("results").replaceChildren();
  const broken = [];
  for (const [place, file] of pictures.entries()) {
    at("found").textContent = `Looking at ${place + 1} of ${pictures.length} pictures …`;
    try {
      const [vector] = await student.images([await decoded(file)]);
      folder.push({ name: file.name, file, vector });
    } catch {
      broken.push(file.name);
    }
  }
  const left = broken.length ? `; not read: ${broken.join(", ")}` : "";
  at("found").textContent = `${folder.length} pictures${left}`;
  if (student.readsTexts ? at("query").value.trim() : asked) await search();
}

async function search() {
  if (!student.readsTexts) return show(asked);
  const query = at("query").value.trim();
  if (!query) return;
  if (!folder.length) {
    at("found").textContent = "Choose a folder first.";
    return;
  }
  const vectors = await working(`Reading “${query}”`, () => student.texts([query]));
  if (vectors) await show(vectors[0], query);
}

async function show(vector, query) {
  if (!vector || !folder.length) return;
  const best = folder.map((one) => ({ ...one, cosine: cosine(vector, one.vector) })).sort((a, b) => b.cosine - a.cosine);
  for (const old of at("results").querySelectorAll("img")) URL.revokeObjectURL(old.src);
  at("results").replaceChildren(...best.slice(0, BEST).map(tile));
  const told = query ? `“${query}”` : "the picture above";
  at("found").textContent = `The nearest to ${told} of ${folder.length} pictures, by cosine`;
  at("results").dataset.for = query ?? "";
}

function tile({ name, file, cosine }) {
  const item = document.createElement("li"), image = document.createElement("img"), line = document.createElement("span");
  image.src = URL.createObjectURL(file);
  image.alt = name;
  image.loading = "lazy";
  line.textContent = `${cosine.toFixed(3)}  ${name}`;
  item.append(image, line);
  return item;
}
