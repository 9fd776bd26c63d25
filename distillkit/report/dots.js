// Maps of what two networks said of the same items, side by side: pointing at a dot marks it in both. 100,000 dots are
// written as pixels into one image, and found through a grid.

const MANY = 4000; // from here on dots are squares of pixels, below they are round
const REACH = 14; // pixels from the pointer within which a dot is meant

function bytes(text, Kind) {
  return new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

class DotMap {
  // `canvas` has the dots; the canvas after it, which lies over it, has the mark.
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.over = canvas.nextElementSibling;
    this.changed = changed;
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    this.count = 0;
    this.listen();
  }

  // Places as x, y, x, y ... from 0 to 65535.
  show(places) {
    this.places = places;
    this.count = places.length / 2;
    this.view = { zoom: 1, x: 0.5, y: 0.5 };
    const side = this.side = Math.max(Math.ceil(Math.sqrt(this.count / 2)), 1);
    const cell = new Uint32Array(this.count), starts = new Uint32Array(side * side + 1);
    for (let n = 0; n < this.count; n++) {
      cell[n] = this.cellOf(places[2 * n]) + side * this.cellOf(places[2 * n + 1]);
      starts[cell[n] + 1]++;
    }
    for (let n = 0; n < side * side; n++) starts[n + 1] += starts[n];
    const next = starts.slice();
    this.sorted = new Uint32Array(this.count);
    for (let n = 0; n < this.count; n++) this.sorted[next[cell[n]]++] = n;
    this.starts = starts;
  }

  cellOf(place) { return Math.min(Math.max(Math.floor(place / 65536 * this.side), 0), this.side - 1); }

  // From places to pixels of the page: multiply, then add.
  get scale() {
    const size = this.size * 0.94;
    return { by: size * this.view.zoom / 65536, x: this.size / 2 - this.view.x * size * this.view.zoom, y: this.size / 2 - this.view.y * size * this.view.zoom };
  }

  at(n) {
    const { by, x, y } = this.scale;
    return [this.places[2 * n] * by + x, this.places[2 * n + 1] * by + y];
  }

  draw(colours, palette) {
    this.colours = colours ?? this.colours;
    this.palette = palette ?? this.palette;
    this.size = this.canvas.clientWidth;
    const sharp = window.devicePixelRatio || 1, wide = Math.round(this.size * sharp);
    for (const one of [this.canvas, this.over]) if (one.width !== wide) one.width = one.height = wide;
    if (!wide || !this.count) return;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, wide, wide);
    if (this.count > MANY) this.pixels(context, wide, sharp);
    else this.circles(context, sharp);
    this.mark(this.marked ?? -1);
  }

  circles(context, sharp) {
    const radius = (this.count > 800 ? 2.2 : 3.4) * Math.min(Math.sqrt(this.view.zoom), 2) * sharp;
    context.globalAlpha = 0.82;
    for (let n = 0; n < this.count; n++) {
      const [x, y] = this.at(n);
      context.fillStyle = this.palette[this.colours[n]];
      context.beginPath();
      context.arc(x * sharp, y * sharp, radius, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  pixels(context, wide, sharp) {
    const image = context.createImageData(wide, wide), ink = new Uint32Array(image.data.buffer);
    const inks = this.palette.map((colour) => packed(context, colour));
    const edge = Math.max(Math.round((this.count > 30000 ? 1.3 : 2) * Math.min(Math.sqrt(this.view.zoom), 2.5) * sharp), 1);
    const { by, x: left, y: top } = this.scale;
    for (let n = 0; n < this.count; n++) {
      const x = ((this.places[2 * n] * by + left) * sharp) | 0, y = ((this.places[2 * n + 1] * by + top) * sharp) | 0;
      if (x < 0 || y < 0 || x + edge > wide || y + edge > wide) continue;
      const one = inks[this.colours[n]];
      for (let down = 0; down < edge; down++) ink.fill(one, (y + down) * wide + x, (y + down) * wide + x + edge);
    }
    context.putImageData(image, 0, 0);
  }

  // The dot nearest to a pixel, -1 where none is within reach.
  nearest(px, py) {
    const { by, x, y } = this.scale, reach = REACH / by;
    const there = [(px - x) / by, (py - y) / by];
    const [left, right, top, bottom] = [there[0] - reach, there[0] + reach, there[1] - reach, there[1] + reach].map((one) => this.cellOf(one));
    let best = -1, closest = reach * reach;
    for (let row = top; row <= bottom; row++) {
      for (let k = this.starts[row * this.side + left]; k < this.starts[row * this.side + right + 1]; k++) {
        const n = this.sorted[k];
        const distance = (this.places[2 * n] - there[0]) ** 2 + (this.places[2 * n + 1] - there[1]) ** 2;
        if (distance < closest) { closest = distance; best = n; }
      }
    }
    return best;
  }

  mark(n) {
    this.marked = n;
    const context = this.over.getContext("2d"), sharp = window.devicePixelRatio || 1;
    context.clearRect(0, 0, this.over.width, this.over.height);
    if (n < 0 || !this.count) return;
    const [x, y] = this.at(n);
    const { backgroundColor, color } = getComputedStyle(document.body);
    for (const [width, colour] of [[6, backgroundColor], [2.4, color]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * sharp;
      context.beginPath();
      context.arc(x * sharp, y * sharp, 9 * sharp, 0, 7);
      context.stroke();
    }
    this.canvas.dataset.at = `${x.toFixed(1)} ${y.toFixed(1)}`;
  }

  zoomed(by, px = this.size / 2, py = this.size / 2) {
    const size = this.size * 0.94, { view } = this;
    const zoom = Math.min(Math.max(view.zoom * by, 1), 60);
    for (const [axis, pixel] of [["x", px], ["y", py]]) {
      const off = (pixel - this.size / 2) / size;
      view[axis] += off / view.zoom - off / zoom; // what lies below the pointer stays there
      if (zoom === 1) view[axis] = 0.5;
    }
    view.zoom = zoom;
    this.draw();
  }

  listen() {
    const { canvas } = this;
    let from = null, pinned = false;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => { from = place(event); from.moved = false; });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (from && event.buttons && (from.moved || Math.hypot(x - from[0], y - from[1]) > 4)) {
        const size = this.size * 0.94 * this.view.zoom;
        this.view.x -= (x - from[0]) / size;
        this.view.y -= (y - from[1]) / size;
        from = [x, y];
        from.moved = true;
        this.draw();
      } else if (!pinned) this.changed(this.nearest(x, y));
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from && !from.moved) {
        const n = this.nearest(...place(event));
        pinned = n >= 0 && !(pinned && n === this.marked);
        this.changed(n);
      }
      from = null;
    });
    canvas.addEventListener("pointerleave", () => { if (!pinned) this.changed(-1); });
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls until a map was clicked at
      event.preventDefault();
      this.zoomed(Math.exp(-event.deltaY / 400), ...place(event));
    }, { passive: false });
  }
}

function packed(context, colour) {
  context.fillStyle = colour;
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(context.fillStyle.slice(at, at + 2), 16));
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
