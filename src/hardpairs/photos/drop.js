// An image that is chosen, dropped or pasted goes to the server, which answers with its name.
const say = text => { element.querySelector(".drop-message").textContent = text; };
const give = async file => {
  if (!file) return;
  if (file.size > 20e6) { say("That file is larger than 20 MB."); return; }
  say("Reading the image…");
  try {
    const answer = await fetch("/asked", {method: "POST", body: file, headers: {"Content-Type": "application/octet-stream"}});
    const reply = answer.headers.get("content-type")?.includes("json") ? await answer.json() : {error: "That image cannot be used."};
    if (reply.id) { props.value = reply.id; trigger("given"); } else say(reply.error);
  } catch { say("The server does not answer."); }
};
element.addEventListener("change", event => { if (event.target.type === "file") { event.stopPropagation(); give(event.target.files[0]); } });
element.addEventListener("click", event => { if (event.target.closest(".drop-clear")) { event.preventDefault(); props.value = ""; trigger("given"); } });
for (const name of ["dragenter", "dragover"]) element.addEventListener(name, event => { event.preventDefault(); element.classList.add("over"); });
for (const name of ["dragleave", "drop"]) element.addEventListener(name, () => element.classList.remove("over"));
element.addEventListener("drop", event => { event.preventDefault(); give(event.dataTransfer.files[0]); });
document.addEventListener("paste", event => {
  const file = [...event.clipboardData.files].find(file => file.type.startsWith("image/"));
  if (file) give(file);
});
