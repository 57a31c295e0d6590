// Numbers, times and small pieces of a page. A text of others becomes a text node, never markup.

import { localTimes, timeText } from "../base.js";

export function number(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (digits !== undefined) return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const size = Math.abs(value);
  const places = size >= 1000 ? 2 : size >= 1 ? 4 : 6;
  return value.toLocaleString("en-US", { maximumFractionDigits: places });
}

export function compact(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value.toLocaleString("en-US", { notation: "compact", maximumSignificantDigits: 4 });
}

// An instant as people read it, in the chosen zone, with the zone.
export const instant = (seconds, withDate = true) => (seconds === null || seconds === undefined ? "–" : timeText(seconds * 1000, withDate));

const two = (value) => String(value).padStart(2, "0");

// Year, month, day, hour and minute of an instant in the chosen zone, as texts.
export function parts(seconds) {
  const at = new Date(seconds * 1000);
  if (!localTimes()) {
    const text = at.toISOString();
    return [text.slice(0, 4), text.slice(5, 7), text.slice(8, 10), text.slice(11, 13), text.slice(14, 16)];
  }
  return [String(at.getFullYear()), two(at.getMonth() + 1), two(at.getDate()), two(at.getHours()), two(at.getMinutes())];
}

export function lasted(seconds) {
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`;
}

export function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "class") made.className = value;
    else if (key === "data") Object.assign(made.dataset, value);
    else made.setAttribute(key, value);
  }
  made.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

export function say(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888";
}

// Calls back when the colours of the page change: by the system, or by the switch of the page.
export function onTheme(callback) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", callback);
  document.addEventListener("themechange", callback);
}
