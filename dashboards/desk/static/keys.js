/* Single keys, for every page that names some: one guard for all, and the switch that turns them off (WCAG 2.1.4).
   A page names its keys in <meta name="desk-keys">; they go to the desk as "desk_key" with the alert they are about. */
"use strict";

tocsin.keys = (() => {
  const root = document.documentElement;
  const moves = [];
  let about = () => "";

  const on = () => !/(?:^|;\s*)tocsin_keys=off(?:;|$)/.test(document.cookie);

  function show() {
    root.dataset.keys = on() ? "on" : "off";
    document.getElementById("keys")?.setAttribute("aria-pressed", String(on()));
  }

  function toggle() {
    document.cookie = `tocsin_keys=${on() ? "off" : "on"}; path=/; max-age=31536000; samesite=lax`;
    show();
  }

  // A button that has just been pressed keeps the focus: that must not make the keys dead.
  function busy(target) {
    const typing = "input:not([type=checkbox]), select, textarea, [contenteditable]";
    return Boolean(target?.closest?.(typing) || document.querySelector(".q-dialog, .q-menu"));
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target.id === "search") event.target.blur();
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || !on() || busy(event.target)) return;
    const asked = document.querySelector("meta[name=desk-keys]")?.content ?? "";
    if (event.key.length === 1 && asked.includes(event.key)) {
      if (!event.repeat) emitEvent("desk_key", { key: event.key, id: about() });
    } else if (!moves.some((move) => move(event.key))) return;
    event.preventDefault();
  });
  addEventListener("click", (event) => {
    if (event.target.closest?.("#keys")) toggle();
  });
  show();

  return {
    /** `move(key)` is asked about keys that are the browser's business; it says whether it took the key. */
    moves: (move) => moves.push(move),
    /** `call()` gives the id of the alert that keys are about. */
    about: (call) => (about = call),
  };
})();
