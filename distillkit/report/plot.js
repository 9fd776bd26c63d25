// Drawings with axes, in SVG, as wide as their place is: curves that zoom, and points with intervals.

const LEFT = 52, RIGHT = 14, TOP = 12, BOTTOM = 34;

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, one] of Object.entries(attributes)) made.setAttribute(key, one);
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(number) {
  const size = Math.abs(number);
  for (const [unit, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (size >= unit) return `${+(number / (letter === "k" ? 1e3 : unit)).toPrecision(3)}${letter}`;
  }
  return size && size < 1e-4 ? number.toExponential(0) : String(+number.toPrecision(4));
}

function ticks([low, high], log, wanted) {
  if (log) {
    const made = [];
    const digits = Math.log10(high / low) > 3 ? [1] : [1, 2, 5];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const digit of digits) made.push(digit * 10 ** power);
    }
    const inside = made.filter((tick) => tick >= low && tick <= high);
    return inside.length > 1 ? inside : [low, high];
  }
  const rough = (high - low || 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((one) => one >= rough * 0.999);
  const made = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) made.push(n * step);
  return made;
}

class Axes {
  // A fresh drawing in `place`; `x` and `y`: { range, log, told } (told: how a tick is written).
  constructor(place, x, y, height) {
    this.width = Math.max(place.clientWidth, 260);
    this.height = height;
    this.x = x;
    this.y = y;
    this.root = svg("svg", { viewBox: `0 0 ${this.width} ${height}`, role: "img", "aria-label": place.dataset.label });
    for (const tick of ticks(y.range, y.log, 6)) {
      this.root.append(svg("path", { class: "rule", d: `M${LEFT} ${this.up(tick)}H${this.width - RIGHT}` }));
      this.text("tick", LEFT - 8, this.up(tick) + 4, (y.told ?? short)(tick), "end");
    }
    for (const tick of ticks(x.range, x.log, this.width / 110)) {
      this.text("tick", this.across(tick), height - BOTTOM + 17, (x.told ?? short)(tick), "middle");
    }
    place.replaceChildren(this.root);
  }

  across(value) { return LEFT + (this.width - LEFT - RIGHT) * share(value, this.x); }
  up(value) { return this.height - BOTTOM - (this.height - BOTTOM - TOP) * share(value, this.y); }
  back(pixel) {
    const [low, high] = this.x.range;
    return low + (high - low) * Math.min(Math.max((pixel - LEFT) / (this.width - LEFT - RIGHT), 0), 1);
  }
  text(kind, x, y, text, anchor = "start") { this.root.append(svg("text", { class: kind, x, y, "text-anchor": anchor }, text)); }
}

function share(value, { range: [low, high], log }) {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low || 1);
}

function around(values, log, room = 0.06) {
  const low = Math.min(...values), high = Math.max(...values);
  if (log) return [low / (high / low) ** room / 1.05, high * (high / low) ** room * 1.05];
  const more = (high - low || Math.abs(high) || 1) * room;
  return [low - more, high + more];
}

function redrawn(place, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (place.clientWidth !== width) { width = place.clientWidth; draw(); }
  }).observe(place);
}

function options(select, values, chosen) {
  select.replaceChildren(...values.map(([key, told]) => new Option(told, key, key === chosen, key === chosen)));
}

// Training curves together. Dragging across zooms to what was dragged over, a double click shows all again.
function curves(runs) {
  const place = document.getElementById("curves");
  if (!place) return;
  const choice = document.getElementById("curve"), told = document.getElementById("curve-told");
  const columns = [...new Set(runs.flatMap((run) => Object.keys(run.columns)))];
  options(choice, columns.map((name) => [name, name]), columns.includes("total") ? "total" : columns[0]);
  let zoom = null, axes, from = null;

  function draw() {
    const shown = runs.filter((run) => run.columns[choice.value]);
    const all = shown.flatMap((run) => [run.step[0], run.step.at(-1)]);
    const range = zoom ?? [Math.min(...all), Math.max(...all)];
    const seen = shown.map((run) => run.step.map((x, n) => [x, run.columns[choice.value][n]]).filter(([x, y]) => x >= range[0] && x <= range[1] && y !== null));
    const values = seen.flat().map(([, y]) => y);
    if (!values.length) { place.replaceChildren(); return; }
    const log = Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 20;
    axes = new Axes(place, { range }, { range: around(values, log), log }, 300);
    axes.text("tick", axes.width - RIGHT, 296, "step", "end");
    seen.forEach((points, n) => {
      if (points.length < 2) points.forEach(([x, y]) => axes.root.append(svg("circle", { class: `dot ${shown[n].colour}`, cx: axes.across(x), cy: axes.up(y), r: 3 })));
      const d = points.map(([x, y], place) => `${place ? "L" : "M"}${axes.across(x).toFixed(1)} ${axes.up(y).toFixed(1)}`).join("");
      axes.root.append(svg("path", { class: `line ${shown[n].colour}`, d, "stroke-dasharray": shown[n].seed ? "5 4" : "none" }));
    });
    axes.band = svg("rect", { class: "band", y: TOP, height: 300 - TOP - BOTTOM, width: 0, x: 0 });
    axes.root.append(axes.band);
  }

  const at = (event) => (event.clientX - place.getBoundingClientRect().left) * axes.width / place.clientWidth;
  place.addEventListener("pointerdown", (event) => { from = at(event); place.setPointerCapture(event.pointerId); });
  place.addEventListener("pointermove", (event) => {
    if (!axes) return;
    if (from !== null) {
      axes.band.setAttribute("x", Math.min(from, at(event)));
      axes.band.setAttribute("width", Math.abs(at(event) - from));
    }
    const step = axes.back(at(event));
    told.textContent = `step ${Math.round(step).toLocaleString("en")}: ` + runs.filter((run) => run.columns[choice.value]).map((run) => {
      const near = run.step.reduce((best, x, n) => Math.abs(x - step) < Math.abs(run.step[best] - step) ? n : best, 0);
      return `${run.name} ${short(run.columns[choice.value][near])}`;
    }).join(", ");
  });
  place.addEventListener("pointerup", (event) => {
    if (from !== null && Math.abs(at(event) - from) > 8) {
      zoom = [axes.back(Math.min(from, at(event))), axes.back(Math.max(from, at(event)))];
      place.dataset.zoom = zoom.map((one) => one.toFixed(2)).join(" ");
      draw();
    } else if (axes) axes.band.setAttribute("width", 0);
    from = null;
  });
  const whole = () => { zoom = null; delete place.dataset.zoom; draw(); };
  place.addEventListener("dblclick", whole);
  document.getElementById("curve-whole").addEventListener("click", whole);
  choice.addEventListener("change", draw);
  redrawn(place, draw);
}

// What a recipe reaches against what it costs.
function costs({ costs: kinds, measures, points }) {
  const place = document.getElementById("costs");
  if (!place) return;
  const across = document.getElementById("cost"), up = document.getElementById("reached");
  const known = kinds.filter(([key]) => points.some((point) => point.costs[key] > 0));
  options(across, known, known[0]?.[0]);
  const first = Math.max(measures.findIndex(({ share }) => share), 0);
  options(up, measures.map(({ name }, n) => [String(n), name]), String(first));

  function draw() {
    const measure = measures[Number(up.value)];
    const shown = points.filter((point) => point.costs[across.value] > 0 && point.values[measure?.name]);
    if (!shown.length) { place.replaceChildren(); return; }
    const all = shown.map((point) => point.costs[across.value]);
    const log = Math.max(...all) / Math.min(...all) > 4;
    const told = measure.share ? (value) => `${+(100 * value).toFixed(1)}%` : short;
    const values = shown.flatMap((point) => point.values[measure.name].filter((value) => value !== null));
    const axes = new Axes(place, { range: around(all, log, 0.18), log }, { range: around(values, false), told }, 300);
    axes.text("tick", axes.width - RIGHT, 296, known.find(([key]) => key === across.value)[1], "end");
    const below = { true: 300 - BOTTOM + 8, false: 300 - BOTTOM + 8 }; // where the label under the next one is, on either side
    shown.sort((a, b) => a.values[measure.name][0] - b.values[measure.name][0]).forEach((point) => {
      const [value, low, high] = point.values[measure.name], x = axes.across(point.costs[across.value]);
      if (low !== null) axes.root.append(svg("path", { class: `line thin ${point.colour}`, d: `M${x} ${axes.up(low)}V${axes.up(high)}` }));
      axes.root.append(svg("circle", { class: `dot ${point.colour}`, cx: x, cy: axes.up(value), r: 5 }));
      const left = x > axes.width * 0.66;
      below[left] = Math.min(axes.up(value) + 4, below[left] - 15);
      axes.text(`name ${point.colour}`, x + (left ? -10 : 10), below[left], point.name, left ? "end" : "start");
    });
  }
  for (const one of [across, up]) one.addEventListener("change", draw);
  redrawn(place, draw);
}
