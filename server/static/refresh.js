// Fetches the page again every few seconds and puts its <main> in place of the one shown.
// The page works without this; a failure leaves it as it is until the next time.
"use strict";
(() => {
  const EVERY_MS = 5000;
  const TIMEOUT_MS = 4000;

  async function refresh() {
    if (document.hidden || document.activeElement?.closest("main")) return;
    const answer = await fetch(location.pathname, {
      headers: { "X-Background": "1" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.redirected) {
      location.assign(answer.url); // the session has ended
      return;
    }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    const shown = document.querySelector("main");
    if (!fresh) return;
    const scrolled = shown.querySelector(".scroll")?.scrollTop ?? 0;
    shown.replaceWith(fresh);
    const table = fresh.querySelector(".scroll");
    if (table) table.scrollTop = scrolled;
  }

  async function loop() {
    try {
      await refresh();
    } catch (error) {
      console.warn("the page could not be refreshed:", error);
    }
    setTimeout(loop, EVERY_MS);
  }

  setTimeout(loop, EVERY_MS);
})();
