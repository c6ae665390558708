// The page: the door or the studio, and what the live connection says.
import { api, pause, words } from "/console/api.js";
import { ask } from "/console/ask.js";
import { List } from "/console/list.js";
import { connect } from "/console/live.js";
import { Quota } from "/console/quota.js";
import { ACTIVE, seconds, sentence } from "/console/words.js";

const $ = (id) => document.getElementById(id);

async function act(method, path, body) {
  const result = await api(method, path, body);
  quota.soon();
  return result.ok ? null : words(result);
}

function sure(job) {
  const dialog = $("sure");
  $("sure-prompt").textContent = job.prompt;
  $("sure-words").textContent = ACTIVE.has(job.state)
    ? "It is being made; deleting it stops that."
    : `Its entry and its files go for good${job.charge?.state === "captured"
      ? `; the ${seconds(job.charge.seconds)} it took of the quota stay taken` : ""}.`;
  dialog.returnValue = "keep";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}

const path = (job) => `/api/runpod/${encodeURIComponent(job.jobId)}`;
const list = new List({
  cancel: (job) => act("POST", `${path(job)}/cancel`),
  retry: (job) => act("POST", `${path(job)}/retry`),
  remove: async (job) => ((await sure(job)) ? act("DELETE", "/api/videos", { jobIds: [job.jobId] }) : null),
});
const quota = new Quota((usage) => form.quotaChanged(usage));
const form = ask({ quota, learn: (job) => list.jobs.learn(job) });

function hear(frame) {
  if (frame.type === "snapshot") {
    frame.jobs.forEach((job) => list.jobs.learn(job));
    list.reload();
    quota.soon();
  } else if (frame.type === "event") {
    const before = list.jobs.get(frame.data.jobId);
    form.decided(frame.data);
    if (!list.jobs.learn(frame.data)) return;
    if (before?.state !== frame.data.state) quota.soon();
    if (before && ACTIVE.has(before.state) && !ACTIVE.has(frame.data.state)) tell(frame.data);
  } else if (["progress", "preview", "place"].includes(frame.type)) {
    list.jobs.hear(frame.type, frame.data);
  }
}

// Ends only: a screen reader that spoke every step would say nothing else.
function tell(job) {
  if (job.state !== "deleted") $("spoken").textContent = `${job.prompt}: ${sentence(job, {})}`;
}

function door() {
  $("studio").hidden = true;
  $("door").hidden = false;
  $("door-used").hidden = location.hash !== "#token-used";
  $("connection").textContent = "";
}

async function start() {
  for (;;) {
    const inside = await api("GET", "/api/videos?limit=1");
    if (inside.status === 401) return;
    if (inside.ok) break;
    $("connection").textContent = "the gateway is not ready";
    await pause(2000);
  }
  $("studio").hidden = false;
  quota.soon();
  list.reload();
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  connect({ url, on: hear, status: (text) => {
    $("connection").textContent = text;
    $("connection").dataset.live = text === "live";
    if (text !== "live" && text !== "connecting") list.reload(); // closed for good: is the session over?
  } });
}

addEventListener("locked", door);
$("sure").addEventListener("click", ({ target }) => {
  if (target.closest("button")) $("sure").close(target.closest("button").value);
});
start();
