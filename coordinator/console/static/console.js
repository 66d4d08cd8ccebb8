// Keeps the part of a page that changes as the server shows it, and copies commands. Every page works without it.
"use strict";
(() => {
  const live = document.getElementById("live");
  const connection = document.getElementById("connection");
  const RETRY = 3000;
  let source = null;
  let lost = false;

  function say(text) {
    connection.textContent = text;
    connection.hidden = !text;
  }

  function show(html) {
    Idiomorph.morph(live, html, {
      morphStyle: "innerHTML",
      callbacks: { beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS") },
    });
    offerCopies();
  }

  function connect() {
    source = new EventSource(location.pathname + location.search);
    source.onopen = () => {
      if (lost) {
        say("Connected again.");
        setTimeout(() => lost || say(""), RETRY);
      }
      lost = false;
    };
    source.addEventListener("view", (event) => show(JSON.parse(event.data)));
    source.addEventListener("over", () => source.close());
    source.onerror = () => {
      lost = true;
      say("The connection is lost. This page shows what was known then, and connects again by itself.");
      if (source.readyState === EventSource.CLOSED) setTimeout(look, RETRY);
    };
  }

  // The server answered, but not with a stream: the session may be over, or the page gone.
  async function look() {
    try {
      const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect" || answer.status === 404) return location.reload();
    } catch {
      // it is away still
    }
    if (!document.hidden) connect();
  }

  function offerCopies() {
    if (!navigator.clipboard) return;
    for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    say("Copied.");
    setTimeout(() => lost || say(""), RETRY);
  });

  offerCopies();
  if (live && "watched" in live.dataset) {
    connect();
    // A browser keeps six connections to a server: a tab that nobody sees needs none.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) source.close();
      else if (source.readyState === EventSource.CLOSED) connect();
    });
  }
})();
