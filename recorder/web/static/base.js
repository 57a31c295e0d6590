// What every page does: theme, time zone, keys, and the banners that say when something is away.
//
// Times are <time datetime="RFC 3339">; only their text changes with the zone. Other modules import from here.

const PULSE_MS = 500;
const ANSWER_MS = 2000;
const root = document.documentElement;

export const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

export const localTimes = () => localStorage.getItem("zone") === "local";

// Returns an instant as text in the chosen zone, with the zone.
export function timeText(at, withDate = true) {
  const date = at instanceof Date ? at : new Date(at);
  if (Number.isNaN(date.getTime())) return "";
  if (!localTimes()) return `${date.toISOString().slice(withDate ? 0 : 11, 19).replace("T", " ")} UTC`;
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZoneName: "short" };
  return date.toLocaleString("sv-SE", withDate ? { year: "numeric", month: "2-digit", day: "2-digit", ...options } : options);
}

// Writes all times below an element again, in the chosen zone.
export function writeTimes(below = document) {
  for (const element of below.querySelectorAll("time[datetime]")) element.textContent = timeText(element.dateTime);
}

// Shows or hides a banner: "database", "web" or "live".
export function banner(name, shown, text) {
  const element = document.getElementById(`banner-${name}`);
  if (!element) return;
  if (text) element.textContent = text;
  element.hidden = !shown;
}

// Fetches JSON of the API; a problem becomes an Error with its detail, status and document.
export async function getJson(path, { timeoutMs = 10000, ...options } = {}) {
  const answer = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(timeoutMs), ...options });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? answer.statusText), { status: answer.status, problem: body });
  return body;
}

function switchTheme() {
  root.dataset.theme = dark() ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  document.dispatchEvent(new CustomEvent("themechange"));
}

function showZone() {
  const button = document.getElementById("zone");
  if (button) button.textContent = localTimes() ? "Local time" : "UTC";
  writeTimes();
}

function switchZone() {
  localStorage.setItem("zone", localTimes() ? "utc" : "local");
  showZone();
  document.dispatchEvent(new CustomEvent("zonechange"));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  if (event.key === "t") switchTheme();
  else if (event.key === "z") switchZone();
  else if (event.key === "/") {
    const filter = document.querySelector("[data-filter]");
    if (filter) { filter.focus(); event.preventDefault(); }
  }
}

let asking = false;

async function pulse() {
  if (document.hidden || asking) return;
  asking = true;
  try {
    const { database } = await getJson("/api/v1/pulse", { timeoutMs: ANSWER_MS });
    banner("web", false);
    banner("database", !database);
  } catch (error) {
    banner("web", !error.status);
    if (!error.status) banner("database", false); // one banner: what Postgres does is not known
  } finally {
    asking = false;
  }
}

document.getElementById("theme")?.addEventListener("click", switchTheme);
document.getElementById("zone")?.addEventListener("click", switchZone);
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", pulse);
showZone();
setInterval(pulse, PULSE_MS);
root.dataset.ready = "1";
