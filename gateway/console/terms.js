// The terms of use, in front of everything: shown when the API says that they come first.
import { api, words } from "/console/api.js";

const $ = (id) => document.getElementById(id);
let asking = null; // one dialog, however many requests were refused

// Resolves to whether they were accepted. A person who does not want to now is not asked again by this page.
export function askForTerms(version) {
  asking ??= ask(version).then((accepted) => {
    if (accepted) asking = null;
    else shut();
    return accepted;
  });
  return asking;
}

async function ask(version) {
  const dialog = $("terms"), { termsUrl } = document.body.dataset;
  $("terms-version").textContent = version;
  $("terms-link").hidden = !termsUrl;
  if (termsUrl) $("terms-link").href = termsUrl;
  dialog.returnValue = "later";
  dialog.showModal();
  for (;;) {
    const choice = await chosen(dialog);
    if (choice !== "accept") return false;
    const { ok, status, answer } = await api("POST", "/api/terms/accept", { version });
    if (ok) {
      dialog.close();
      return true;
    }
    $("terms-wrong").textContent = words({ status, answer });
    if (status === 409) $("terms-version").textContent = version = answer.version;
    if (status === 401) dialog.close();
    if (!dialog.open) return false;
  }
}

function chosen(dialog) {
  return new Promise((resolve) => {
    const over = new AbortController();
    const choose = (choice) => { over.abort(); resolve(choice); };
    $("terms-yes").addEventListener("click", () => choose("accept"), over);
    $("terms-later").addEventListener("click", () => dialog.close(), over);
    dialog.addEventListener("close", () => choose("later"), over);
  });
}

function shut() {
  if (!$("door").hidden) return;
  $("studio").hidden = true;
  $("unaccepted").hidden = false;
  $("terms-again").addEventListener("click", () => location.reload());
  $("connection").textContent = "";
}
