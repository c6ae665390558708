// A live connection to OpenV: every event once and in order, whatever happens to the network or to the gateway.
//
//   import { connect } from "https://openv.example.org/console/live.js";
//   const stop = connect({
//     url: "wss://openv.example.org/ws",
//     token: (later) => session.getToken({ skipCache: later }), // asked at each connect, and when the token runs out
//     on: (frame) => show(frame), // snapshot, resumed, event, progress, preview, place, and those of the connection
//     status: (state, reason, code) => tell(state, reason), // "connecting", "live"; "closed": it will not come back
//   });
//
// `token`: a key, a session token or a ticket, or a function that returns (a promise of) one; left out, the page's
// cookie counts. `jobId`: one job only. `position`, `onposition(text)`: where to go on, for who keeps that over a reload.
// `previews`: "binary" (the frame's `data.image` is a URL, good until the job's next preview or end), "json"
// (`data.jpeg`, base64) or "none". A frame counts as dealt with, and the position moves on, when `on` returns. The
// frames are described in /asyncapi.json.
// A picture may be here before the word that its job runs: it goes with the next one, or when the job has ended.
const QUIET_MS = 20000, PROBE_MS = 5000, PAUSE_MS = 500, PAUSE_MOST_MS = 20000, RUNS = ["queued", "processing"];

export function connect({ url, token, jobId, position, previews = "binary", on, onposition, status = () => {} }) {
  let socket = null, heartbeat = 0, tries = 0, pause = null, watchdog = null;
  const versions = new Map(), images = new Map(); // by job: what was told last, and what is shown
  const over = new AbortController();
  const send = (one, frame) => one === socket && one.readyState === WebSocket.OPEN && one.send(JSON.stringify(frame));
  const watch = (ms) => { clearTimeout(watchdog); watchdog = setTimeout(lost, ms); };

  function open() {
    const one = socket = new WebSocket(url);
    one.binaryType = "arraybuffer";
    one.onopen = () => authenticate(one, false).catch(() => one === socket && lost());
    one.onmessage = ({ data }) => hear(one, typeof data === "string" ? JSON.parse(data) : unpack(data));
    one.onclose = ({ code, reason }) => lost(code, reason);
    heartbeat = 0;
    watch(QUIET_MS);
  }
  async function authenticate(one, later) {
    const given = typeof token === "function" ? await token(later) : token;
    send(one, { type: "auth", ...(token && { token: given ?? "" }) });
  }
  function unpack(buffer) {
    const length = new DataView(buffer).getUint32(0);
    const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    frame.data.image = URL.createObjectURL(new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
    return frame;
  }
  function hear(one, frame) {
    const { type, data, jobs } = frame, first = !heartbeat;
    if (type === "welcome") heartbeat = frame.heartbeatMs;
    watch(2 * heartbeat || QUIET_MS);
    if (type === "welcome" && first) send(one, { type: "subscribe", position, jobId, previews });
    if (type === "expiring" && token) authenticate(one, true).catch(() => {}); // then with the next connection
    if (type === "ping") { tries = 0; send(one, { type: "pong" }); }
    if (type === "event" && data.version <= versions.get(data.jobId)) return;
    if (jobs) { versions.clear(); jobs.forEach((job) => versions.set(job.jobId, job.version)); }
    if (type === "event") versions.set(data.jobId, data.version);
    const changes = data?.image || (type === "event" && !RUNS.includes(data.state));
    if (changes) { URL.revokeObjectURL(images.get(data.jobId)); images.set(data.jobId, data.image); }
    if (type === "snapshot" || type === "resumed") status("live");
    on(frame);
    if (frame.position) onposition?.(position = frame.position);
  }
  function lost(code, reason) {
    drop();
    if (code >= 4500 && code <= 4999) return stop("closed", reason || `closed (${code})`, code);
    pause = setTimeout(open, Math.random() * Math.min(PAUSE_MOST_MS, PAUSE_MS * 2 ** tries++));
    status("connecting"); // last: it may stop everything
  }
  function drop() {
    [pause, watchdog].forEach(clearTimeout);
    if (socket) Object.assign(socket, { onopen: null, onmessage: null, onclose: null }).close();
    socket = null;
  }
  function wake() { // whoever looks again, or is on the net again, does not wait for a timer
    if (globalThis.document?.hidden) return;
    if (!socket) { clearTimeout(pause); open(); }
    else if (heartbeat) { send(socket, { type: "ping" }); watch(PROBE_MS); }
  }
  function stop(...words) {
    drop();
    over.abort();
    images.forEach((image) => URL.revokeObjectURL(image));
    if (words.length) status(...words);
  }
  globalThis.addEventListener?.("online", wake, over);
  globalThis.document?.addEventListener("visibilitychange", wake, over);
  status("connecting");
  open();
  return () => stop();
}
