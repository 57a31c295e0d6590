// The page of spreads between venues: the table once a second, and the history of one pair.

import { getJson } from "../base.js";
import { asked, remember, Round, stateIn } from "./ask.js";
import { compact, element, instant, lasted, number, onTheme, say } from "./format.js";
import { drawLines, keepDrawn } from "./lines.js";
import { price } from "./price.js";

const at = (id) => document.getElementById(id);
const canvas = at("history");
let pair = asked("pair");
let hours = ["1", "6", "24"].includes(asked("hours")) ? asked("hours") : "1";
let last = null;
let past = null;
let drawn = null;
let updates = 0;

async function ask() {
  last = await getJson("/data/spreads");
  updates += 1;
  if (!pair && last.spreads.length) choose(last.spreads[0].pair, false);
  table();
  say(at("as-of"), `as of ${instant(last.as_of)}; both quotes at most ${number(last.fresh_s, 0)} s old`);
  document.documentElement.dataset.spreadsReady = String(updates);
}

function table() {
  const link = (side) => element("a", { href: `/book/${encodeURIComponent(side.name)}` }, side.venue);
  at("spreads").replaceChildren(...last.spreads.map((one) => {
    const button = element("button", { type: "button", "aria-pressed": String(one.pair === pair), class: "plain" }, one.pair);
    button.addEventListener("click", () => choose(one.pair));
    const sign = one.net_bps > 0 ? "▲ " : "";
    return element("tr", {},
      element("td", {}, button),
      element("td", {}, link(one.buy)), element("td", { class: "number" }, price(one.buy.price, one.digits)),
      element("td", {}, link(one.sell)), element("td", { class: "number" }, price(one.sell.price, one.digits)),
      element("td", { class: "number" }, number(one.gross_bps, 2)),
      element("td", { class: `number ${one.net_bps > 0 ? "rise" : ""}` }, `${sign}${number(one.net_bps, 2)}`),
      element("td", { class: "number" }, compact(one.size)),
      element("td", { class: "number" }, lasted(Math.max(one.buy.age_s, one.sell.age_s))));
  }));
  at("none").hidden = last.spreads.length > 0;
  at("stale-quotes").replaceChildren(...last.left_out.map((one) =>
    element("li", {}, element("a", { href: `/book/${encodeURIComponent(one.name)}` }, `${one.pair} at ${one.venue}`), `: ${one.reason}`)));
  at("left-out").hidden = last.left_out.length === 0;
}

async function load() {
  if (!pair) return;
  past = await getJson(`/data/spreads/history?${new URLSearchParams({ pair, hours })}`);
  draw(null);
  document.documentElement.dataset.historyReady = pair;
}

function choose(name, keep = true) {
  pair = name;
  if (keep) remember({ pair });
  if (last) table();
  later.soon();
}

const bp = (value) => `${number(value, 1)} bp`;

function draw(pointer) {
  if (past === null) return;
  const { time, net, gross, step, buy, sell } = past;
  drawn = drawLines(canvas, time, step[0], [{ values: gross, shade: 2, dashed: true }, { values: net, shade: 1 }], { format: bp, zero: true, pointer });
  say(at("pair"), `${pair}: the widest spread`);
  at("no-history").hidden = drawn !== null;
  if (drawn === null || drawn.under === null) return say(at("readout"), "— solid: after fees   - - dashed: before fees. A break: fewer than two fresh quotes.");
  const here = drawn.under;
  return say(at("readout"), `${instant(time[here])}: ${net[here] === null ? "fewer than two fresh quotes" : `buy at ${buy[here]}, sell at ${sell[here]}, ${bp(net[here])} after fees, ${bp(gross[here])} before`}`);
}

const round = new Round(ask, { everyMs: 1000, onState: stateIn(at("stale")) });
const later = new Round(load, { everyMs: 15000, onState: stateIn(at("stale-history")) });
at("hours").value = hours;
at("hours").addEventListener("change", ({ target }) => {
  hours = target.value;
  remember({ hours: hours === "1" ? "" : hours });
  later.soon();
});
keepDrawn(canvas, draw, onTheme);
round.run();
if (pair) later.run();

window.tapedeck = {
  get spreads() {
    return { ...last, past, drawn, pair, updates };
  },
};
