// A click on a card, on an example or on "back" is an event of the component.
element.addEventListener("click", event => {
  const target = event.target.closest("button");
  if (!target || !element.contains(target)) return;
  if (target.dataset.like) trigger("like", {id: target.dataset.like});
  else if (target.dataset.query) trigger("example", {text: target.dataset.query});
  else if (target.dataset.restore) trigger("restore", {row: Number(target.dataset.restore)});
  else if (target.dataset.back) trigger("back");
});
// A photograph that went away since it was listed leaves its place, and says so.
element.addEventListener("error", event => {
  const frame = event.target.closest?.(".hit .frame");
  if (!frame) return;
  frame.textContent = "no longer there";
  frame.closest(".hit").classList.add("gone");
}, true);
