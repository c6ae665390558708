// The HTTP API: one call, and what a refusal means in words.
export const UNREACHABLE = "The gateway can’t be reached.";
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What stands before everything: asked when the API says that the terms of use come first; resolves to whether to go on.
export const threshold = { terms: async () => false };

// {status, ok, barred, answer, next, retryMs}. `next` is the path of the following page, if there is one; status 0: no
// answer; `barred`: nobody is let in as things are, and asking again would not help. 401, which says that the session is
// over, is also told to the window as "locked".
export async function api(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { ...(body && { "Content-Type": "application/json" }), ...headers },
      ...(body && { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    if (response.status === 401) dispatchEvent(new Event("locked"));
    const answer = await response.json().catch(() => ({}));
    const terms = response.status === 403 && answer.code === "terms_not_accepted";
    if (terms && (await threshold.terms(answer.version))) return api(method, path, body, headers);
    const barred = terms || response.status === 401;
    return { status: response.status, ok: response.ok, barred, answer, next: following(response.headers.get("Link")),
      retryMs: 1000 * (Number(response.headers.get("Retry-After")) || 0) };
  } catch {
    return { status: 0, ok: false, barred: false, answer: {}, next: null, retryMs: 0 };
  }
}

function following(link) {
  return link?.match(/<([^>]+)>\s*;\s*rel="next"/)?.[1] ?? null;
}

// What a person reads about an answer that is no success. Lines about single fields are shown beside those instead.
export function words({ status, answer }) {
  if (status === 0) return UNREACHABLE;
  const lines = [answer.error, answer.message].filter(Boolean).map((line) => (/[.!?…]$/.test(line) ? line : `${line}.`));
  return lines.join(" ") || `The gateway answered ${status}.`;
}

// Tells one wish from another; `crypto.randomUUID` is there on https and localhost only.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
