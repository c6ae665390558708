// The list of videos: newest first, a page at a time, kept as the gateway has it.
import { api, pause, words } from "/console/api.js";
import { Card } from "/console/card.js";
import { Jobs } from "/console/jobs.js";

const PAGE = 12, MOST = 500;
const $ = (id) => document.getElementById(id);

export class List {
  #actions;
  #cards = new Map();
  #next = null; // the path of the following page
  #turn = Promise.resolve(); // one page at a time
  #read = false;

  constructor(actions) {
    this.#actions = actions;
    this.jobs = new Jobs((jobId) => this.#draw(jobId));
    $("more").addEventListener("click", () => { this.#turn = this.#turn.then(() => this.#more()); });
  }

  // Bring all that is shown up to date; tried until it works.
  reload() {
    this.#turn = this.#turn.then(() => this.#reload());
  }

  async #reload() {
    for (let tries = 0; ; tries++) {
      const known = this.jobs.ids;
      const limit = Math.min(MOST, Math.max(PAGE, known.length));
      const result = await api("GET", `/api/videos?limit=${limit}`);
      if (result.ok) return this.#take(result, known);
      if (result.barred) return;
      $("trouble").textContent = `${words(result)} The list is read again soon.`;
      await pause(Math.max(result.retryMs, Math.min(15000, 500 * 2 ** tries)));
    }
  }

  async #more() {
    if (!this.#next) return;
    const url = new URL(this.#next, location.href);
    url.searchParams.set("limit", PAGE);
    const result = await api("GET", url.pathname + url.search);
    if (!result.ok) { $("trouble").textContent = words(result); return; }
    const focused = document.activeElement === $("more");
    this.#take(result);
    if (focused && result.answer.length) this.#cards.get(result.answer[0].jobId)?.item.focus();
  }

  #take({ answer, next }, known) {
    $("trouble").textContent = "";
    this.#read = true;
    this.#next = next;
    this.jobs.list(answer, Boolean(next), known);
    $("more").hidden = !next;
    this.#empty();
  }

  #draw(jobId) {
    const job = this.jobs.get(jobId);
    let card = this.#cards.get(jobId);
    if (!job) {
      if (card) this.#drop(jobId, card);
    } else {
      if (!card) {
        card = new Card(job, this.#actions);
        this.#cards.set(jobId, card);
        $("videos").insertBefore(card.item, this.#cards.get(this.jobs.nextOlder(job))?.item ?? null);
      }
      card.update(job, this.jobs.heard(jobId));
    }
    this.#empty();
  }

  #drop(jobId, card) {
    const near = card.item.nextElementSibling ?? card.item.previousElementSibling ?? $("videos-title");
    if (card.item.contains(document.activeElement)) near.focus();
    card.item.remove();
    this.#cards.delete(jobId);
  }

  #empty() {
    $("none").hidden = !this.#read || this.#cards.size > 0;
  }
}
