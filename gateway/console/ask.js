// The form: a wish in, a video being made out; what it will cost, and what stands in the way.
import { api, newKey, pause, words } from "/console/api.js";
import { blame, limit, listen, read, whole } from "/console/fields.js";
import { advice, cost, seconds } from "/console/words.js";

const $ = (id) => document.getElementById(id);
const TRY_FOR_MS = 600000; // a wish that got no answer is repeated so long; then it is up to the person
const PAUSE_MAX_MS = 8000;
const RESTRICTED = "This action requires user role"; // what the API says to an account that may only look

// `quota`: {usage, soon()}; `learn(job)`: a video that was admitted; `restricted()`: the account may not make any.
// Returns what the form is told.
export function ask({ quota, learn, restricted }) {
  let wish = {}; // the body that was sent last, and its key: sent again after no answer, it is the same wish
  let expected = null; // the job of a wish that was recorded and not decided yet
  let early = null; // decisions that came before the answer to the request did; null: none is open
  let limits = null;

  const say = (text) => { $("answer").textContent = text; };

  function offer(frames) {
    $("shorter").hidden = frames == null;
    if (frames == null) return;
    $("shorter").textContent = `Make it ${frames} frames, ${seconds(frames / quota.usage.fps)}`;
    $("shorter").value = frames;
  }

  function weigh() {
    const { usage } = quota;
    if (!usage) return;
    const frames = whole(usage.limits, "num_frames", Number($("num_frames").value));
    $("length").textContent = `${frames} frames, ${seconds(frames / usage.fps)}`;
    $("num_frames").setAttribute("aria-valuetext", $("length").textContent);
    $("cost").textContent = cost(usage, frames);
    const part = (value) => `${Math.min(100, (100 * value) / Math.max(usage.limitSeconds, 0.01))}%`;
    document.querySelector(".measure .used").style.width = part(usage.usedSeconds);
    document.querySelector(".measure .wanted").style.width = part(Math.min(frames / usage.fps, usage.remainingSeconds));
    const { text, shorter } = advice(usage, frames);
    if ($("advice").textContent !== text) $("advice").textContent = text;
    offer(shorter);
  }

  function size() {
    const [width, height] = $("shape").value.split("x");
    document.querySelectorAll(".size").forEach((one) => { one.hidden = Boolean(height); });
    if (height) [$("width").value, $("height").value] = [width, height];
  }

  async function send(body) {
    const text = JSON.stringify(body);
    const giveUpAt = Date.now() + TRY_FOR_MS;
    if (wish.text !== text) wish = { text, key: newKey() };
    for (let tries = 0; ; tries++) {
      const result = await api("POST", "/api/runpod", text, { "Idempotency-Key": wish.key });
      const answered = result.status !== 0 && result.status < 500;
      if (answered) wish = {};
      if (answered || Date.now() > giveUpAt) return result;
      say(`${words(result)} Trying again…`);
      await pause(Math.max(result.retryMs, Math.min(PAUSE_MAX_MS, 500 * 2 ** tries)));
    }
  }

  function hearBack(result) {
    const { ok, status, answer } = result;
    say("");
    if (status === 202) {
      expected = answer.jobId;
      say("Recorded. It is decided as soon as the ledger answers.");
      if (early.has(expected)) settle(early.get(expected));
    } else if (ok) {
      learn(answer);
    } else if (answer.details) {
      say(blame(answer.details));
    } else {
      say(words(result));
      if (status === 403 && answer.message === RESTRICTED) restricted();
    }
    quota.soon();
    if ("suggestedFrames" in answer && quota.usage) offer(answer.suggestedFrames);
  }

  function settle(job) {
    expected = null;
    say(job.state === "rejected" ? job.failure?.message ?? "The request was refused." : "");
  }

  $("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { body, wrong } = read();
    blame(wrong);
    if (wrong.length) return;
    const button = event.target.querySelector("[type=submit]");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true"); // not `disabled`, which would drop the focus
    say("");
    early = new Map();
    hearBack(await send(body));
    early = null;
    button.removeAttribute("aria-disabled");
  });
  $("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
  });
  $("shape").addEventListener("change", size);
  $("shorter").addEventListener("click", () => {
    $("num_frames").value = $("shorter").value;
    say("");
    weigh();
    $("ask").querySelector("[type=submit]").focus();
  });
  listen(weigh);
  size();

  return {
    quotaChanged(usage) {
      if (usage && !limits) limit(limits = usage.limits);
      if (usage) weigh();
      else $("cost").textContent = "What is left of the quota can’t be told at the moment.";
    },
    // An event of the user's: the decision on a wish that had only been recorded.
    decided(job) {
      early?.set(job.jobId, job);
      if (job.jobId === expected) settle(job);
    },
  };
}
