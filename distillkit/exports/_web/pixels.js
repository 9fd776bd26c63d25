// From a picture to what the student sees, as preprocessor_config.json says it.

import { resize } from "./resize.js";

// Three planes of floats. `picture`: {width, height, data}, three bytes a pixel.
export function pixels(picture, config) {
  const side = config.size.shortest_edge;
  const { width, height } = picture;
  const wide = width <= height ? side : Math.floor((side * width) / height);
  const high = width <= height ? Math.floor((side * height) / width) : side;
  const small = resize(picture, wide, high, config.resample);
  const left = Math.floor((wide - side) / 2), top = Math.floor((high - side) / 2);
  const made = new Float32Array(3 * side * side);
  for (let channel = 0; channel < 3; channel++) {
    const mean = config.image_mean[channel], std = config.image_std[channel];
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const value = small.data[((top + y) * wide + left + x) * 3 + channel];
        made[(channel * side + y) * side + x] = (value * config.rescale_factor - mean) / std;
      }
    }
  }
  return made;
}

// Four bytes a pixel to three; what is transparent was laid on white before.
export function withoutAlpha({ width, height, data }) {
  const made = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    made[to++] = data[from];
    made[to++] = data[from + 1];
    made[to++] = data[from + 2];
  }
  return { width, height, data: made };
}
