/* Moving through the queue by keyboard, and which of its alerts the other keys are about. */
"use strict";

(() => {
  let current = null;
  let at = 0;

  const rows = () => [...document.querySelectorAll(".queue tbody tr[data-id]")];

  function choose(row) {
    if (!row) return;
    current = row.dataset.id;
    at = rows().indexOf(row);
    mark();
  }

  const chosen = () => document.querySelector(".queue tr.is-current a.story");

  function mark() {
    for (const row of rows()) row.classList.toggle("is-current", row.dataset.id === current);
  }

  function move(by) {
    const all = rows();
    if (!all.length) return;
    const here = all.findIndex((row) => row.dataset.id === current);
    // A row that has gone leaves its place to the one below.
    const from = here >= 0 ? here + by : current === null ? 0 : at;
    const row = all[Math.max(0, Math.min(all.length - 1, from))];
    choose(row);
    row.querySelector("a.story").focus();
    row.scrollIntoView({ block: "nearest" });
  }

  tocsin.keys.about(() => current ?? "");
  tocsin.keys.moves((key) => {
    if (key === "j" || key === "k") move(key === "j" ? 1 : -1);
    else if (key === "/") document.getElementById("search")?.focus();
    // Where the alert's link has the focus the browser opens it; a click beside it or a dialog takes the focus away.
    else if (key === "Enter" && document.activeElement === document.body && chosen()) open(chosen().href, "_self");
    else return false;
    return true;
  });
  addEventListener("focusin", (event) => choose(event.target.closest?.(".queue tr[data-id]")));
  addEventListener("click", (event) => choose(event.target.closest?.(".queue tr[data-id]")));

  // Rows come, go and move: the mark stays with its alert, and so does the focus that a move took away.
  new MutationObserver((changes) => {
    if (!changes.some((change) => change.target.closest?.(".queue"))) return;
    const had = document.activeElement === document.body && focused;
    mark();
    if (had) document.querySelector(`.queue tr[data-id="${CSS.escape(current)}"] a.story`)?.focus();
    tocsin.tick();
  }).observe(document, { childList: true, subtree: true });
  let focused = false;
  addEventListener("focusin", (event) => (focused = Boolean(event.target.closest?.(".queue tr[data-id]"))));
  addEventListener("pointerdown", (event) => (focused = focused && Boolean(event.target.closest?.(".queue tr[data-id]"))));
})();
