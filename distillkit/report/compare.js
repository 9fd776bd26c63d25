// What the page holds, brought to its places.

const page = JSON.parse(document.getElementById("page").textContent);
curves(page.curves);
costs(page.plot);
galleries(page.galleries, page.pictures);
changes(page.changes);
if (page.map) maps(page.map, page.pictures);
const more = document.getElementById("all-measures");
more?.addEventListener("change", () => document.getElementById("matrix").classList.toggle("all", more.checked));
