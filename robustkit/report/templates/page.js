"use strict";
// Sorts and filters tables, and enlarges pictures. Without it the page says the same.

const LONG = 12;

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Of a cell, without the small print below it: a number where it begins with one.
function valueOf(cell) {
  const text = (cell?.dataset.value ?? cell?.firstChild?.textContent ?? "").trim();
  const number = text.replace(/,/g, "").replace("\u2212", "-").match(/^[<>]?([-+]?\d*\.?\d+(e[-+]?\d+)?)(?=$|[\s%])/);
  return number ? parseFloat(number[1]) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b);
}

// Rows that belong together: one of numbers, and the explanation below it. Totals stay where they are.
function groups(body) {
  const found = [];
  for (const row of body.rows) {
    if (row.classList.contains("total")) continue;
    if (row.classList.contains("more") && found.length) found.at(-1).push(row);
    else found.push([row]);
  }
  return found;
}

function sortable(table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = groups(body);
      rows.sort(([a], [b]) => (down ? -1 : 1) * compare(valueOf(a.cells[column]), valueOf(b.cells[column])));
      body.prepend(...rows.flat());
    });
  });
}

function filterable(table) {
  const input = make("input", { type: "search" });
  const count = make("output");
  const all = groups(table.tBodies[0]);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    let left = 0;
    for (const rows of all) {
      const shown = rows.some((row) => row.textContent.toLowerCase().includes(wanted));
      for (const row of rows) row.hidden = !shown;
      left += shown;
    }
    count.value = wanted ? `${left} of ${all.length}` : "";
  });
  table.closest(".scroll").before(make("div", { class: "filter" }, make("label", {}, "Filter ", input), " ", count));
}

function enlarged(picture) {
  const caption = picture.closest("figure").querySelector("figcaption");
  const close = make("button", { type: "button", class: "close" }, "Close");
  const dialog = make("dialog", { "aria-label": picture.alt }, picture.cloneNode(), caption.cloneNode(true), close);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", () => dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

for (const table of document.querySelectorAll("table")) {
  const rows = table.tBodies.length === 1 ? groups(table.tBodies[0]).length : 0;
  if (table.tHead && rows > 1) sortable(table);
  if (rows >= LONG) filterable(table);
}
for (const picture of document.querySelectorAll(".views img")) {
  const button = make("button", { type: "button", class: "enlarge", "aria-label": `Enlarge: ${picture.alt}` });
  picture.replaceWith(button);
  button.append(picture);
  button.addEventListener("click", () => enlarged(picture));
}
