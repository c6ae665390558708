// Everything the page says about a job, as functions of the job and of what is heard of it.
export const ACTIVE = new Set(["queued", "processing"]);
export const AGAIN = new Set(["failed", "cancelled", "timed_out"]);
export const PHASES = [
  ["load", "Model", "Loading the model"],
  ["encode_prompt", "Prompt", "Reading the prompt"],
  ["denoise", "Frames", "Making the frames"],
  ["decode", "Pixels", "Turning them into pixels"],
  ["encode", "File", "Writing the video"],
  ["upload", "Store", "Storing it"],
];

export const seconds = (value) => `${value.toFixed(2)} s`;

export function span(ms) {
  const whole = Math.max(0, Math.round(ms / 1000));
  return whole < 90 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}

export function facts(job) {
  const { width, height, seed, fps } = job.request;
  return `${width} × ${height}, ${job.frames} frames (${seconds(job.frames / (fps || 24))}), seed ${seed}`;
}

export function sentence(job, { progress, place }) {
  if (job.state === "queued") return waiting(job, place);
  if (job.state === "processing") return making(progress);
  const back = job.charge?.state === "refunded" ? " Its seconds were given back." : "";
  if (job.state === "completed") {
    const took = Date.parse(job.finishedAt) - Date.parse(job.startedAt);
    return Number.isFinite(took) ? `Ready, made in ${span(took)}.` : "Ready.";
  }
  if (job.state === "cancelled") return `Cancelled.${back}`;
  const ended = job.state === "timed_out" ? "It took too long." : "It failed.";
  return `${ended} ${job.failure?.message ?? ""}${back}`.replace(/\s+/g, " ").trim();
}

function waiting(job, place) {
  if (place) return `Number ${place.place} in the queue${place.etaMs != null ? `, about ${span(place.etaMs)}` : ""}`;
  return job.tries > 1 ? `Waiting to try again (try ${job.tries})` : "Waiting for a worker";
}

function making(progress) {
  if (!progress) return "Starting";
  const doing = PHASES.find(([phase]) => phase === progress.phase)?.[2] ?? progress.phase;
  const step = progress.steps > 1 ? `, step ${progress.step} of ${progress.steps}` : "";
  const left = progress.etaMs != null ? `, about ${span(progress.etaMs)} left` : "";
  return `${doing}${step}${left}`;
}

// What of the quota a choice of frames would take, and until when that quota is.
export function cost(usage, frames) {
  const left = `${seconds(usage.remainingSeconds)} left ${until(usage)}`;
  const credits = usage.credits ? ` ${usage.credits} credits.` : "";
  return `${seconds(frames / usage.fps)} of the ${left}.${credits}`;
}

function until({ periodStart, periodEnd }) {
  const start = new Date(periodStart), end = new Date(periodEnd ?? NaN);
  if (Number.isNaN(end.getTime())) return "in this period";
  const whole = start.getUTCDate() === 1 && Date.UTC(start.getUTCFullYear(), start.getUTCMonth() + 1) === end.getTime();
  return whole ? "this month" : `until ${end.toLocaleDateString(undefined, { day: "numeric", month: "long" })}`;
}

// A warning before anything is sent; the decision is the ledger's. `shorter`: a length that fits, to be offered.
export function advice(usage, frames) {
  if (usage.suggestedFrames == null) return { text: `Nothing is left ${until(usage)}.`, shorter: null };
  if (frames > usage.suggestedFrames) {
    return { text: `${frames} frames are more than what is left.`, shorter: usage.suggestedFrames };
  }
  if (usage.active >= usage.maxActive) {
    return { text: `${usage.active} of your videos are being made, as many as may be at a time.`, shorter: null };
  }
  return { text: "", shorter: null };
}
