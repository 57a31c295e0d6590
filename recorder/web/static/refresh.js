// Keeps a part of a page fresh: <div id="..." data-refresh="/monitoring?part=live" data-every="1">. The server renders
// it, one request for everything; a page without script shows the same, as it was when it was loaded.
//
// Ages, <span data-age="12.5">, are computed by the server and ticked by the monotonic clock, so that a wrong clock of
// this machine shows no wrong age.

import { banner, writeTimes } from "./base.js";

const STALE_MS = 2500;
const ANSWER_MS = 2000;

export function ageText(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

class Part {
  constructor(element) {
    this.element = element;
    this.everyMs = 1000 * Number(element.dataset.every || 1);
    this.loaded = performance.now();
    this.answered = this.loaded; // of the last success
    this.running = false;
    this.refreshes = 0;
    this.problem = "";
    this.tick();
  }

  async refresh() {
    if (this.running || document.hidden) return;
    this.running = true;
    try {
      const url = new URL(this.element.dataset.refresh, location.href);
      for (const [name, value] of new URLSearchParams(location.search)) if (name !== "part") url.searchParams.set(name, value);
      const answer = await fetch(url, { credentials: "same-origin", signal: AbortSignal.timeout(ANSWER_MS) });
      if (answer.status === 401 || answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      this.replace(await answer.text());
      this.answered = performance.now();
      this.refreshes += 1;
      this.problem = "";
    } catch (error) {
      this.problem = error.name === "TimeoutError" ? "no answer in time" : error.message;
    } finally {
      this.running = false;
    }
  }

  replace(html) {
    const { element } = this;
    const open = new Set([...element.querySelectorAll("details[open][id]")].map((one) => one.id));
    const scrolled = new Map([...element.querySelectorAll(".scroll[id]")].map((one) => [one.id, [one.scrollLeft, one.scrollTop]]));
    const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
    if (!getSelection().isCollapsed && element.contains(getSelection().anchorNode)) return; // somebody copies text
    element.innerHTML = html;
    this.loaded = performance.now();
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, [left, top]] of scrolled) document.getElementById(id)?.scrollTo(left, top);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    writeTimes(element);
    this.tick();
  }

  tick() {
    const passed = (performance.now() - this.loaded) / 1000;
    for (const one of this.element.querySelectorAll("[data-age]")) one.textContent = ageText(Number(one.dataset.age) + passed);
  }
}

const parts = [...document.querySelectorAll("[data-refresh]")].map((element) => new Part(element));

function step() {
  let silent = 0;
  for (const part of parts) {
    part.tick();
    const since = performance.now() - part.answered;
    if (document.hidden) part.answered += Math.max(0, since - part.everyMs); // nothing was asked meanwhile
    else if (since >= part.everyMs) part.refresh();
    silent = Math.max(silent, performance.now() - part.answered);
  }
  const text = `This page was not refreshed for ${Math.round(silent / 1000)} s. What is shown may be old.`;
  banner("live", silent > STALE_MS, text);
}

document.addEventListener("visibilitychange", step);
// Copies the command beside a problem.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy).catch(() => undefined);
  button.textContent = "copied";
});
if (parts.length) setInterval(step, 500);
window.tapedeck = { ...window.tapedeck, refresh: parts };
