// The page of a prediction market: the history of its outcomes, and the time to its end.

import { getJson } from "../base.js";
import { asked, remember, Round, stateIn } from "./ask.js";
import { instant, lasted, number, onTheme, say } from "./format.js";
import { drawLines, keepDrawn } from "./lines.js";
import { decimals, price } from "./price.js";

const page = document.getElementById("market");
const canvas = document.getElementById("history");
const readout = document.getElementById("readout");
const range = document.getElementById("range");
const outcomes = JSON.parse(page.dataset.outcomes);
const openedMs = performance.now();
let last = null;
let drawn = null;
let updates = 0;

if ([...range.options].some((option) => option.value === asked("hours"))) range.value = asked("hours");

async function ask() {
  last = await getJson(`/data/market/${encodeURIComponent(page.dataset.market)}?hours=${range.value}`);
  updates += 1;
  draw(null);
  document.documentElement.dataset.marketReady = String(updates);
}

const mirrored = (value) => (value === null ? null : 1 - value);
const percent = (value) => `${number(value * 100, 1)} %`; // of the axis
const exact = (value) => {
  const shown = Math.round(value * 1e6) / 1e4;
  return `${price(shown, Math.max(1, decimals(shown)))} %`;
};

function draw(pointer) {
  if (last === null) return;
  const { time, mid, step } = last.history;
  document.getElementById("no-history").hidden = mid.some((value) => value !== null);
  const lines = [{ values: mid, shade: 1 }];
  if (outcomes.length === 2) lines.push({ values: mid.map(mirrored), shade: 2, dashed: true });
  drawn = drawLines(canvas, time, Math.max(step[0], last.every_s), lines, { format: percent, floor: 0, ceiling: 1, pointer });
  if (drawn === null || drawn.under === null) {
    say(readout, "— solid: " + outcomes[0] + (outcomes[1] ? `   - - dashed: ${outcomes[1]} (mirror, 1 − p)` : ""));
    return;
  }
  const value = mid[drawn.under];
  const words = value === null ? "a side of the book was empty" : `${outcomes[0]} ${exact(value)}${outcomes[1] ? `, ${outcomes[1]} ${exact(1 - value)}` : ""}`;
  say(readout, `${instant(time[drawn.under])}: ${words}`);
}

function countdown() {
  const left = document.getElementById("left");
  if (!left) return;
  const seconds = Number(left.dataset.seconds) - (performance.now() - openedMs) / 1000;
  say(left, seconds >= 0 ? `in ${lasted(seconds)}` : `${lasted(-seconds)} ago`);
}

const round = new Round(ask, { everyMs: 5000, onState: stateIn(document.getElementById("stale")) });
range.addEventListener("change", () => {
  remember({ hours: range.value === "24" ? "" : range.value });
  round.soon();
});
keepDrawn(canvas, draw, onTheme);
countdown();
setInterval(countdown, 1000);
round.run();

window.tapedeck = {
  get market() {
    return { ...last, drawn, updates };
  },
};
