// One video in the list: made once, brought up to date in place, so that a playing video plays on and the focus stays.
import { ACTIVE, AGAIN, PHASES, facts, sentence } from "/console/words.js";

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export class Card {
  // `actions`: cancel, retry, remove; each takes the job, and resolves to words if it did not work.
  constructor(job, actions) {
    this.job = job;
    this.item = element("li", "card");
    this.item.tabIndex = -1;
    this.stage = element("div", "stage");
    this.prompt = element("p", "prompt", job.prompt);
    this.prompt.dir = "auto";
    this.facts = element("p", "facts");
    this.now = element("p", "now");
    this.bar = element("progress");
    this.bar.max = 1;
    this.bar.setAttribute("aria-label", `Progress of: ${job.prompt}`);
    this.phases = element("ol", "phases");
    this.phases.append(...PHASES.map(([, short]) => element("li", "", short)));
    this.wrong = element("p", "wrong");
    this.wrong.setAttribute("role", "alert");
    this.cancel = this.#button("Cancel", actions.cancel);
    this.retry = this.#button("Try again", actions.retry);
    this.remove = this.#button("Delete", actions.remove);
    this.save = element("a", "quiet", "Download");
    this.save.href = `/api/videos/${encodeURIComponent(job.jobId)}/video?download=1`;
    const tools = element("div", "tools");
    tools.append(this.cancel, this.retry, this.save, this.remove);
    const text = element("div", "text");
    text.append(this.prompt, this.facts, this.now, this.bar, this.phases, tools, this.wrong);
    this.item.append(this.stage, text);
  }

  update(job, heard) {
    this.job = job;
    const active = ACTIVE.has(job.state);
    this.item.dataset.state = job.state;
    this.facts.textContent = facts(job);
    this.now.textContent = sentence(job, heard);
    this.bar.hidden = this.phases.hidden = !active;
    const progress = job.state === "processing" ? heard.progress : null;
    if (progress) this.bar.value = progress.fraction;
    else this.bar.removeAttribute("value");
    this.#mark(progress?.phase);
    this.#hide(this.cancel, !active);
    this.#hide(this.retry, !AGAIN.has(job.state));
    this.#hide(this.save, job.state !== "completed");
    this.#show(active ? heard.preview : null);
  }

  #button(text, act) {
    const made = element("button", "quiet", text);
    made.type = "button";
    made.addEventListener("click", async () => {
      if (made.getAttribute("aria-disabled") === "true") return;
      made.setAttribute("aria-disabled", "true");
      this.wrong.textContent = (await act(this.job)) ?? "";
      made.removeAttribute("aria-disabled");
    });
    return made;
  }

  // What is hidden can't keep the focus: the card takes it.
  #hide(part, hidden) {
    if (hidden && part === document.activeElement) this.item.focus();
    part.hidden = hidden;
  }

  #mark(phase) {
    const now = PHASES.findIndex(([name]) => name === phase);
    [...this.phases.children].forEach((one, place) => {
      one.className = place < now ? "done" : place === now ? "current" : "";
      if (place === now) one.setAttribute("aria-current", "step");
      else one.removeAttribute("aria-current");
    });
  }

  #show(preview) {
    const { job, stage } = this;
    const want = job.state === "completed" && job.url ? "video" : preview ? "img" : "";
    if ((stage.firstElementChild?.localName ?? "") !== want) {
      stage.replaceChildren(...(want ? [want === "video" ? this.#video() : element("img")] : []));
    }
    if (want === "img") {
      stage.firstElementChild.alt = `The video so far, after step ${preview.step} of ${preview.steps}`;
      if (stage.firstElementChild.src !== preview.image) stage.firstElementChild.src = preview.image;
    }
  }

  #video() {
    const made = element("video");
    Object.assign(made, { controls: true, loop: true, playsInline: true, preload: "none" });
    made.src = this.job.url;
    if (this.job.posterUrl) made.poster = this.job.posterUrl;
    made.setAttribute("aria-label", this.job.prompt);
    made.addEventListener("error", () => { this.now.textContent = "Ready, but its file can’t be loaded at the moment."; });
    return made;
  }
}
