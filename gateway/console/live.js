// A live connection: it keeps its position, comes back by itself, and tells what it hears to `on(frame)`.
// `status(text)` is told "live", "connecting" or, when coming back would not help, the reason. Returns a stop function.
export function connect({ url, token, jobId, on, status }) {
  let position = null, socket = null, tries = 0, timer = null, watchdog = null, stopped = false;

  const mayReconnect = (code) => code < 4500 || code > 4999;
  const send = (frame) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));

  function listen(heartbeatMs) {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => socket.close(), 2 * heartbeatMs);
  }

  function open() {
    status("connecting");
    let heartbeat = 20000;
    socket = new WebSocket(url);
    socket.onopen = () => send(token ? { type: "auth", token } : { type: "auth" });
    socket.onmessage = (message) => {
      const frame = JSON.parse(message.data);
      if (frame.type === "welcome") {
        heartbeat = frame.heartbeatMs;
        send({ type: "subscribe", ...(position && { position }), ...(jobId && { jobId }) });
      } else if (frame.type === "ping") {
        send({ type: "pong" });
      }
      if (frame.type === "snapshot" || frame.type === "resumed") {
        tries = 0;
        status("live");
      }
      on(frame);
      if (frame.position) position = frame.position; // only after it was dealt with
      listen(heartbeat);
    };
    socket.onclose = ({ code, reason }) => {
      clearTimeout(watchdog);
      if (stopped) return;
      if (!mayReconnect(code)) return status(reason || `closed (${code})`);
      status("connecting");
      const most = Math.min(15000, 250 * 2 ** tries++);
      timer = setTimeout(open, most / 2 + Math.random() * most / 2);
    };
    listen(heartbeat);
  }

  open();
  return () => { stopped = true; clearTimeout(timer); socket.close(1000); };
}
