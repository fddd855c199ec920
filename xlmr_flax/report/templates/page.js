"use strict";
// A click on a column's name sorts by it, numbers by their value and words by the alphabet, and the next click turns it.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, place) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const value = row => row.cells[place].dataset.value ?? "";
    const rows = [...body.rows], numeric = rows.every(row => value(row) === "" || !isNaN(value(row)));
    rows.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return down * (numeric ? x - y : x.localeCompare(y));
    });
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
    body.append(...rows);
  }));
}
