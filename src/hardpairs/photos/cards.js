// A click on a card, on an example or on "back" is an event of the component.
element.addEventListener("click", event => {
  const target = event.target.closest("button");
  if (!target || !element.contains(target)) return;
  if (target.dataset.like) trigger("like", {id: target.dataset.like});
  else if (target.dataset.query) trigger("example", {text: target.dataset.query});
  else if (target.dataset.restore) trigger("restore", {row: Number(target.dataset.restore)});
  else if (target.dataset.reopen) trigger("reopen", {rows: target.dataset.reopen.split(" ").map(Number)});
  else if (target.dataset.back) trigger("back");
});
// The card of a photo that is gone since it was listed says so.
element.addEventListener("error", event => {
  const frame = event.target.closest?.(".photo-card .frame");
  if (!frame) return;
  frame.textContent = "no longer there";
  frame.closest(".photo-card").classList.add("gone");
}, true);
