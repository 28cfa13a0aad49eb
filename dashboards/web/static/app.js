// Keeps what is shown fresh. Everything on these pages also works without it.
"use strict";

const EVERY_MS = 2000;
const page = document.body.dataset.page;
const state = document.getElementById("state");

document.documentElement.classList.add("scripted");

function clock() {
  return new Date().toISOString().slice(11, 19) + " UTC";
}

function say(text, kind) {
  state.textContent = text;
  state.className = "state " + kind;
}

function ageOf(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= size) return Math.floor(seconds / size) + " " + unit;
  }
  return seconds + " s";
}

function showAges() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = ageOf(Date.now() - Date.parse(time.dateTime));
    if (time.textContent !== text) time.textContent = text;
  }
}

// Calls work() again and again, EVERY_MS after it ended, and not while the page is hidden.
async function repeat(work) {
  for (;;) {
    await new Promise((resume) => setTimeout(resume, EVERY_MS));
    if (!document.hidden) await work();
  }
}

async function ask(url, tag) {
  const headers = tag ? { "If-None-Match": tag } : {};
  return fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
}

function watchList() {
  const rows = document.getElementById("rows");
  const table = rows.closest("table");
  const filters = document.getElementById("filters");
  let tag = null;
  filters.addEventListener("change", () => filters.requestSubmit());

  const idOf = (row) => row.dataset.id + "";
  const ids = () => new Set([...rows.querySelectorAll("tr[data-id]")].map(idOf));

  function replace(html) {
    const before = ids();
    const focused = document.activeElement.closest?.("tr[data-id]")?.dataset.id;
    rows.innerHTML = html;  // made and escaped by the server
    const now = [...rows.querySelectorAll("tr[data-id]")];
    const fresh = now.filter((row) => !before.has(idOf(row)));
    for (const row of fresh) row.classList.add("new");
    if (focused) now.find((row) => idOf(row) === focused)?.querySelector("a")?.focus({ preventScroll: true });
    document.getElementById("count").textContent = now.length;
    document.title = document.title.replace(/^\d+/, now.length);
    if (fresh.length) {
      const first = fresh[0].querySelector(".story").textContent;
      document.getElementById("news").textContent =
        fresh.length === 1 ? "New alert: " + first : fresh.length + " new alerts. The newest: " + first;
    }
  }

  repeat(async () => {
    try {
      const answer = await ask("/rows" + location.search, tag);
      if (answer.status === 200) {
        const first = tag === null;
        tag = answer.headers.get("ETag");
        const html = await answer.text();
        if (!first || html.trim() !== rows.innerHTML.trim()) replace(html);
      } else if (answer.status !== 304) {
        throw new Error("status " + answer.status);
      }
      table.classList.remove("stale");
      say("Live, looked at " + clock(), "fresh");
    } catch {
      table.classList.add("stale");
      say("The store does not answer; what is shown may be old. Trying again.", "away");
    }
    showAges();
  });
}

function watchAlert() {
  const { id, version } = document.body.dataset;
  let tag = null;
  repeat(async () => {
    try {
      const answer = await ask("/api/alerts/" + encodeURIComponent(id), tag);
      if (answer.status === 200) {
        tag = answer.headers.get("ETag");
        const record = await answer.json();
        if (String(record.version) !== version) document.getElementById("changed").hidden = false;
      } else if (answer.status !== 304) {
        throw new Error("status " + answer.status);
      }
      say("Live, looked at " + clock(), "fresh");
    } catch {
      say("The store does not answer; what is shown may be old. Trying again.", "away");
    }
  });
}

function waitForStore() {
  repeat(async () => {
    try {
      const health = await (await ask("/health", null)).json();
      if (health.clickhouse === "ok") location.reload();
      say("Tried at " + clock(), "away");
    } catch {
      say("The page's own server does not answer; trying again.", "away");
    }
  });
}

const watch = { list: watchList, alert: watchAlert, away: waitForStore }[page];
if (watch) watch();
