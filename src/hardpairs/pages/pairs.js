"use strict";
// A row can be on the page many times: its boxes are ticked together.
const bar = document.getElementById("marked");
const boxes = [...document.querySelectorAll("input[data-row]")];
const marked = () => [...new Set(boxes.filter(box => box.checked).map(box => Number(box.dataset.row)))].sort((a, b) => a - b);
const show = () => {
  const count = marked().length;
  bar.hidden = count === 0;
  bar.querySelector("output").textContent = count === 1 ? "1 row marked" : `${count} rows marked`;
};
const tick = (row, value) => boxes.filter(box => box.dataset.row === row).forEach(box => { box.checked = value; });
document.addEventListener("change", event => {
  if (event.target.dataset.row !== undefined) { tick(event.target.dataset.row, event.target.checked); show(); }
});
document.getElementById("clear").addEventListener("click", () => { boxes.forEach(box => { box.checked = false; }); show(); });
document.getElementById("save").addEventListener("click", () => {
  const content = {kind: "rejected_rows", dataset_fingerprint: bar.dataset.fingerprint || null, rows: marked()};
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content) + "\n"], {type: "application/json"}));
  link.download = "rejected.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
show(); // a browser may keep ticks over a reload
