// The bars of one instrument and one length, slot by slot, with their indicators and gaps. Knows nothing of the page.

import { decimals } from "./price.js";

const COLUMNS = ["open", "high", "low", "close", "volume", "vwap", "trades", "coverage", "complete", "revision"];
const PRICES = ["open", "high", "low", "close"];

export class Bars {
  constructor(intervalS) {
    this.intervalS = intervalS;
    this.low = null; // start of the first slot, seconds
    this.high = null; // end of the last slot
    this.bars = new Map();
    this.values = new Map(); // indicator -> Map(start -> value)
    this.gaps = [];
    this.sorted = [];
    this.decimals = 0; // most digits behind the point of a stored price
  }

  get slots() {
    return this.low === null ? 0 : (this.high - this.low) / this.intervalS;
  }

  get last() {
    return this.sorted.length ? this.bars.get(this.sorted[this.sorted.length - 1]) : null;
  }

  // Takes an answer of the server. Gives the starts that changed, how many slots came before and after, and whether a bar
  // appeared between older ones.
  take(answer) {
    const before = this.low === null ? 0 : Math.max(0, (this.low - answer.low) / this.intervalS);
    const after = this.high === null ? 0 : Math.max(0, (answer.high - this.high) / this.intervalS);
    const newest = this.sorted.length ? this.sorted[this.sorted.length - 1] : -Infinity;
    const changed = [];
    let inserted = false;
    const columns = answer.bars;
    columns.time.forEach((time, at) => {
      const bar = { time };
      for (const name of COLUMNS) bar[name] = columns[name][at];
      const had = this.bars.get(time);
      if (had && COLUMNS.every((name) => had[name] === bar[name])) return;
      inserted ||= !had && time < newest;
      if (!had) this.sorted.push(time);
      this.bars.set(time, bar);
      changed.push(time);
      for (const name of PRICES) if (bar[name] !== null) this.decimals = Math.max(this.decimals, decimals(bar[name]));
    });
    const touched = new Set(changed);
    if (answer.indicators) {
      const { time: times, ...series } = answer.indicators;
      for (const [name, values] of Object.entries(series)) {
        if (!this.values.has(name)) this.values.set(name, new Map());
        const known = this.values.get(name);
        times.forEach((time, at) => {
          if (known.get(time) === values[at]) return;
          known.set(time, values[at]);
          touched.add(time);
        });
      }
    }
    if (answer.gaps) this.#takeGaps(answer);
    this.low = this.low === null ? answer.low : Math.min(this.low, answer.low);
    this.high = this.high === null ? answer.high : Math.max(this.high, answer.high);
    if (inserted || before) this.sorted.sort((a, b) => a - b);
    return { changed: [...touched].sort((a, b) => a - b), before, after, inserted };
  }

  // The gaps of a window replace those that were known of it.
  #takeGaps(answer) {
    const low = answer.low;
    const high = answer.high;
    const kept = [];
    for (const [from, to] of this.gaps) {
      if (from < low) kept.push([from, Math.min(to, low)]);
      if (to > high) kept.push([Math.max(from, high), to]);
    }
    const merged = [];
    for (const [from, to] of [...kept, ...answer.gaps].sort((a, b) => a[0] - b[0])) {
      const last = merged[merged.length - 1];
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else merged.push([from, to]);
    }
    this.gaps = merged;
  }

  slot(time) {
    return (time - this.low) / this.intervalS;
  }

  time(slot) {
    return this.low + slot * this.intervalS;
  }

  value(name, time) {
    const found = this.values.get(name)?.get(time);
    return found === undefined ? null : found;
  }

  // Runs of slots that a gap touches: [first, last, whether they have bars].
  runs() {
    const found = [];
    for (const [from, to] of this.gaps) {
      const first = Math.max(0, Math.floor((from - this.low) / this.intervalS));
      const last = Math.min(this.slots, Math.ceil((to - this.low) / this.intervalS)) - 1;
      for (let slot = first; slot <= last; slot++) {
        const held = this.bars.has(this.time(slot));
        const run = found[found.length - 1];
        if (run && run[1] >= slot - 1 && run[2] === held) run[1] = Math.max(run[1], slot);
        else if (!run || run[1] < slot) found.push([slot, slot, held]);
      }
    }
    return found;
  }

  inGap(time) {
    return this.gaps.some(([from, to]) => from < time + this.intervalS && to > time);
  }
}

// Heikin-Ashi of bars in order. It begins again after a slot without a bar, because the bar before it is not its neighbour.
export function heikinAshi(bars, intervalS) {
  const found = [];
  let before = null;
  for (const bar of bars) {
    const close = (bar.open + bar.high + bar.low + bar.close) / 4;
    const follows = before !== null && before.time + intervalS === bar.time;
    const open = follows ? (before.open + before.close) / 2 : (bar.open + bar.close) / 2;
    before = { time: bar.time, open, close, high: Math.max(bar.high, open, close), low: Math.min(bar.low, open, close) };
    found.push(before);
  }
  return found;
}
