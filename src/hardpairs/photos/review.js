// Keys decide while the panel of hard pairs has the focus. A click into it, or on its tab, gives it the focus.
const panel = element.closest("[role=tabpanel]");
const keys = {
  accept: ["y"], left: ["l"], right: ["r", "n"], undo: ["u"],
  skip: ["j", "ArrowRight"], back: ["k", "ArrowLeft"],
};
const button = name => document.getElementById(name);
let waiting = 0; // until the next pair is there, a key would decide the one before
watch("value", () => { waiting = 0; });
panel.tabIndex = -1;
panel.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const name = Object.keys(keys).find(name => keys[name].includes(event.key.length > 1 ? event.key : event.key.toLowerCase()));
  if (!name || !button(name) || Date.now() < waiting) return;
  event.preventDefault();
  waiting = Date.now() + 1000;
  button(name).click();
});
const focus = () => panel.focus({preventScroll: true});
if (panel.offsetParent) focus(); // the first click on the tab brought this script
document.querySelector(`[role=tab][aria-controls="${panel.id}"]`)?.addEventListener("click", focus);
for (const name in keys) button(name)?.setAttribute("aria-keyshortcuts", keys[name].join(" "));
