// Pillow's resize of 8-bit pictures, number by number: two passes in whole numbers, antialiased.
// https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c

const BITS = 22; // of a weight behind its point
const FILTERS = {
  2: { support: 1, at: (x) => (x < 1 ? 1 - x : 0) }, // bilinear
  3: { support: 2, at: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0) }, // bicubic
};

// For each pixel of the result: the first pixel that it is made of, and the weights from there on.
function weights(from, to, filter) {
  const scale = from / to;
  const wide = Math.max(scale, 1);
  const reach = filter.support * wide;
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const end = Math.min(Math.trunc(centre + reach + 0.5), from);
    const found = [];
    let sum = 0;
    for (let x = first; x < end; x++) {
      const weight = filter.at(Math.abs((x - centre + 0.5) * (1 / wide)));
      found.push(weight);
      sum += weight;
    }
    const whole = found.map((weight) => {
      const scaled = (sum === 0 ? weight : weight / sum) * 2 ** BITS;
      return Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    });
    return { first, whole };
  });
}

const byte = (sum) => Math.min(Math.max(sum >> BITS, 0), 255);

// `picture`: {width, height, data}, three bytes a pixel. `resample`: Pillow's number of the filter.
export function resize(picture, width, height, resample) {
  let found = picture;
  if (width !== found.width) found = across(found, width, weights(found.width, width, FILTERS[resample]));
  if (height !== found.height) found = down(found, height, weights(found.height, height, FILTERS[resample]));
  return found;
}

function across({ width, height, data }, to, every) {
  const made = new Uint8Array(to * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const { first, whole } = every[x];
      let red = 1 << (BITS - 1), green = red, blue = red;
      for (let k = 0, at = (y * width + first) * 3; k < whole.length; k++, at += 3) {
        red += data[at] * whole[k];
        green += data[at + 1] * whole[k];
        blue += data[at + 2] * whole[k];
      }
      const at = (y * to + x) * 3;
      made[at] = byte(red);
      made[at + 1] = byte(green);
      made[at + 2] = byte(blue);
    }
  }
  return { width: to, height, data: made };
}

function down({ width, data }, to, every) {
  const line = width * 3;
  const made = new Uint8Array(line * to);
  const sums = new Int32Array(line);
  for (let y = 0; y < to; y++) {
    const { first, whole } = every[y];
    sums.fill(1 << (BITS - 1));
    for (let k = 0; k < whole.length; k++) {
      const start = (first + k) * line;
      for (let x = 0; x < line; x++) sums[x] += data[start + x] * whole[k];
    }
    for (let x = 0; x < line; x++) made[y * line + x] = byte(sums[x]);
  }
  return { width, height: to, data: made };
}
