// What is known of the videos: documents, newest version only, and what is heard of those that are being made.
// `draw(jobId)` is called whenever one of them looks different, or is gone.
import { ACTIVE } from "/console/words.js";

const HIDDEN = new Set(["deleted", "rejected"]);
const order = (job) => `${job.createdAt} ${job.jobId}`;

export class Jobs {
  #documents = new Map();
  #versions = new Map(); // of those that are gone too: an old answer must not bring them back
  #heard = new Map();
  #oldest = "\uffff"; // nothing older is shown until it is asked for, nor before the first page; null: all of it is
  #draw;

  constructor(draw) {
    this.#draw = draw;
  }

  get ids() { return [...this.#documents.keys()]; }
  get(jobId) { return this.#documents.get(jobId); }
  heard(jobId) { return this.#heard.get(jobId) ?? {}; }

  // The job after which, newest first, this one is shown.
  nextOlder(job) {
    const older = [...this.#documents.values()].filter((other) => order(other) < order(job));
    return older.reduce((best, other) => (best && order(best) > order(other) ? best : other), null)?.jobId;
  }

  // A document from wherever: an older version than the known one changes nothing.
  learn(job) {
    if ((this.#versions.get(job.jobId) ?? 0) >= job.version) return false;
    const known = this.#documents.get(job.jobId);
    if (!known && this.#oldest && order(job) < this.#oldest && !ACTIVE.has(job.state)) return false;
    this.#versions.set(job.jobId, job.version);
    if (!ACTIVE.has(job.state) || known?.attempt !== job.attempt) this.#heard.delete(job.jobId);
    if (HIDDEN.has(job.state)) this.#documents.delete(job.jobId);
    else this.#documents.set(job.jobId, job);
    this.#draw(job.jobId);
    return true;
  }

  // A page of the list. With `known` (the ids at the time it was asked for) it is the whole list as far as it is shown:
  // those of them that it does not have are gone, or older and held back again.
  list(rows, more, known = []) {
    const last = rows.length ? order(rows.at(-1)) : "";
    this.#oldest = more ? last : null;
    const there = new Set(rows.map((row) => row.jobId));
    for (const jobId of known) {
      const job = this.#documents.get(jobId);
      const older = more && job && order(job) < last;
      if (job && !there.has(jobId) && !(older && ACTIVE.has(job.state))) this.#forget(jobId);
    }
    rows.forEach((row) => this.learn(row));
  }

  // "progress", "preview" or "place" of an attempt.
  hear(kind, data) {
    const job = this.#documents.get(data.jobId);
    if (!job || !ACTIVE.has(job.state) || data.attempt < job.attempt) return;
    this.#heard.set(data.jobId, { ...this.#heard.get(data.jobId), [kind]: data });
    this.#draw(data.jobId);
  }

  #forget(jobId) {
    this.#documents.delete(jobId);
    this.#versions.delete(jobId);
    this.#heard.delete(jobId);
    this.#draw(jobId);
  }
}
