// How a chart follows: by the stream of the page, and by asking again for what the stream does not have.
//
// The stream sends the newest two bars as they change. Indicators, gaps and older bars that are derived again are asked
// for every few seconds, at once when a bar is over or a gap changes, and once a second while the stream is silent.

import { LiveStream } from "../live.js";

const STREAMED_MS = 5000;
const ALONE_MS = 1000;
const MEANWHILE = "The chart is stale by up to some seconds: it asks once a second until the stream is back.";

// Bars of the stream as an answer of the server has them; those the model has newer, or before its first slot, are left out.
export function answerOf(items, model, width) {
  const bars = { time: [], open: [], high: [], low: [], close: [], volume: [], vwap: [], trades: [], coverage: [], complete: [], revision: [] };
  const ordered = items.filter((item) => item.kind === "bar" && item.width === width);
  ordered.sort((a, b) => (a.start < b.start ? -1 : 1));
  for (const item of ordered) {
    const time = Math.round(Date.parse(item.start) / 1000);
    if (time < model.low || (model.bars.get(time)?.revision ?? 0) > item.revision) continue;
    bars.time.push(time);
    bars.trades.push(item.trade_count);
    for (const name of ["open", "high", "low", "close", "volume", "vwap", "coverage", "complete", "revision"]) bars[name].push(item[name]);
  }
  if (!bars.time.length) return null;
  return { low: model.low, high: Math.max(model.high, bars.time.at(-1) + model.intervalS), bars, indicators: null, gaps: null };
}

// Follows one instrument. round: asks the server; draw(items): takes what the stream sent.
export class Follower {
  constructor(instrument, width, round, draw) {
    this.instrument = instrument;
    this.round = round;
    this.live = new LiveStream(this.#streams(width), draw, { meanwhile: MEANWHILE });
    this.live.onevent = () => round.soon();
    this.live.onstate = (alive) => this.#paced(alive);
    this.#paced(false);
  }

  change(width) {
    this.live.subscribe(this.#streams(width));
  }

  // When the last tick came, seconds since 1970 by the clock of the server.
  get asOf() {
    return this.live.state.ts ? Date.parse(this.live.state.ts) / 1000 : 0;
  }

  #streams(width) {
    const { instrument } = this;
    return [{ kind: "bar", instrument, width }, { kind: "gap", instrument }];
  }

  // Whatever was missed meanwhile is asked for at each change.
  #paced(alive) {
    this.round.everyMs = alive ? STREAMED_MS : ALONE_MS;
    this.round.soon();
  }
}
