// The query stands in the address. Back and Forward ask for what stood there.
let opened = false;
watch("value", () => {
  const wanted = location.pathname + (props.value || "");
  if (wanted !== location.pathname + location.search)
    history[opened ? "pushState" : "replaceState"](null, "", wanted);
  opened = true;
});
window.addEventListener("popstate", () => trigger("travel", {address: location.search}));
