// The student itself: pictures and texts to vectors, wherever its files and onnxruntime come from.

import { pixels } from "./pixels.js";
import { tokenizer } from "./tokens.js";

const BATCH = 8;

// `ort`: onnxruntime-web. `bytes(name)`: a file of the folder.
export async function open(ort, bytes) {
  const json = async (name) => JSON.parse(new TextDecoder().decode(await bytes(name)));
  const told = await json("page.json");
  const config = await json("preprocessor_config.json");
  const vectors = told.classes && new Float32Array(await exact(bytes("classes.bin")));
  const session = once(async (name) => ort.InferenceSession.create(new Uint8Array(await exact(bytes(name)))));
  const tokens = once(async () => tokenizer(await json("tokenizer.json")));

  // `row(asked)`: what the network reads of one question.
  async function run(file, reads, type, asked, row, shape) {
    const network = await session(file);
    const found = [];
    for (let first = 0; first < asked.length; first += BATCH) {
      const part = asked.slice(first, first + BATCH).map(row);
      const whole = new type.array(part.length * part[0].length);
      part.forEach((values, place) => whole.set(values, place * values.length));
      const input = new ort.Tensor(type.name, whole, [part.length, ...shape]);
      const [output] = Object.values(await network.run({ [reads]: input }));
      for (let place = 0; place < part.length; place++) found.push(rowOf(output.data, place, part.length).slice());
    }
    return found;
  }

  return {
    told,
    classes: vectors && told.classes.map((name, place) => ({ name, vector: rowOf(vectors, place, told.classes.length) })),
    readsTexts: told.text !== null,
    ready: () => session(told.vision), // so that the first picture need not wait for it

    // Raw embeddings. `pictures`: {width, height, data}, three bytes a pixel.
    images(pictures) {
      const side = config.size.shortest_edge;
      const see = (picture) => pixels(picture, config);
      return run(told.vision, "pixel_values", { name: "float32", array: Float32Array }, pictures, see, [3, side, side]);
    },

    async texts(texts) {
      const split = await tokens();
      const read = (text) => split(text).map(BigInt);
      return run(told.text, "input_ids", { name: "int64", array: BigInt64Array }, texts, read, [told.context_length]);
    },
  };
}

function rowOf(vectors, place, count) {
  const width = vectors.length / count;
  return vectors.subarray(place * width, (place + 1) * width);
}

// Bytes as a buffer of their own: parts of a larger one cannot be read as floats.
async function exact(promised) {
  const found = await promised;
  return found.buffer.slice(found.byteOffset, found.byteOffset + found.byteLength);
}

// What is made once for each name, however often it is asked for.
function once(make) {
  const made = new Map();
  return (name) => made.get(name) ?? (made.set(name, make(name)), made.get(name));
}

export function cosine(one, other) {
  let dot = 0, a = 0, b = 0;
  for (let place = 0; place < one.length; place++) {
    dot += one[place] * other[place];
    a += one[place] ** 2;
    b += other[place] ** 2;
  }
  return dot / Math.sqrt(a * b);
}

// The nearest of `named` ({name, vector}), best first, each with its cosine and its share of the softmax over all.
export function nearest(vector, named, scale, count) {
  const all = named.map((one) => ({ ...one, cosine: cosine(vector, one.vector) }));
  const most = Math.max(...all.map((one) => one.cosine));
  const sum = all.reduce((so, one) => so + Math.exp(scale * (one.cosine - most)), 0);
  all.sort((a, b) => b.cosine - a.cosine);
  return all.slice(0, count).map((one) => ({ ...one, share: Math.exp(scale * (one.cosine - most)) / sum }));
}
