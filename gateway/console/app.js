// The page: a form, the list, and what the live connection says about them.
import { connect } from "/console/live.js";
import { card, updateCard } from "/console/cards.js";

const UNREACHABLE = "The gateway can't be reached.";
const $ = (id) => document.getElementById(id);
const jobs = new Map();      // jobId → job document
const progress = new Map();  // jobId → {progress, preview, place}
const cards = new Map();     // jobId → element

async function api(method, path, body, headers = {}) {
  const response = await fetch(path, {
    method,
    headers: { ...(body && { "Content-Type": "application/json" }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });
  const answer = await response.json().catch(() => ({}));
  return { status: response.status, ok: response.ok, answer };
}

const words = ({ answer, status }) =>
  [answer.error || answer.message || `The gateway answered ${status}.`,
    answer.error && answer.message,
    ...(answer.details || []).map((line) => `${line.field} ${line.message}`)].filter(Boolean).join(" ");

function draw(jobId) {
  const job = jobs.get(jobId);
  if (!job || job.state === "deleted" || job.state === "rejected") {
    cards.get(jobId)?.remove();
    cards.delete(jobId);
    jobs.delete(jobId);
  } else {
    if (!cards.has(jobId)) {
      const made = card(job, actions);
      cards.set(jobId, made);
      const later = [...cards.keys()].map((id) => jobs.get(id)).filter((other) => other && other.id < job.id);
      const next = later.sort((a, b) => b.id - a.id)[0];
      $("videos").insertBefore(made, next ? cards.get(next.jobId) : null);
    }
    updateCard(cards.get(jobId), job, progress.get(jobId) || {});
  }
  $("none").hidden = cards.size > 0;
}

function learn(job) {
  const known = jobs.get(job.jobId);
  if (known && known.version >= job.version) return;
  if (!known || known.attempt !== job.attempt || job.finishedAt) progress.delete(job.jobId);
  if (known?.charge?.state === "reserved" && job.charge?.state === "refunded") $("quota").textContent = ""; // no longer true
  jobs.set(job.jobId, job);
  draw(job.jobId);
}

function hear(frame) {
  if (frame.type === "snapshot") {
    const shown = new Set(frame.jobs.map((job) => job.jobId));
    for (const jobId of [...jobs.keys()]) if (!shown.has(jobId)) { jobs.delete(jobId); draw(jobId); }
    frame.jobs.forEach(learn);
    $("none").hidden = cards.size > 0;
  } else if (frame.type === "event") {
    if (frame.data.state === "rejected") say(frame.data.failure?.message || "The request was refused.");
    learn(frame.data);
  } else if (["progress", "preview", "place"].includes(frame.type)) {
    const known = progress.get(frame.data.jobId) || {};
    progress.set(frame.data.jobId, { ...known, [frame.type]: frame.data });
    if (jobs.has(frame.data.jobId)) draw(frame.data.jobId);
  }
}

const say = (text) => { $("answer").textContent = text; };

function showQuota(quota) {
  if (!quota) return;
  $("quota").textContent = `${quota.remainingSeconds.toFixed(1)} of ${quota.limitSeconds.toFixed(0)} seconds left`;
}

async function act(method, path, body) {
  say("");
  const result = await api(method, path, body).catch(() => null);
  if (!result) say(UNREACHABLE);
  else if (!result.ok) say(words(result));
  showQuota(result?.answer.monthlyQuota);
}

const actions = {
  cancel: (jobId) => act("POST", `/api/runpod/${jobId}/cancel`),
  retry: (jobId) => act("POST", `/api/runpod/${jobId}/retry`),
  remove: (jobId) => act("DELETE", "/api/videos", { jobIds: [jobId] }),
};

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const [width, height] = form.get("shape").split("x").map(Number);
  const number = (name) => (form.get(name) === "" ? undefined : Number(form.get(name)));
  const body = { prompt: form.get("prompt"), width, height,
    num_frames: number("num_frames"), steps: number("steps"), seed: number("seed") };
  const button = event.target.querySelector("button");
  button.disabled = true;
  say("");
  try {
    const result = await api("POST", "/api/runpod", body, { "Idempotency-Key": crypto.randomUUID?.() ?? `${Math.random()}` });
    showQuota(result.answer.monthlyQuota);
    if (!result.ok) say(words(result));
    else if (result.status === 202) say("Recorded; the decision follows.");
    else learn(result.answer);
  } catch {
    say(UNREACHABLE);
  } finally {
    button.disabled = false;
  }
});

async function start() {
  const inside = await api("GET", "/api/videos?limit=1").catch(() => null);
  if (inside?.status === 401) {
    $("door").hidden = false;
    $("door-used").hidden = location.hash !== "#token-used";
    $("connection").textContent = "";
    return;
  }
  if (!inside || !inside.ok) {
    $("connection").textContent = "the gateway is not ready";
    setTimeout(start, 2000);
    return;
  }
  $("studio").hidden = false;
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  connect({ url, on: hear, status: (text) => {
    $("connection").textContent = text;
    $("connection").dataset.live = text === "live";
  } });
}

start();
