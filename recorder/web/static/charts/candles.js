// Wraps lightweight-charts: the only module that knows it. Draws a model (model.js) in panes.

import { byKey } from "./indicators.js";
import { color, parts } from "./format.js";
import { Hatch } from "./hatch.js";
import { heikinAshi } from "./model.js";

const PANE_PX = 120;
const PRICE_PX = 380;
const LABEL_PX = 18; // height of the label of the last price, and some room

export class Candles {
  #chosen = null; // the range that the next frame shows

  // library: the module lightweight-charts; element: where to draw, empty.
  constructor(library, element, { digits, seconds }) {
    this.library = library;
    this.element = element;
    this.digits = digits;
    this.model = null;
    this.axis = null; // of the price scale, in pixels, for tests
    this.keys = [];
    this.type = "candles";
    this.lines = [];
    this.panes = [];
    this.chart = library.createChart(element, {
      autoSize: true,
      localization: { locale: "en-US", timeFormatter: (time) => stamp(time, seconds) },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4, minBarSpacing: 0.1, enableConflation: true, tickMarkFormatter: (time, kind) => tick(library, time, kind) },
      crosshair: { mode: library.CrosshairMode.Normal },
      layout: { attributionLogo: false },
    });
    this.grid = this.chart.addSeries(library.LineSeries, { ...QUIET, lineVisible: false, crosshairMarkerVisible: false });
    this.hatch = new Hatch(() => this.model, this.chart);
    this.restyle();
  }

  // Chooses panes and drawing, and draws everything again. The visible range stays.
  show(model, keys, type) {
    this.model = model;
    this.keys = keys;
    this.type = type;
    this.#build();
    this.redraw();
  }

  #build() {
    const { library, chart } = this;
    for (const { series } of this.lines) chart.removeSeries(series);
    if (this.price) chart.removeSeries(this.price);
    if (this.volume) chart.removeSeries(this.volume);
    this.hatch.detach();
    const shape = this.type === "line" ? library.LineSeries : library.CandlestickSeries;
    const digits = Math.min(12, this.digits ?? this.model.decimals);
    const format = { type: "price", precision: digits, minMove: 10 ** -digits };
    // The first series of a pane gives the numbers of its scale.
    this.scale = { type: "custom", minMove: format.minMove, formatter: (value) => value.toFixed(digits), tickmarksFormatter: (values) => this.#ticks(values, digits) };
    this.labelled = null;
    this.grid.applyOptions({ priceFormat: this.scale });
    this.price = chart.addSeries(shape, { priceFormat: format, ...this.#priceColors() }, 0);
    this.marked = null;
    this.markers = library.createSeriesMarkers(this.price, []);
    this.volume = chart.addSeries(library.HistogramSeries, { ...QUIET, priceFormat: { type: "volume" } }, 1);
    this.panes = ["price", "volume"];
    this.lines = [];
    for (const key of this.keys) {
      const one = byKey.get(key);
      let pane = this.panes.indexOf(one.pane);
      if (pane < 0) pane = this.panes.push(one.pane) - 1;
      for (const drawn of one.lines) {
        const bars = drawn.kind === "bars";
        const numbers = one.pane === "price" ? format : { type: "price", precision: 2, minMove: 0.01 };
        const options = { ...QUIET, priceFormat: one.pane === "volume" || key === "obv" ? { type: "volume" } : numbers };
        const made = bars
          ? chart.addSeries(library.HistogramSeries, options, pane)
          : chart.addSeries(library.LineSeries, { ...options, lineWidth: 1, crosshairMarkerRadius: 2 }, pane);
        this.lines.push({ series: made, pane, ...drawn });
      }
      for (const at of one.guides || []) {
        this.lines[this.lines.length - 1].series.createPriceLine({ price: at, color: color("--chart-grid"), lineWidth: 1, lineStyle: library.LineStyle.Dashed, axisLabelVisible: false });
      }
    }
    this.element.style.height = `${PRICE_PX + PANE_PX * (this.panes.length - 1)}px`;
    chart.panes().forEach((pane, at) => pane.setStretchFactor(at === 0 ? PRICE_PX : PANE_PX));
    this.hatch.attach(chart.panes());
    this.#recolor();
  }

  // Gives the library all points again: after the first answer, older history, or a bar between older ones.
  redraw() {
    const { model } = this;
    const slots = [];
    for (let time = model.low; time < model.high; time += model.intervalS) slots.push({ time });
    this.grid.setData(slots);
    const bars = model.sorted.map((time) => model.bars.get(time));
    this.price.setData(this.#points(bars));
    this.volume.setData(bars.map((bar) => this.#volumePoint(bar)));
    for (const line of this.lines) line.series.setData(this.#linePoints(line));
    this.#mark();
  }

  // Draws what changed since; gives false where only redraw can.
  update({ changed, after, inserted, before }) {
    const { model } = this;
    if (before || inserted || this.type === "heikin-ashi") return false;
    for (let slot = model.slots - after; slot < model.slots; slot++) this.grid.update({ time: model.time(slot) });
    const newest = model.sorted[model.sorted.length - 1];
    try {
      for (const time of changed) {
        const bar = model.bars.get(time);
        if (!bar) continue;
        const old = time < newest;
        this.price.update(this.#points([bar])[0], old);
        this.volume.update(this.#volumePoint(bar), old);
      }
      for (const line of this.lines) {
        for (const time of changed) {
          const value = model.value(line.column, time);
          if (value !== null) line.series.update(this.#linePoint(line, time, value), time < newest);
        }
      }
    } catch {
      return false; // the library updates only points that it has
    }
    this.#mark();
    return true;
  }

  #points(bars) {
    if (this.type === "line") return bars.map((bar) => ({ time: bar.time, value: bar.close }));
    const drawn = this.type === "heikin-ashi" ? heikinAshi(bars, this.model.intervalS) : bars;
    return drawn.map((shown, at) => {
      const { time, open, high, low, close } = shown;
      const point = { time, open, high, low, close };
      const bar = bars[at];
      if (!bar.complete) point.color = this.colors.ground; // hollow; the label of the last price has this colour too
      if (bar.coverage !== null && bar.coverage < 1) point.borderColor = point.wickColor = this.colors.partial;
      return point;
    });
  }

  #volumePoint(bar) {
    const shade = bar.close >= bar.open ? this.colors.upSoft : this.colors.downSoft;
    return bar.volume === null ? { time: bar.time } : { time: bar.time, value: bar.volume, color: shade };
  }

  #linePoint(line, time, value) {
    if (line.kind === "bars") return { time, value, color: value >= 0 ? this.colors.upSoft : this.colors.downSoft };
    return { time, value };
  }

  // A line never bridges a slot without a value: the piece that would is transparent.
  #linePoints(line) {
    const found = [];
    let before = null;
    for (const time of this.model.sorted) {
      const value = this.model.value(line.column, time);
      if (value === null) continue;
      const point = this.#linePoint(line, time, value);
      if (line.kind === "line" && before !== null && time - before.time > this.model.intervalS) before.color = "transparent";
      found.push(point);
      before = point;
    }
    return found;
  }

  // The last price, as it is drawn.
  get #lastPrice() {
    const shown = this.price.dataByIndex(this.model.slots + 1, this.library.MismatchDirection.NearestLeft);
    return shown ? (shown.close ?? shown.value) : null;
  }

  // The numbers of the price scale; one that the label of the last price would cover in part is left out.
  #ticks(values, digits) {
    const last = this.#lastPrice;
    const at = last === null ? null : this.price.priceToCoordinate(last);
    const texts = values.map((value) => {
      const y = this.price.priceToCoordinate(value);
      return at !== null && y !== null && Math.abs(y - at) < LABEL_PX ? "" : value.toFixed(digits);
    });
    this.axis = { label: at, numbers: values.map((value, place) => [this.price.priceToCoordinate(value), texts[place]]) };
    return texts;
  }

  #mark() {
    const labelled = this.#lastPrice;
    if (labelled !== this.labelled) {
      this.labelled = labelled;
      this.grid.applyOptions({ priceFormat: { ...this.scale } }); // the library keeps the numbers until their format changes
    }
    const last = this.model.last;
    const forming = last && !last.complete;
    const wanted = forming ? `${last.time} ${this.colors.text}` : "";
    if (wanted === this.marked) return; // every change draws all panes again
    this.marked = wanted;
    this.markers.setMarkers(forming ? [{ time: last.time, position: "aboveBar", shape: "arrowDown", color: this.colors.text, text: "forming" }] : []);
  }

  #priceColors() {
    const { up, down, line } = this.colors;
    if (this.type === "line") return { color: line, lineWidth: 2 };
    return { upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down };
  }

  // Takes the colours of the page as they are now.
  restyle() {
    const names = { up: "--chart-up", down: "--chart-down", upSoft: "--chart-up-soft", downSoft: "--chart-down-soft", text: "--chart-text", grid: "--chart-grid", ground: "--chart-ground", partial: "--chart-partial", line: "--chart-1" };
    this.colors = Object.fromEntries(Object.entries(names).map(([key, name]) => [key, color(name)]));
    const { text, grid, ground } = this.colors;
    this.chart.applyOptions({
      layout: { background: { type: this.library.ColorType.Solid, color: ground }, textColor: text, panes: { separatorColor: grid, separatorHoverColor: grid } },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      rightPriceScale: { borderColor: grid },
      timeScale: { borderColor: grid },
    });
    this.hatch.restyle();
    if (!this.price) return;
    this.#recolor();
    this.redraw();
  }

  #recolor() {
    this.price.applyOptions(this.#priceColors());
    for (const line of this.lines) if (line.kind === "line") line.series.applyOptions({ color: color(`--chart-${line.shade}`) });
  }

  // The visible slots, fractions included: { from, to }. The library applies a range with its next frame and names the one
  // before until then; who reads it earlier, to keep it while older bars are added, would undo what was just chosen.
  get range() {
    return this.#chosen ?? this.chart.timeScale().getVisibleLogicalRange();
  }

  set range(range) {
    this.#chosen = range;
    this.chart.timeScale().setVisibleLogicalRange(range);
    requestAnimationFrame(() => { if (this.#chosen === range) this.#chosen = null; });
  }

  // Top of each pane in pixels of the element.
  tops() {
    let top = 0;
    return this.chart.panes().map((pane) => {
      const here = top;
      top += pane.getHeight() + 1;
      return here;
    });
  }

  onRange(callback) {
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(callback);
  }

  // Calls back with the start of the slot under the crosshair, or null.
  onCrosshair(callback) {
    this.chart.subscribeCrosshairMove((event) => callback(event.time === undefined ? null : event.time));
  }
}

const QUIET = { priceLineVisible: false, lastValueVisible: false };

function stamp(time, seconds) {
  const [year, month, day, hour, minute] = parts(time);
  return seconds >= 86400 ? `${year}-${month}-${day}` : `${year}-${month}-${day} ${hour}:${minute}`;
}

function tick(library, time, kind) {
  const [year, month, day, hour, minute] = parts(time);
  if (kind === library.TickMarkType.Year) return year;
  if (kind === library.TickMarkType.Month) return `${year}-${month}`;
  return kind === library.TickMarkType.DayOfMonth ? `${month}-${day}` : `${hour}:${minute}`;
}
