// The two maps together: which networks, what colours mean, and what is told of the dot that is pointed at.

function maps(all, pictures) {
  const [left, right] = document.querySelectorAll(".map");
  if (!left) return;
  const told = document.getElementById("dot-told"), legend = document.getElementById("legend");
  const colouring = document.getElementById("map-colour");
  const names = all.networks.map((one) => [one, one]);
  const count = all.keys.length;
  const places = Object.fromEntries(all.networks.map((who) => [who, bytes(all.places[who], Uint16Array)]));
  const hits = Object.fromEntries(all.networks.map((who) => [who, bytes(all.right[who], Uint8Array)]));
  const agreement = Object.fromEntries(Object.keys(all.agreement).map((who) => [who, bytes(all.agreement[who], Uint8Array)]));
  const sides = [left, right].map((figure) => ({ figure, choice: figure.querySelector("select") }));
  for (const side of sides) side.map = new DotMap(side.figure.querySelector("canvas"), mark);
  options(sides[0].choice, names, all.networks[0]);
  options(sides[1].choice, names, all.networks.at(-1));

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colourings = {
    right() {
      const [a, b] = sides.map((side) => hits[side.choice.value]);
      const [one, other] = sides.map((side) => side.choice.value);
      const kinds = ["neither is right", `${one} alone is right`, `${other} alone is right`, "both are right"];
      return [Uint8Array.from(a, (hit, n) => hit + 2 * b[n]), ["--chance", "--teacher", "--baseline", "--student"], kinds];
    },
    agreement() {
      const who = sides.map((side) => side.choice.value).filter((one) => agreement[one]).at(-1);
      const kinds = ["none", "up to a third", "up to two thirds", "more"].map((share) => `${share} of the neighbours are the teacher’s`);
      return [Uint8Array.from(agreement[who], (share) => (share ? Math.min(Math.floor((share - 1) / 85), 2) + 1 : 0)), ["--c5", "--baseline", "--c3", "--student"], kinds];
    },
    class() {
      const colours = ["--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8", "--c1"];
      return [Uint8Array.from(all.truth, (number) => number % 8), colours, null];
    },
  };

  function draw() {
    const [colours, variables, kinds] = colourings[colouring.value]();
    const palette = variables.map(variable);
    for (const side of sides) side.map.draw(colours, palette);
    if (kinds === null) { legend.textContent = "One colour is several classes: point at a dot to read its class."; return; }
    const counts = kinds.map((_, kind) => colours.reduce((sum, one) => sum + (one === kind), 0));
    legend.replaceChildren(...kinds.map((kind, n) => {
      const dot = made("i", {});
      dot.style.background = palette[n];
      return made("span", {}, dot, `${kind} (${counts[n].toLocaleString("en")})`);
    }));
  }

  function mark(n) {
    for (const side of sides) {
      side.map.mark(n);
      if (n < 0) delete side.map.canvas.dataset.marked;
      else side.map.canvas.dataset.marked = all.keys[n];
    }
    if (n < 0) { told.replaceChildren(made("span", {}, "Point at a dot: the same image is marked on the other side.")); return; }
    const words = sides.map(({ choice }) => `${choice.value} is ${hits[choice.value][n] ? "right" : "wrong"}`);
    const who = sides.map((side) => side.choice.value).filter((one) => agreement[one]).at(-1);
    if (who) words.push(`${Math.round(agreement[who][n] / 2.55)} % of ${who}’s neighbours are the teacher’s`);
    const parts = [made("b", {}, all.names[all.truth[n]] ?? ""), made("span", {}, words.join("; ")), made("code", {}, all.keys[n])];
    const picture = all.pictures[n];
    told.replaceChildren(...(picture === null || picture === undefined ? [] : [made("img", { src: pictures[picture], alt: "", width: 64, height: 64 })]), made("div", {}, ...parts));
  }

  function choose() {
    for (const { map, choice } of sides) map.show(places[choice.value]);
    mark(-1);
    draw();
  }
  for (const { map, choice, figure } of sides) {
    choice.addEventListener("change", choose);
    figure.querySelector("[data-zoom='in']").addEventListener("click", () => map.zoomed(1.6));
    figure.querySelector("[data-zoom='out']").addEventListener("click", () => map.zoomed(1 / 1.6));
    map.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      mark(((map.marked ?? -1) + step + count) % count);
    });
  }
  colouring.addEventListener("change", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  redrawn(left, draw);
  choose();
}
