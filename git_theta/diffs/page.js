"use strict";
(() => {
  const table = document.getElementById("tensors");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];

  const value = (row, index) => {
    const cell = row.cells[index];
    if (!cell.classList.contains("number")) return cell.dataset.value ?? cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  // Rows without a number stay last, whichever way the others are sorted.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number") return sign * (a - b);
    return sign * a.localeCompare(b, "en", { numeric: true });
  };

  const sort = (index, sign) => {
    const rows = [...body.rows].map((row) => [value(row, index), row]);
    rows.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...rows.map((pair) => pair[1]));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[index].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  };

  const numeric = (index) => body.rows.length > 0 && body.rows[0].cells[index].classList.contains("number");

  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = numeric(index) ? -1 : 1;
      const again = head.getAttribute("aria-sort") === (first > 0 ? "ascending" : "descending");
      sort(index, again ? -first : first);
    });
  });

  const wanted = new URLSearchParams(location.hash.slice(1)).get("sort");
  const index = heads.findIndex((head) => head.dataset.column === wanted);
  if (index >= 0) sort(index, numeric(index) ? -1 : 1);

  const hint = document.getElementById("hint");
  document.addEventListener("pointermove", (event) => {
    const words = event.target instanceof Element ? event.target.getAttribute("data-hint") : null;
    hint.hidden = words === null;
    if (words === null) return;
    hint.textContent = words;
    const left = Math.min(event.clientX + 14, innerWidth - hint.offsetWidth - 8);
    hint.style.left = `${Math.max(8, left)}px`;
    hint.style.top = `${Math.min(event.clientY + 14, innerHeight - hint.offsetHeight - 8)}px`;
  });
})();
