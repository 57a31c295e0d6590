// The page of a chart: asks for bars, keeps the choice in the address, and loads history when it is scrolled to.

import { getJson } from "../base.js";
import { asked, remember, Round, stateIn } from "./ask.js";
import { answerOf, Follower } from "./follow.js";
import { instant, onTheme, say } from "./format.js";
import { chosen, columnsOf, INDICATORS, PRESETS, presetOf } from "./indicators.js";
import { Legend } from "./legend.js";
import { Bars } from "./model.js";
import { digitsIn } from "./price.js";

const MORE_SLOTS = 500;
const MOST_SLOTS = 20000;
const FOLLOWED_SLOTS = 4000; // the server gives 5,000 at once
const EDGE_SLOTS = 15;
const LEAST_WIDE = 60;
const LEAST_SHOWN = 20;
const TYPES = ["candles", "line", "heikin-ashi"];

const element = document.getElementById("chart");
const instrument = element.dataset.instrument;
const digits = digitsIn(element.dataset.digits);
const intervals = JSON.parse(element.dataset.intervals);
const root = document.documentElement;

const state = {
  interval: asked("interval", element.dataset.interval),
  type: TYPES.includes(asked("type")) ? asked("type") : "candles",
  keys: chosen(asked("ind")),
};

let candles = null;
let model = null;
let oldest = null;
let since = null;
let crosshair = null;
let loading = false;
let updates = 0;
let asks = 0; // answers of the server; with the stream far fewer than updates
let follower = null;
const legend = new Legend(document.getElementById("legend"), digits);

const seconds = () => intervals[state.interval];

function address(more) {
  const query = new URLSearchParams({ interval: state.interval, indicators: columnsOf(state.keys).join(","), ...more });
  return `/data/chart/${encodeURIComponent(instrument)}?${query}`;
}

// Loads a window of its own: at the start, after a change of the timeframe or of the indicators.
async function load(range) {
  const more = range ? { start: range[0], end: range[1] } : { slots: element.dataset.slots };
  const answer = await getJson(address(more));
  model = new Bars(seconds());
  model.take(answer);
  ({ oldest } = answer);
  since = answer.as_of;
  candles.show(model, state.keys, state.type);
  missing(answer);
}

// Asks for what changed since, in all slots that are shown, up to now.
async function follow() {
  if (loading || model === null) return;
  const asking = model;
  const start = Math.max(asking.low, asking.high - FOLLOWED_SLOTS * seconds());
  const answer = await getJson(address({ start, since }));
  if (asking !== model) return; // the timeframe was changed meanwhile
  const change = model.take(answer);
  since = answer.as_of;
  asks += 1;
  drawChange(change);
  missing(answer);
  describe();
}

function drawChange(change) {
  updates += 1;
  if (change.changed.length || change.after || change.inserted) {
    if (!candles.update(change)) keepingRange(() => candles.redraw(), 0);
  }
}

// Takes bars of the stream; a bar that is over has indicators, which are asked for.
function streamed(items) {
  if (model === null || loading) return;
  const answer = answerOf(items, model, state.interval);
  if (answer === null) return;
  const over = answer.bars.time.some((time, at) => answer.bars.complete[at] && model.bars.get(time)?.complete !== true);
  drawChange(model.take(answer));
  if (over) round.soon();
  describe();
}

async function loadHistory() {
  if (loading || model === null || oldest === null || model.low <= oldest) return;
  if (model.slots >= MOST_SLOTS) {
    say(note, `The chart holds ${MOST_SLOTS.toLocaleString("en-US")} slots; choose a longer bar to see more.`);
    return;
  }
  loading = true;
  try {
    const start = Math.max(oldest, model.low - MORE_SLOTS * seconds());
    const change = model.take(await getJson(address({ start, end: model.low })));
    keepingRange(() => candles.redraw(), change.before);
  } finally {
    loading = false;
  }
}

// Draws with the same slots in view, although others came before them.
function keepingRange(draw, before) {
  const range = candles.range;
  draw();
  if (range) candles.range = { from: range.from + before, to: range.to + before };
}

const note = document.getElementById("note");

function missing(answer) {
  if (!answer.bars.time.length && !model.sorted.length) say(note, "No bar is stored of this instrument in this time. The deriver makes them from trades.");
  else if (answer.indicators === null && state.keys.length) say(note, "This database has no indicators yet; the deriver of this version makes them.");
  else say(note, "");
}

// What is in view, in seconds: the first and the last slot.
function shownTimes() {
  const range = candles.range;
  if (!range || !model.slots) return null;
  return [model.time(Math.floor(range.from)), model.time(Math.ceil(range.to))];
}

async function changeInterval(name) {
  if (!intervals[name] || name === state.interval) return;
  const shown = shownTimes();
  const following = atEnd();
  state.interval = name;
  await change(async () => {
    await load(null);
    follower?.change(name);
    if (shown) await view(shown, following);
  });
}

// Shows a time in the slots of now; at least LEAST_SHOWN of them, and history is loaded for it.
async function view([from, to], following) {
  const end = following ? model.high : Math.min(to, model.high);
  const length = Math.max(to - from, LEAST_SHOWN * seconds());
  const low = end - length;
  while (model.low > Math.max(low, oldest ?? low) && model.slots < MOST_SLOTS) {
    const before = model.slots;
    await loadHistory();
    if (model.slots === before) break;
  }
  candles.range = { from: model.slot(low), to: model.slot(end) + (following ? 4 : 0) };
}

const atEnd = () => candles.range === null || candles.range.to >= model.slots - 1;

async function change(work) {
  delete root.dataset.chartReady;
  try {
    await work();
    round.onState(null, 0);
  } catch (error) {
    round.onState(error.message, null);
  }
  controls();
  describe();
  root.dataset.chartReady = "1";
}

async function chooseIndicators(keys) {
  state.keys = keys;
  await change(async () => {
    const shown = candles.range;
    await load([model.low, model.high]);
    if (shown) candles.range = shown;
  });
}

function controls() {
  for (const link of document.querySelectorAll("[data-interval-name]")) {
    if (link.dataset.intervalName === state.interval) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  for (const box of document.querySelectorAll("[data-indicator]")) box.checked = state.keys.includes(box.dataset.indicator);
  document.getElementById("type").value = state.type;
  document.getElementById("preset").value = presetOf(state.keys);
}

let waiting = null;

function describe() {
  const times = shownTimes();
  const end = atEnd();
  legend.show(model, candles.panes, candles.lines, candles.tops(), crosshair ?? (model.last ? model.last.time : null));
  if (times) document.getElementById("csv").href = `/data/bars.csv?${new URLSearchParams({ instrument, interval: state.interval, start: times[0], end: times[1] })}`;
  say(document.getElementById("as-of"), `${model.bars.size.toLocaleString("en-US")} bars, as of ${instant(Math.max(since, follower?.live.alive ? follower.asOf : 0))}`);
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const away = times && !end;
    remember({ interval: state.interval, type: state.type === "candles" ? "" : state.type, ind: state.keys.join(","), from: away ? times[0] : "", to: away ? times[1] : "" });
  }, 250);
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || candles.range === null) return;
  const { from, to } = candles.range;
  const width = to - from;
  const moves = { ArrowLeft: [-0.1, -0.1], ArrowRight: [0.1, 0.1], "+": [0.1, -0.1], "=": [0.1, -0.1], "-": [-0.125, 0.125] };
  if (moves[event.key]) candles.range = { from: from + moves[event.key][0] * width, to: to + moves[event.key][1] * width };
  else if (event.key === "End") candles.range = { from: model.slots - width + 4, to: model.slots + 4 };
  else if (event.key === "Home") candles.range = { from: 0, to: width };
  else return;
  event.preventDefault();
}

const round = new Round(follow, { everyMs: 1000, onState: stateIn(document.getElementById("stale")) });

// Numbers for tests and for the console of the browser.
window.tapedeck = {
  get chart() {
    return {
      interval: state.interval,
      type: state.type,
      indicators: [...state.keys],
      panes: candles.panes,
      bars: model.bars.size,
      slots: model.slots,
      low: model.low,
      high: model.high,
      last: model.last,
      gaps: model.gaps,
      hatched: model.runs(),
      partial: [...model.bars.values()].filter((bar) => bar.coverage !== null && bar.coverage < 1).length,
      range: candles.range,
      shown: shownTimes(),
      values: Object.fromEntries([...model.values].map(([name, values]) => [name, [...values]])),
      updates,
      axis: candles.axis,
      asks,
    };
  },
  bar: (time) => model.bars.get(time),
  hover: (time) => { crosshair = time; describe(); },
  show: (range) => { candles.range = range; },
  take: (answer) => { const done = model.take(answer); return candles.update(done); },
};

async function begin() {
  const { Candles } = await import("./candles.js");
  const library = await import("../vendor/lightweight-charts.js");
  candles = new Candles(library, element, { digits, seconds: seconds() });
  const away = Number(asked("from")) > 0 && Number(asked("to")) > 0 ? [Number(asked("from")), Number(asked("to"))] : null;
  await change(async () => {
    await load(null);
    if (away) await view(away, false);
    else candles.range = { from: model.slots - Math.max(LEAST_WIDE, Math.min(Number(element.dataset.slots), model.slots)), to: model.slots + 4 };
  });
  candles.onRange((range) => {
    if (range && range.from < EDGE_SLOTS) loadHistory().catch((error) => round.onState(error.message, null));
    if (!loading) describe();
  });
  candles.onCrosshair((time) => {
    crosshair = time;
    legend.show(model, candles.panes, candles.lines, candles.tops(), crosshair ?? (model.last ? model.last.time : null));
  });
  onTheme(() => keepingRange(() => candles.restyle(), 0));
  document.addEventListener("zonechange", () => { candles.restyle(); describe(); });
  element.addEventListener("keydown", keys);
  follower = new Follower(instrument, state.interval, round, streamed);
}

for (const link of document.querySelectorAll("[data-interval-name]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    if (candles) changeInterval(link.dataset.intervalName);
  });
}
document.getElementById("type").addEventListener("change", ({ target }) => {
  state.type = target.value;
  keepingRange(() => candles.show(model, state.keys, state.type), 0);
  describe();
});
document.getElementById("preset").addEventListener("change", ({ target }) => {
  if (PRESETS[target.value]) chooseIndicators([...PRESETS[target.value]]);
});
const own = document.getElementById("own");
for (const one of INDICATORS) {
  const box = Object.assign(document.createElement("input"), { type: "checkbox" });
  box.dataset.indicator = one.key;
  box.addEventListener("change", () => {
    const checked = [...document.querySelectorAll("[data-indicator]:checked")].map((found) => found.dataset.indicator);
    chooseIndicators(chosen(checked.join(",")));
  });
  const label = document.createElement("label");
  label.append(box, ` ${one.label}`);
  own.append(label);
}

if (element.dataset.installed === "1") {
  begin().catch((error) => {
    say(note, `The chart cannot be drawn: ${error.message}`);
    root.dataset.chartReady = "failed";
  });
} else {
  say(note, "charts are not installed: make setup");
  root.dataset.chartReady = "not installed";
}
