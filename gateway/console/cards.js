// One video in the list: made once, brought up to date in place, so that a playing video keeps playing.
const PHASES = { load: "loading the model", encode_prompt: "reading the prompt", denoise: "making the frames",
  decode: "turning them into pixels", encode: "writing the video", upload: "storing it" };
const STATES = { queued: "waiting", processing: "being made", completed: "ready", failed: "failed",
  cancelled: "cancelled", timed_out: "took too long" };
const ACTIVE = new Set(["queued", "processing"]);

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function button(text, act) {
  const made = element("button", "quiet", text);
  made.type = "button";
  made.addEventListener("click", async () => {
    made.disabled = true;
    await act();
    made.disabled = false;
  });
  return made;
}

const seconds = (ms) => {
  const whole = Math.max(0, Math.round(ms / 1000));
  return whole < 90 ? `${whole} s` : `${Math.round(whole / 60)} min`;
};

export function card(job, actions) {
  const item = element("li", "card");
  const stage = element("div", "stage");
  const text = element("div", "text");
  text.append(element("p", "prompt", job.prompt), element("p", "facts"), element("p", "now"));
  const bar = element("progress", "bar");
  bar.max = 1;
  bar.setAttribute("aria-label", "progress");
  const tools = element("div", "tools");
  const cancel = button("Cancel", () => actions.cancel(job.jobId));
  const retry = button("Try again", () => actions.retry(job.jobId));
  const save = element("a", "quiet", "Download");
  save.href = `/api/videos/${job.jobId}/video?download=1`;
  tools.append(cancel, retry, save, button("Delete", () => actions.remove(job.jobId)));
  text.append(bar, tools);
  item.append(stage, text);
  item.parts = { stage, bar, cancel, retry, save,
    facts: text.querySelector(".facts"), now: text.querySelector(".now") };
  return item;
}

export function updateCard(item, job, { progress, preview, place }) {
  const { stage, bar, cancel, retry, save, facts, now } = item.parts;
  const active = ACTIVE.has(job.state);
  item.dataset.state = job.state;
  facts.textContent = `${job.request.width} × ${job.request.height}, ${job.frames} frames, seed ${job.request.seed}`;
  now.textContent = sentence(job, active ? progress : null, active ? place : null);
  bar.hidden = !active;
  if (active && progress && job.state === "processing") bar.value = progress.fraction;
  else bar.removeAttribute("value");
  cancel.hidden = !active;
  retry.hidden = !["failed", "cancelled", "timed_out"].includes(job.state);
  save.hidden = job.state !== "completed";
  show(stage, job, active ? preview : null);
}

function sentence(job, progress, place) {
  if (job.state === "queued") {
    if (place) return `number ${place.place} in the queue${place.etaMs != null ? `, about ${seconds(place.etaMs)}` : ""}`;
    return job.tries > 1 ? `waiting to try again (try ${job.tries})` : STATES.queued;
  }
  if (progress) {
    const step = progress.steps > 1 ? `, step ${progress.step} of ${progress.steps}` : "";
    const left = progress.etaMs != null ? `, ${seconds(progress.etaMs)} left` : "";
    return `${PHASES[progress.phase] || progress.phase}${step}${left}`;
  }
  const state = STATES[job.state] || job.state;
  return job.failure && job.state !== "cancelled" ? `${state}: ${job.failure.message}` : state;
}

function show(stage, job, preview) {
  const want = job.state === "completed" && job.url ? "video" : preview ? "img" : "";
  const there = stage.firstElementChild;
  if ((there?.localName || "") !== want) {
    stage.replaceChildren();
    if (want) {
      const made = stage.appendChild(element(want));
      if (want === "video") {
        Object.assign(made, { controls: true, loop: true, playsInline: true, preload: "none", src: job.url });
        if (job.posterUrl) made.poster = job.posterUrl;
      } else {
        made.alt = "what the video looks like so far";
      }
    }
  }
  if (want === "img") stage.firstElementChild.src = `data:image/jpeg;base64,${preview.jpeg}`;
}
