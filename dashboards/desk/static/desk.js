/* What the browser does by itself on every page: the alarm, its switch, and the count in the title. */
"use strict";

window.tocsin = (() => {
  const root = document.documentElement;
  const sound = new Audio("/static/alarm.wav");
  let plain = document.title;

  function wanted() {
    return localStorage.getItem("tocsin.sound") === "on";
  }

  function show() {
    const held = wanted() && navigator.userActivation && !navigator.userActivation.hasBeenActive;
    root.dataset.sound = wanted() ? (held ? "blocked" : "on") : "off";
    document.getElementById("sound")?.setAttribute("aria-pressed", String(wanted()));
  }

  function alarm() {
    if (!wanted()) return;
    sound.currentTime = 0;
    sound.play().catch(() => (root.dataset.sound = "blocked"));
  }

  function toggleSound() {
    localStorage.setItem("tocsin.sound", wanted() ? "off" : "on");
    show();
    alarm();
  }

  function count(urgent) {
    plain = document.title.replace(/^\(\d+\) /, "");
    document.title = urgent > 0 ? `(${urgent}) ${plain}` : plain;
  }

  // Ages run by the desk's clock: a workstation's may be wrong.
  let ahead = 0;
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function words(seconds) {
    const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
    return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
  }

  function tick() {
    const now = (Date.now() + ahead) / 1000;
    for (const time of document.querySelectorAll("time.age, time.left")) {
      const then = Date.parse(time.dateTime) / 1000;
      const text = time.className.includes("age") ? words(now - then) : `${words(then - now)} left`;
      if (time.textContent !== text) time.textContent = text;
      if (!time.title) time.title = new Date(then * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
    }
  }

  function clock(milliseconds) {
    ahead = milliseconds - Date.now();
    tick();
  }

  // The menu of the header goes as menus do: with Escape, or when one looks elsewhere.
  function fold(event) {
    const menu = document.querySelector(".desk-more[open]");
    if (!menu || (event.key ? event.key !== "Escape" : menu.contains(event.target))) return;
    if (event.key && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }

  addEventListener("click", (event) => {
    if (event.target.closest?.("#sound")) toggleSound();
  });
  for (const leave of ["keydown", "focusin", "pointerdown"]) addEventListener(leave, fold);
  setInterval(tick, 1000);
  for (const gesture of ["keydown", "pointerup"]) addEventListener(gesture, () => setTimeout(show), true);
  addEventListener("storage", show);
  // The button is made by the framework, some time after this file is read.
  new MutationObserver((_, observer) => {
    if (!document.getElementById("sound")) return;
    observer.disconnect();
    show();
  }).observe(root, { childList: true, subtree: true });

  return { alarm, count, clock, tick };
})();
