// Images that one gets and another does not, and classes that won or lost: what is chosen above, from what the page holds.

function made(name, attributes, ...inside) {
  const element = document.createElement(name);
  Object.assign(element, attributes);
  element.append(...inside);
  return element;
}

function galleries(all, pictures) {
  const place = document.getElementById("gallery");
  if (!place) return;
  const evals = document.getElementById("gallery-eval"), pairs = document.getElementById("gallery-pair");
  const told = document.getElementById("gallery-told");
  options(evals, [...new Set(all.map((one) => one.eval))].map((name) => [name, name]));

  function choosePair() {
    const before = pairs.value;
    const here = all.filter((one) => one.eval === evals.value).map((one) => {
      const name = `${one.winner} gets, ${one.loser} does not`;
      return [name, `${name} (${one.count})`];
    });
    options(pairs, here, here.some(([key]) => key === before) ? before : here[0]?.[0]);
    draw();
  }

  function draw() {
    const one = all.find((each) => each.eval === evals.value && `${each.winner} gets, ${each.loser} does not` === pairs.value);
    const more = one.count > one.flips.length ? `; the ${one.flips.length} surest are shown` : "";
    told.textContent = `${one.count.toLocaleString("en")} of ${one.items.toLocaleString("en")} items${more}.`;
    place.replaceChildren(...one.flips.map((flip) => {
      const picture = flip.picture === null ? made("div", { className: "blank" }) : made("img", { src: pictures[flip.picture], alt: "", width: 96, height: 96 });
      return made("figure", { title: flip.key }, picture, made("figcaption", {}, made("b", {}, flip.truth), made("span", {}, `${one.loser}: ${flip.said}`)));
    }));
  }
  evals.addEventListener("change", choosePair);
  pairs.addEventListener("change", draw);
  choosePair();
}

function changes(all) {
  const table = document.getElementById("changes");
  if (!table) return;
  const choice = document.getElementById("changes-of"), told = document.getElementById("changes-told");
  options(choice, all.map((one, n) => [String(n), `${one.eval}: ${one.who} against ${one.baseline}`]), "0");

  function number(text, sort) {
    const cell = made("td", {}, text);
    cell.dataset.v = sort;
    return cell;
  }
  function draw() {
    const one = all[Number(choice.value)];
    const counted = (way) => one.shown.filter(([, , before, after]) => Math.sign(after - before) === way).length;
    told.textContent = `${one.classes.toLocaleString("en")} classes, ${one.shown.length < one.classes ? `the ${one.shown.length} that changed most are shown, ` : ""}${counted(1)} gain and ${counted(-1)} lose. One class is few items: there are no tests here.`;
    const [before, after] = table.tHead.rows[0].querySelectorAll("[data-who]");
    (before.querySelector("button") ?? before).textContent = one.baseline;
    (after.querySelector("button") ?? after).textContent = one.who;
    for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
    table.tBodies[0].replaceChildren(...one.shown.map(([name, items, a, b]) => {
      const gain = (b - a) / items;
      const bar = made("i", { className: gain < 0 ? "loss" : "gain" });
      bar.style.width = `${50 * Math.abs(gain)}%`;
      bar.style[gain < 0 ? "right" : "left"] = "50%";
      const points = `${gain < 0 ? "−" : gain > 0 ? "+" : ""}${Math.abs(100 * gain).toFixed(0)}`;
      const head = made("th", { scope: "row" }, name);
      return made("tr", {}, head, number(items, items), number(a, a / items), number(b, b / items), number(points, gain), made("td", { className: "bars" }, made("div", {}, bar)));
    }));
    document.querySelector("[data-filters=changes]").dispatchEvent(new Event("input"));
  }
  choice.addEventListener("change", draw);
  draw();
}
