// The legend over the panes: what the bar under the crosshair is, in words and numbers, one line a pane.

import { compact, element, instant, number } from "./format.js";
import { price } from "./price.js";

export class Legend {
  constructor(holder, digits) {
    this.holder = holder;
    this.digits = digits;
    this.rows = [];
  }

  // panes: names; lines: of Candles; tops: pixels of each pane.
  show(model, panes, lines, tops, time) {
    while (this.rows.length > panes.length) this.rows.pop().remove();
    while (this.rows.length < panes.length) {
      const row = element("p", { class: "legend" });
      this.rows.push(row);
      this.holder.append(row);
    }
    const digits = this.digits ?? model.decimals;
    const bar = time === null ? null : model.bars.get(time) || null;
    panes.forEach((_name, pane) => {
      this.rows[pane].style.top = `${tops[pane] + 4}px`;
      const parts = pane === 0 ? this.#price(model, bar, time) : pane === 1 ? [entry("Volume", bar ? compact(bar.volume) : "–")] : [];
      for (const line of lines) {
        if (line.pane !== pane) continue;
        const value = time === null ? null : model.value(line.column, time);
        const shown = pane === 0 ? price(value, digits) : Math.abs(value) >= 10000 ? compact(value) : number(value, value === null ? undefined : 2);
        parts.push(entry(line.label, shown, line.kind === "line" ? `shade-${line.shade}` : ""));
      }
      this.rows[pane].replaceChildren(...parts);
    });
  }

  #price(model, bar, time) {
    if (time === null) return [entry("", "no bar yet")];
    const when = entry("", instant(time));
    if (!bar) return [when, entry("", model.inGap(time) ? "no bar: in a gap, trades may be missing" : "no trade in this slot")];
    const digits = this.digits ?? model.decimals;
    const rise = bar.close - bar.open;
    const sign = rise > 0 ? "▲" : rise < 0 ? "▼" : "=";
    const parts = [when, ...["open", "high", "low", "close"].map((name) => entry(name[0].toUpperCase(), price(bar[name], digits)))];
    parts.push(entry("", `${sign} ${number((rise / bar.open) * 100, 2)} %`, rise >= 0 ? "rise" : "fall"), entry("trades", number(bar.trades, 0)));
    if (!bar.complete) parts.push(entry("", "forming", "note"));
    if (bar.coverage === null) parts.push(entry("", "coverage unknown", "note"));
    else if (bar.coverage < 1) parts.push(entry("", `◇ coverage ${number(Math.floor(bar.coverage * 1000) / 10, 1)} %`, "note"));
    if (bar.revision > 1) parts.push(entry("", `revision ${bar.revision}`, "note"));
    return parts;
  }
}

function entry(label, text, shade = "") {
  const children = label ? [element("span", { class: "label" }, label), " ", text] : [text];
  return element("span", { class: `entry ${shade}` }, ...children);
}
