// What pages do beyond reading: look again when they are told, or every two seconds; keys, choosing rows, copying, light and dark.
"use strict";

(() => {
  const EVERY = 2000;
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector, within = document) => within.querySelector(selector);

  // light and dark: before anything is painted

  const shades = { light: "dark", dark: "light" };
  const kept = localStorage.getItem("worksong.shade");
  if (kept in shades) root.dataset.shade = kept;

  function turnShade() {
    const now = root.dataset.shade || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.shade = shades[now];
    localStorage.setItem("worksong.shade", shades[now]);
  }

  // live: the page asks for itself, and what differs is changed in place

  let stopped = sessionStorage.getItem("worksong.still") === "yes";

  const chosen = () => all("#live input[name=id]:checked");
  const isTyping = () => document.activeElement.matches("#live input[name=per_minute]");
  const isRead = () => chosen().length > 0 || String(getSelection()).length > 0 || isTyping() || one("dialog[open]") !== null;

  function look() {
    const live = one("#live");
    if (live.dataset.hxGet && window.htmx) window.htmx.trigger(live, "look");
  }

  function isMeant() {
    return !stopped && !document.hidden && !isRead();
  }

  // told: the server says when something has changed; where it does not, the clock does

  let told = null;
  let missed = false;

  function listen() {
    if (told) told.close();
    told = null;
    const { changes, hxGet } = one("#live").dataset;
    if (!changes || !hxGet || stopped || document.hidden) return;
    told = new EventSource(changes);
    told.addEventListener("look", () => (isMeant() ? look() : (missed = true)));
  }

  function tick() {
    tell();
    const hears = told && told.readyState === EventSource.OPEN;
    if (!isMeant() || (hears && !missed)) return;
    missed = false;
    look();
  }

  function tell(state) {
    const pulse = one("#pulse");
    const is = state || (pulse.dataset.is === "away" ? "away" : "live");
    pulse.dataset.is = stopped || chosen().length ? "still" : is;
    pulse.textContent = { live: "live", still: "still", away: "away" }[pulse.dataset.is];
    pulse.setAttribute("aria-pressed", String(stopped));
  }

  function turnLive() {
    stopped = !stopped;
    sessionStorage.setItem("worksong.still", stopped ? "yes" : "no");
    missed = !stopped;
    listen();
    tell();
  }

  // charts: the point under the pointer says what it shows; a page that is written anew does not forget where that is

  let pointed = null;

  function point(chart, share) {
    const points = JSON.parse(chart.dataset.points);
    const place = Math.max(0, Math.min(points.length - 1, Math.floor(share * points.length)));
    const output = one("output", chart);
    output.textContent = points[place];
    output.hidden = false;
    const x = ((place + 0.5) * 600) / points.length;
    one("svg .cursor", chart).setAttribute("d", `M${x} 0V120`);
    pointed = { id: one("title", chart).id, share };
  }

  function leave(chart) {
    one("output", chart).hidden = true;
    one("svg .cursor", chart).setAttribute("d", "");
    pointed = null;
  }

  function follow(event) {
    const drawn = event.target.closest("svg.chart");
    if (drawn) {
      const { left, width } = drawn.getBoundingClientRect();
      point(drawn.closest("figure"), (event.clientX - left) / width);
    } else if (pointed) all("figure.chart").forEach(leave);
  }

  function pointAgain() {
    const title = pointed && document.getElementById(pointed.id);
    if (title) point(title.closest("figure"), pointed.share);
  }

  // choosing rows

  function choose() {
    const bar = one(".bar-acts");
    if (!bar) return;
    const count = chosen().length;
    bar.classList.toggle("busy", count > 0);
    one("[data-chosen]").textContent = count ? `${count} chosen` : "Choose jobs";
    const every = one("[data-all]");
    every.hidden = false;
    every.checked = count > 0 && count === all("#live input[name=id]").length;
    all("button", bar).forEach((button) => (button.disabled = count === 0));
    tell();
  }

  // the search suggests how its last word may go on, whatever stands before it

  let words = null;

  function suggest() {
    const field = one("#q");
    if (!field || document.activeElement !== field) return;
    const options = [...field.list.options];
    const open = field.value.split('"').length % 2 === 0;
    const before = open ? null : field.value.slice(0, field.value.lastIndexOf(" ") + 1);
    if (before === null || field.list.dataset.before === before) return;
    if (field.list.dataset.before === undefined) words = options.map((option) => option.value);
    field.list.dataset.before = before;
    field.list.replaceChildren(...words.map((word) => new Option("", before + word)));
  }

  // keys

  const places = {};
  let going = 0;

  function walk(step) {
    const rows = all("tr[data-row]");
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("here") || row.contains(document.activeElement));
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + step))] || rows[0];
    rows.forEach((row) => row.classList.toggle("here", row === next));
    next.scrollIntoView({ block: "nearest" });
    (next.querySelector("a") || next).focus({ preventScroll: true });
  }

  function pick() {
    const box = one("tr.here input[name=id], tr:focus-within input[name=id]");
    if (box) box.click();
  }

  const keys = {
    "?": () => one("#keys").showModal(),
    "/": () => (one("#q") ? one("#q").focus() : location.assign(places.j)),
    ArrowDown: () => walk(1), n: () => walk(1),
    ArrowUp: () => walk(-1), p: () => walk(-1),
    x: pick, u: look, t: turnShade,
    g: () => (going = Date.now()),
  };

  function press(event) {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || one("dialog[open]")) return;
    const gone = Date.now() - going < 1500 && places[event.key];
    const act = gone ? () => location.assign(gone) : keys[event.key];
    going = 0;
    if (!act) return;
    if (event.target.closest("pre") && event.key.startsWith("Arrow")) return;
    event.preventDefault();
    act();
  }

  // what was opened stays open when the page is written anew

  const opened = new Set();

  function keep(details) {
    if (details.open) opened.add(details.id);
    else opened.delete(details.id);
  }

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  }

  function dress() {
    suggest();
    opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    all("[data-copy]").forEach((button) => (button.hidden = !button.dataset.copy));
    pointAgain();
    choose();
  }

  document.addEventListener("DOMContentLoaded", () => {
    all("nav a[data-key]").forEach((link) => (places[link.dataset.key] = link.href));
    ["pulse", "shade", "help"].forEach((id) => (document.getElementById(id).hidden = false));
    one("#pulse").hidden = !one("#live").dataset.hxGet;
    one("#pulse").addEventListener("click", turnLive);
    one("#shade").addEventListener("click", turnShade);
    one("#help").addEventListener("click", keys["?"]);
    one("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    dress();
    listen();
    setInterval(tick, EVERY);
  });
  document.addEventListener("visibilitychange", () => {
    missed = true;
    listen();
  });
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerdown", follow);
  document.addEventListener("keydown", press);
  document.addEventListener("input", (event) => event.target.id === "q" && suggest());
  document.addEventListener("focusin", (event) => event.target.id === "q" && suggest());
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-all]")) {
      all("#live input[name=id]").forEach((box) => (box.checked = event.target.checked));
    }
    choose();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("toggle", (event) => event.target.matches("#live details[id]") && keep(event.target), true);
  document.addEventListener("htmx:after:swap", () => {
    dress();
    tell(one("#live .unavailable") ? "away" : "live");
  });
  document.addEventListener("htmx:error", () => tell("away"));
})();
