// Tables. A click on a heading sorts by it, another one turns the order; the box above leaves rows that have all its words.

const order = new Intl.Collator(undefined, { numeric: true });

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const known = (one) => one !== "" && one !== "–" && !Number.isNaN(one);
  const rows = [...body.rows].map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => {
    if (known(a) !== known(b)) return known(a) ? -1 : 1; // what is not known stands last, whichever way
    const way = typeof a === "number" && typeof b === "number" ? a - b : order.compare(a, b);
    return descending ? -way : way;
  });
  body.append(...rows.map(([, row]) => row));
}

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!head.textContent.trim()) return; // pictures have no order
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const numbers = [...table.tBodies[0].rows].some((row) => row.cells[column].dataset.v !== undefined);
      const descending = before ? before === "ascending" : numbers; // of numbers the largest first
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
  });
}

function filterable(box) {
  const table = document.getElementById(box.dataset.filters);
  const told = box.parentElement.querySelector("output");
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    if (told) told.textContent = words.length ? `${shown} of ${table.tBodies[0].rows.length}` : "";
  });
}

document.querySelectorAll("table.sorts").forEach(sortable);
document.querySelectorAll("input[data-filters]").forEach(filterable);
