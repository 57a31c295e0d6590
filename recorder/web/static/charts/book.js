// The page of a book: curve, ladder and trades, now or at a past time that the server rebuilds.

import { getJson } from "../base.js";
import { asked, remember, Round, stateIn } from "./ask.js";
import { drawDepth } from "./depth.js";
import { compact, element, instant, lasted, number, onTheme, say } from "./format.js";
import { digitsIn, price } from "./price.js";

const page = document.getElementById("book");
const { instrument } = page.dataset;
const tick = Number(page.dataset.tick) || null;
const digits = digitsIn(page.dataset.digits);
const steps = tick ? [1, 2, 5, 10, 20, 50, 100, 500, 1000] : [];
const at = (id) => document.getElementById(id);

// Seconds since 1970 as text, from such a number or from RFC 3339; empty for now.
function atOf(text) {
  const seconds = text === "" ? NaN : Number(text);
  const found = Number.isFinite(seconds) ? seconds : Date.parse(text) / 1000;
  return found > 0 ? String(found) : "";
}

const state = {
  levels: [5, 10, 20, 50].includes(Number(asked("levels"))) ? asked("levels") : "10",
  group: steps.includes(Number(asked("group"))) ? asked("group") : "1",
  at: atOf(asked("at")),
};
let last = null;
let drawn = null;
let pointer = null;
let updates = 0;

async function ask() {
  const query = new URLSearchParams({ levels: state.levels });
  if (tick && state.group !== "1") query.set("step", tick * Number(state.group));
  if (state.at) query.set("at", state.at);
  last = await getJson(`/data/book/${encodeURIComponent(instrument)}?${query}`);
  updates += 1;
  show();
}

function show() {
  const { book, trades } = last;
  at("unknown").hidden = book.known;
  at("known").hidden = !book.known;
  if (!book.known) {
    const since = book.unknown_since ?? book.last;
    say(at("unknown"), `Book unknown${since === null ? "" : ` since ${instant(since)}`}: ${book.reason}.`);
  }
  say(at("bid"), price(book.bid, digits));
  say(at("ask"), price(book.ask, digits));
  say(at("mid"), price(book.mid, digits, 1));
  say(at("spread"), book.spread === null ? "–" : `${price(book.spread, digits)} (${number((book.spread / book.mid) * 1e4, 2)} bp)`);
  const side = book.imbalance === null ? "" : book.imbalance > 0 ? " ▲ more bids" : book.imbalance < 0 ? " ▼ more asks" : "";
  say(at("imbalance"), book.imbalance === null ? "–" : `${number(book.imbalance, 3)}${side}`);
  say(at("as-of"), `${instant(book.at)}${book.last === null ? "" : `, last message ${lasted(book.at - book.last)} before`}`);
  if (book.known) {
    ladder(book);
    curve();
  }
  at("trades").replaceChildren(...trades.map(tradeRow));
  at("no-trades").hidden = trades.length > 0;
  document.documentElement.dataset.bookReady = String(updates);
}

function ladder({ bids, asks, spread, mid }) {
  const most = Math.max(1e-300, ...[...bids, ...asks].map((level) => level[2]));
  const row = (kind) => ([level, size, total]) => {
    const cells = [price(level, digits), compact(size), compact(total)].map((text) => element("td", {}, text));
    cells[0].className = "price";
    cells[2].style.backgroundSize = `${Math.round((total / most) * 100)}% 80%`;
    return element("tr", { class: kind }, ...cells);
  };
  const middle = element("td", { colspan: "3" }, mid === null ? "one side is empty" : `mid ${price(mid, digits, 1)} · spread ${price(spread, digits)}`);
  const empty = (text) => element("tr", {}, element("td", { colspan: "3" }, text));
  at("ladder").replaceChildren(
    ...(asks.length ? asks.map(row("ask")).reverse() : [empty("no asks")]),
    element("tr", { class: "mid" }, middle),
    ...(bids.length ? bids.map(row("bid")) : [empty("no bids")]),
  );
}

function curve() {
  const { bids, asks, mid } = last.book;
  drawn = drawDepth(at("depth"), bids, asks, mid, digits, pointer);
  const under = drawn && drawn.under;
  say(at("readout"), under && under.side ? `${under.side === "bid" ? "Bids from" : "Asks up to"} ${price(under.price, digits)}: ${compact(under.total)}` : "Point at the curve, or read the ladder.");
}

function tradeRow(trade) {
  const side = trade.side === "buy" ? "▲ buy" : trade.side === "sell" ? "▼ sell" : "? unknown";
  const tone = trade.side === "buy" ? "rise" : trade.side === "sell" ? "fall" : "";
  return element("tr", {}, element("td", {}, instant(trade.ts_event, false)), element("td", { class: tone }, side), element("td", { class: "number" }, price(trade.price, digits)), element("td", { class: "number" }, compact(trade.size)));
}

const round = new Round(ask, { everyMs: 1000, onState: stateIn(at("stale")) });

function choose(values) {
  Object.assign(state, values);
  remember({ levels: state.levels === "10" ? "" : state.levels, group: state.group === "1" ? "" : state.group, at: state.at });
  say(at("when"), state.at ? "a past time, rebuilt from the recorded messages" : "now, once a second");
  round.everyMs = state.at ? 3600_000 : 1000;
  round.soon();
}

function moment() {
  const text = at("at").value;
  if (!text) return choose({ at: "" });
  const when = Date.parse(`${text.length === 16 ? `${text}:00` : text}Z`);
  return Number.isNaN(when) ? undefined : choose({ at: String(when / 1000) });
}

function move(seconds) {
  const from = state.at ? Number(state.at) : last.book.at;
  const to = Math.min(Date.now() / 1000, from + seconds);
  at("at").value = new Date(to * 1000).toISOString().slice(0, 19);
  choose({ at: to.toFixed(3) });
}

at("levels").value = state.levels;
at("levels").addEventListener("change", ({ target }) => choose({ levels: target.value }));
for (const many of steps) at("group").append(element("option", { value: String(many) }, price(many * tick, digits)));
if (!steps.length) at("group").append(element("option", { value: "1" }, "tick not known"));
at("group").value = state.group;
at("group").addEventListener("change", ({ target }) => choose({ group: target.value }));
at("at").addEventListener("change", moment);
at("live").addEventListener("click", () => {
  at("at").value = "";
  choose({ at: "" });
});
for (const button of document.querySelectorAll("[data-move]")) button.addEventListener("click", () => last && move(Number(button.dataset.move)));
at("depth").addEventListener("pointermove", (event) => {
  pointer = event.offsetX;
  if (last && last.book.known) curve();
});
at("depth").addEventListener("pointerleave", () => {
  pointer = null;
  if (last && last.book.known) curve();
});
new ResizeObserver(() => last && last.book.known && curve()).observe(at("depth"));
onTheme(() => last && last.book.known && curve());
document.addEventListener("zonechange", () => last && show());

window.tapedeck = {
  get book() {
    return { ...last.book, trades: last.trades, drawn, updates };
  },
};

if (state.at) at("at").value = new Date(Number(state.at) * 1000).toISOString().slice(0, 19);
choose({});
