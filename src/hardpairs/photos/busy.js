// An answer that takes over a second says so, and can be given up.
const status = element.querySelector("[role=status]"), clock = element.querySelector("[aria-hidden]");
let since = 0;
setInterval(() => {
  const pending = document.querySelector("[id^=answer] .pending") !== null;
  since = pending ? since || Date.now() : 0;
  const seconds = since ? (Date.now() - since) / 1000 : 0, late = seconds > 1;
  element.closest("#busy").classList.toggle("late", late);
  if ((status.textContent !== "") !== late) status.textContent = late ? "Searching…" : "";
  clock.textContent = late ? `${Math.floor(seconds)} s` : "";
}, 200);
element.querySelector("button").addEventListener("click", () => trigger("cancel"));
