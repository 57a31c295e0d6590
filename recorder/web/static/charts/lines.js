// Lines over time on a canvas. A point without a value, or a missing step, breaks the line.

import { color, parts } from "./format.js";

const LEFT = 6;
const FOOT = 20;
const TOP = 10;

// lines: [{ values, shade, label, dashed }], each as long as times (seconds). Gives the scale and the point under the pointer.
export function drawLines(canvas, times, stepS, lines, { format, floor = null, ceiling = null, zero = false, pointer = null } = {}) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  const all = lines.flatMap((line) => line.values.filter((value) => value !== null));
  if (!all.length) return null;
  let low = Math.min(...all, zero ? 0 : Infinity);
  let high = Math.max(...all, zero ? 0 : -Infinity);
  const room = (high - low) * 0.08 || Math.abs(high) * 0.01 || 0.01;
  low = floor === null ? low - room : Math.max(floor, low - room);
  high = ceiling === null ? high + room : Math.min(ceiling, high + room);
  const first = times[0];
  const span = times[times.length - 1] - first || 1;
  const grid = [0, 1, 2, 3, 4].map((at) => low + ((high - low) * at) / 4);
  const widest = Math.max(...grid.map((value) => pen.measureText(format(value)).width));
  const right = widest + 12;
  const x = (time) => LEFT + ((time - first) / span) * (width - LEFT - right);
  const y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - FOOT);
  pen.textBaseline = "middle";
  for (const value of grid) {
    pen.strokeStyle = color("--chart-grid");
    pen.beginPath();
    pen.moveTo(LEFT, y(value));
    pen.lineTo(width - right, y(value));
    pen.stroke();
    pen.fillStyle = color("--chart-text");
    pen.fillText(format(value), width - right + 6, y(value));
  }
  if (low < 0 && high > 0) {
    pen.strokeStyle = color("--chart-text");
    pen.beginPath();
    pen.moveTo(LEFT, y(0));
    pen.lineTo(width - right, y(0));
    pen.stroke();
  }
  pen.textBaseline = "bottom";
  const labels = [];
  const marks = width > 600 ? 4 : 2;
  for (let at = 0; at <= marks; at++) {
    const time = first + (span * at) / marks;
    const [, month, day, hour, minute] = parts(time);
    const short = span < 60 * marks ? `:${String(Math.floor(time) % 60).padStart(2, "0")}` : "";
    pen.textAlign = at === 0 ? "left" : at === marks ? "right" : "center";
    labels.push(span > 172800 ? `${month}-${day} ${hour}h` : `${hour}:${minute}${short}`);
    pen.fillText(labels.at(-1), x(time), height - 2);
  }
  for (const line of lines) {
    pen.strokeStyle = color(`--chart-${line.shade}`);
    pen.lineWidth = 1.7;
    pen.setLineDash(line.dashed ? [5, 3] : []);
    pen.beginPath();
    let before = null;
    times.forEach((time, at) => {
      const value = line.values[at];
      if (value === null) {
        before = null;
        return;
      }
      const joined = before !== null && time - before <= stepS * 1.5;
      if (joined) pen.lineTo(x(time), y(value));
      else pen.moveTo(x(time) - 0.8, y(value)), pen.lineTo(x(time) + 0.8, y(value));
      before = time;
    });
    pen.stroke();
  }
  pen.setLineDash([]);
  let under = null;
  if (pointer !== null) {
    const wanted = first + ((pointer - LEFT) / (width - LEFT - right)) * span;
    under = times.reduce((best, time, at) => (Math.abs(time - wanted) < Math.abs(times[best] - wanted) ? at : best), 0);
    pen.strokeStyle = color("--chart-text");
    pen.beginPath();
    pen.moveTo(x(times[under]), TOP);
    pen.lineTo(x(times[under]), height - FOOT);
    pen.stroke();
  }
  return { low, high, points: all.length, under, labels, right };
}

// Draws again whenever the size, the colours or the zone change, or the pointer moves; draw(pointer) does it.
export function keepDrawn(canvas, draw, onTheme) {
  canvas.addEventListener("pointermove", (event) => draw(event.offsetX));
  canvas.addEventListener("pointerleave", () => draw(null));
  new ResizeObserver(() => draw(null)).observe(canvas);
  onTheme(() => draw(null));
  document.addEventListener("zonechange", () => draw(null));
}
