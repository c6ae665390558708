// What is left of the quota: asked of the gateway when something may have changed it, and again while it can't say.
import { api, pause } from "/console/api.js";

const SETTLE_MS = 300; // several events in a row are one question

export class Quota {
  usage = null;
  #show;
  #timer = null;
  #asking = false;
  #stale = false;

  // `show(usage)`; null: it can't be told now.
  constructor(show) {
    this.#show = show;
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.#stale) this.soon(); });
  }

  soon() {
    this.#stale = true;
    if (document.hidden && this.usage) return; // nobody looks; it is asked when somebody does
    this.#timer ??= setTimeout(() => { this.#timer = null; this.#ask(); }, SETTLE_MS);
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    for (let tries = 0; this.#stale; tries++) {
      this.#stale = false;
      const { ok, barred, answer, retryMs } = await api("GET", "/api/usage");
      if (ok) {
        this.usage = answer;
        this.#show(answer);
        tries = -1;
      } else if (!barred) {
        this.#stale = true;
        this.#show(null);
        await pause(Math.max(retryMs, Math.min(30000, 1000 * 2 ** tries)));
      }
    }
    this.#asking = false;
  }
}
