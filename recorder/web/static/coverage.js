// The page of coverage: asks for a window, draws it, and says about a cell what caused it.

import { banner, getJson, timeText } from "./base.js";
import { HeatMap, paint, ROW, STATES } from "./heatmap.js";

const HOUR = 3600e3;
const REFRESH_MS = 60000;
const AGAIN_MS = 3000;
const HOVER_MS = 120;

const byId = (id) => document.getElementById(id);
const map = new HeatMap(byId("cells"));
const tip = byId("tip");
const cells = new Map(); // answers about cells, until the next refresh
let shown = null;
let hover = 0;

const asked = () => new URLSearchParams(location.search);

// A token of a prediction market has 78 digits: its begin and its end tell it from others.
function shortened(name) {
  return name.length > 40 ? `${name.slice(0, name.indexOf(":") + 4)}…${name.slice(-4)}` : name;
}

function hourOf(number) {
  return new Date(Date.parse(shown.start) + number * HOUR);
}

let timer = 0;

function plan(afterMs) {
  clearTimeout(timer);
  timer = setTimeout(() => (document.hidden ? plan(afterMs) : load()), afterMs);
}

async function load() {
  try {
    shown = await getJson(`/api/v1/coverage/grid?${asked()}`);
  } catch (error) {
    byId("note").textContent = `${error.message}. What is shown may be old.`;
    byId("note").className = "banner bad";
    plan(AGAIN_MS);
    return;
  }
  plan(REFRESH_MS);
  cells.clear();
  draw();
  byId("note").className = "soft";
  byId("note").textContent = "";
  document.documentElement.dataset.coverage = String(shown.items.length);
}

function draw() {
  if (!shown) return;
  byId("empty").hidden = shown.items.length > 0;
  byId("map").hidden = shown.items.length === 0;
  const labels = byId("labels");
  labels.replaceChildren(
    ...shown.items.map((row) => {
      const link = document.createElement("a");
      link.href = `/coverage/${row.instrument_id}?channel=${shown.channel}`;
      link.textContent = shortened(row.instrument);
      link.title = row.instrument;
      return link;
    }),
  );
  const width = byId("map").clientWidth - labels.offsetWidth - 2;
  const took = map.show(shown.items, shown.hours, width);
  axis();
  legend();
  byId("as-of").textContent = `${shown.items.length} instruments, ${shown.hours} hours, as of ${timeText(shown.as_of)}`;
  byId("next").hidden = !shown.next;
  if (shown.next) byId("next").href = `?${with_("after", shown.next)}`;
  byId("export").href = `/api/v1/coverage/grid.csv?${asked()}`;
  window.tapedeck = { ...window.tapedeck, coverage: { took, counts: shown.counts, rows: shown.items.length } };
}

function with_(name, value) {
  const query = asked();
  query.set(name, value);
  return query;
}

function axis() {
  const canvas = byId("axis");
  const scale = Math.min(2, devicePixelRatio || 1);
  const wide = map.cell * shown.hours;
  Object.assign(canvas, { width: wide * scale, height: 30 * scale });
  Object.assign(canvas.style, { width: `${wide}px`, height: "30px" });
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  pen.scale(scale, scale);
  pen.fillStyle = style.getPropertyValue("--soft").trim();
  pen.font = "11px system-ui, sans-serif";
  const every = [1, 2, 3, 6, 12, 24].find((hours) => hours * map.cell >= 40) ?? 24;
  for (let n = 0; n < shown.hours; n += 1) {
    const text = timeText(hourOf(n)); // 2026-12-01 09:00:00 ZONE
    const hour = Number(text.slice(11, 13));
    if (hour % every === 0 && (n + 1) * map.cell + 30 < wide) pen.fillText(`${text.slice(11, 16)}`, n * map.cell, 26);
    if ((hour === 0 || n === 0) && n * map.cell + 70 < wide) pen.fillText(text.slice(0, 10), n * map.cell, 12);
  }
}

function legend() {
  const list = byId("legend");
  const style = getComputedStyle(document.documentElement);
  list.replaceChildren(
    ...Object.entries(STATES).map(([letter, { name }]) => {
      const item = document.createElement("li");
      const canvas = document.createElement("canvas");
      Object.assign(canvas, { width: 28, height: 32 });
      Object.assign(canvas.style, { width: "14px", height: "16px" });
      canvas.getContext("2d").scale(2, 2);
      paint(canvas.getContext("2d"), letter, 14, 16, style);
      item.append(canvas, ` ${name}: ${shown.counts[letter].toLocaleString("en")}`);
      return item;
    }),
  );
}

function say(lines) {
  tip.replaceChildren(
    ...lines.map((line) => {
      const element = document.createElement("p");
      element.textContent = line;
      return element;
    }),
  );
}

async function about(found) {
  const row = shown.items[found.row];
  const letter = row.cells[found.hour];
  const share = row.missing[found.hour];
  const head = [
    `${row.instrument} ${shown.channel}, ${timeText(hourOf(found.hour))}`,
    `${STATES[letter].name}${share ? `, ${(100 * share).toFixed(share < 0.001 ? 3 : 1)} % missing` : ""}`,
  ];
  const key = `${row.instrument_id} ${found.hour}`;
  if (!cells.has(key)) {
    say([...head, "…"]);
    const query = new URLSearchParams({ instrument: row.instrument_id, channel: shown.channel, hour: hourOf(found.hour).toISOString() });
    try {
      const cell = await getJson(`/api/v1/coverage/cell?${query}`);
      const gaps = cell.gaps.map((gap) => {
        const ids = gap.last_id && gap.first_id ? `, ids ${gap.last_id} to ${gap.first_id}` : "";
        return `gap ${gap.gap_id}: ${gap.cause}, ${gap.state}, ${timeText(gap.started_at)} to ${gap.ended_at ? timeText(gap.ended_at) : "now"}${ids}`;
      });
      const certificate = cell.certificates[0];
      const graded = certificate ? `certificate ${certificate.revision}: ${certificate.grade}; ${cell.reasons.join("; ")}` : "no certificate yet";
      cells.set(key, [...gaps.slice(0, 6), ...(gaps.length > 6 ? [`and ${gaps.length - 6} more gaps`] : []), graded]);
    } catch (error) {
      cells.set(key, [error.message]);
    }
  }
  if (hover && map.selected?.row === found.row && map.selected?.hour === found.hour) say([...head, ...cells.get(key)]);
}

function select(found, x, y) {
  map.selected = found;
  clearTimeout(hover);
  hover = 0;
  tip.hidden = !found;
  if (!found) return;
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 12))}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? Math.max(4, y - tip.offsetHeight - 10) : y + 18}px`;
  const row = shown.items[found.row];
  say([`${row.instrument} ${shown.channel}, ${timeText(hourOf(found.hour))}`, STATES[row.cells[found.hour]].name]);
  hover = setTimeout(() => about(found), HOVER_MS);
}

function open(found) {
  const query = new URLSearchParams({ channel: shown.channel, hour: hourOf(found.hour).toISOString() });
  location.assign(`/coverage/${shown.items[found.row].instrument_id}?${query}`);
}

map.canvas.addEventListener("mousemove", (event) => {
  const found = map.at(event.offsetX, event.offsetY);
  if (found?.row !== map.selected?.row || found?.hour !== map.selected?.hour) select(found, event.clientX, event.clientY);
});
map.canvas.addEventListener("mouseleave", () => select(null));
map.canvas.addEventListener("click", (event) => {
  const found = map.at(event.offsetX, event.offsetY);
  if (found) open(found);
});
map.canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const now = map.selected ?? { row: 0, hour: shown.hours - 1 };
  if (event.key === "Enter" && map.selected) return open(now);
  if (event.key === "Escape") return select(null);
  if (!step || !shown.items.length) return;
  event.preventDefault();
  const to = map.selected ? { row: now.row + step[0], hour: now.hour + step[1] } : now;
  if (!map.at(to.hour * map.cell, to.row * ROW)) return;
  const place = map.canvas.getBoundingClientRect();
  select(to, place.left + to.hour * map.cell, place.top + to.row * ROW);
});
for (const name of ["themechange", "zonechange"]) document.addEventListener(name, draw);
addEventListener("resize", draw);
byId("filters").addEventListener("change", (event) => event.target.form.requestSubmit());
load().then(() => banner("live", false));
