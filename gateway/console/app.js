// The page: the door or the studio, and what the live connection says.
import { api, pause, threshold, words } from "/console/api.js";
import { ask } from "/console/ask.js";
import { List } from "/console/list.js";
import { connect } from "/console/live.js";
import { Quota } from "/console/quota.js";
import { askForTerms } from "/console/terms.js";
import { voucher } from "/console/voucher.js";
import { ACTIVE, seconds, sentence } from "/console/words.js";

const TERMS = 4504; // the close code of a socket whose user has not accepted the terms of use
const $ = (id) => document.getElementById(id);

async function act(method, path, body) {
  const result = await api(method, path, body);
  quota.soon();
  return result.ok ? null : words(result);
}

let decide = () => {}; // whether the video that is asked about goes

function sure(job) {
  const dialog = $("sure");
  $("sure-prompt").textContent = job.prompt;
  $("sure-words").textContent = ACTIVE.has(job.state)
    ? "It is being made; deleting it stops that."
    : `Its entry and its files go for good${job.charge?.state === "captured"
      ? `; the ${seconds(job.charge.seconds)} it took of the quota stay taken` : ""}.`;
  dialog.showModal();
  return new Promise((resolve) => { decide = resolve; });
}

const path = (job) => `/api/runpod/${encodeURIComponent(job.jobId)}`;
const list = new List({
  cancel: (job) => act("POST", `${path(job)}/cancel`),
  retry: (job) => act("POST", `${path(job)}/retry`),
  remove: async (job) => ((await sure(job)) ? act("DELETE", "/api/videos", { jobIds: [job.jobId] }) : null),
});
const quota = new Quota((usage) => form.quotaChanged(usage));
const redeem = voucher(() => quota.soon());
const form = ask({ quota, learn: (job) => list.jobs.learn(job), restricted: () => redeem.offer() });
let hangUp = () => {};

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
  hangUp();
  $("door-over").hidden = $("studio").hidden; // whoever was inside knows how to come in
  $("studio").hidden = true;
  $("door").hidden = false;
  $("door-used").hidden = location.hash !== "#token-used";
  $("connection").textContent = "";
}

async function start() {
  for (;;) {
    const inside = await api("GET", "/api/videos?limit=1");
    if (inside.barred) return;
    if (inside.ok) break;
    $("connection").textContent = "the gateway is not ready";
    await pause(2000);
  }
  $("studio").hidden = false;
  quota.soon();
  list.reload();
  redeem.look();
  live();
}

function live() {
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  $("reconnect").hidden = true;
  hangUp = connect({ url, on: hear, status: (state, reason, code) => {
    $("connection").textContent = reason ?? state;
    $("connection").dataset.live = state === "live";
    if (state === "closed") ended(code);
  } });
}

// The live connection is closed for good. If that is because of the session or the terms, any request shows it.
async function ended(code) {
  const inside = await api("GET", "/api/videos?limit=1");
  if (inside.barred) return;
  if (inside.ok && code === TERMS) return live();
  $("reconnect").hidden = false;
}

threshold.terms = askForTerms;
addEventListener("locked", door);
$("reconnect").addEventListener("click", live);
$("sure").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  decide(button.value === "delete");
  $("sure").close();
});
// Escape says "cancel" at once, and "close" a moment later: whoever asks again in between is not answered by that.
$("sure").addEventListener("cancel", () => decide(false));
$("sure").addEventListener("close", () => { if (!$("sure").open) decide(false); });
start();
