// A voucher, for an account that may look but not make videos yet.
import { api, words } from "/console/api.js";

const $ = (id) => document.getElementById(id);

// `redeemed()`: from now on videos can be made.
export function voucher(redeemed) {
  // Whether the account may make videos now; unknown counts as not yet.
  async function mayMake() {
    const { ok, answer } = await api("GET", "/api/voucher");
    return ok && answer.role !== "restricted";
  }

  function show(wanted) {
    $("redeem").hidden = !wanted;
    if (wanted) $("redeem-done").textContent = "";
  }

  $("redeem").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("[type=submit]"), code = $("voucher").value.trim();
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    const result = await api("PUT", "/api/voucher", { code });
    const done = result.status === 200 || (await mayMake()); // it may have been counted before, or by another tab
    button.removeAttribute("aria-disabled");
    $("voucher").toggleAttribute("aria-invalid", !result.ok);
    $("redeem-answer").textContent = done ? "" : words(result);
    if (!done) return $("voucher").focus();
    show(false);
    $("redeem-done").textContent = "The voucher counts. You can make videos now.";
    $("answer").textContent = "";
    $("prompt").focus();
    redeemed();
  });

  return {
    // Once at the start: is there a need for one?
    async look() {
      const { ok, answer } = await api("GET", "/api/voucher");
      if (ok) show(answer.role === "restricted");
    },
    // A wish was refused for want of one.
    offer() {
      show(true);
      $("voucher").focus();
    },
  };
}
