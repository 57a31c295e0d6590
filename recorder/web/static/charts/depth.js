// The depth curve on a canvas: how much could be bought or sold up to each price.

import { color, compact } from "./format.js";
import { price } from "./price.js";

const FOOT = 20;
const SIDE = 8;

// Draws both sides, each a list of [price, size, total] from the best on; gives what is drawn, for tests and the pointer.
export function drawDepth(canvas, bids, asks, mid, digits, pointer = null) {
  const ratio = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, sans-serif";
  if (!bids.length && !asks.length) return null;
  const far = [...bids, ...asks];
  const ends = [Math.min(...far.map((level) => level[0])), Math.max(...far.map((level) => level[0]))];
  const room = (ends[1] - ends[0]) * 0.04;
  const [low, high] = [ends[0] - room, ends[1] + room];
  const most = Math.max(...far.map((level) => level[2]));
  const span = high - low || Math.abs(high) * 1e-6 || 1;
  const x = (price) => SIDE + ((price - low) / span) * (width - 2 * SIDE);
  const y = (total) => height - FOOT - (total / most) * (height - FOOT - 16);
  const side = (levels, edge, fill, stroke) => {
    if (!levels.length) return;
    pen.beginPath();
    pen.moveTo(x(levels[0][0]), y(0));
    let total = 0;
    for (const [price, , next] of levels) {
      pen.lineTo(x(price), y(total));
      pen.lineTo(x(price), y(next));
      total = next;
    }
    pen.lineTo(x(edge), y(total));
    pen.strokeStyle = color(stroke);
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineTo(x(edge), y(0));
    pen.closePath();
    pen.fillStyle = color(fill);
    pen.fill();
  };
  side(bids, low, "--chart-up-soft", "--chart-up");
  side(asks, high, "--chart-down-soft", "--chart-down");
  pen.strokeStyle = color("--chart-grid");
  pen.beginPath();
  pen.moveTo(SIDE, y(0));
  pen.lineTo(width - SIDE, y(0));
  if (mid !== null) {
    pen.moveTo(x(mid), 14);
    pen.lineTo(x(mid), y(0));
  }
  pen.stroke();
  pen.fillStyle = color("--chart-text");
  pen.textBaseline = "bottom";
  pen.textAlign = "left";
  pen.fillText(price(low, digits), SIDE, height - 2);
  pen.fillText(`Bids ${compact(bids.length ? bids[bids.length - 1][2] : 0)}`, SIDE, 14);
  pen.textAlign = "right";
  pen.fillText(price(high, digits), width - SIDE, height - 2);
  pen.fillText(`Asks ${compact(asks.length ? asks[asks.length - 1][2] : 0)}`, width - SIDE, 14);
  pen.textAlign = "center";
  if (mid !== null && width > 500) pen.fillText(price(mid, digits), x(mid), height - 2);
  let under = null;
  if (pointer !== null) {
    const price = low + ((pointer - SIDE) / (width - 2 * SIDE)) * span;
    const bid = bids.filter((level) => level[0] >= price).pop();
    const ask = asks.filter((level) => level[0] <= price).pop();
    under = bid && price <= bids[0][0] ? { side: "bid", price, total: bid[2] } : ask ? { side: "ask", price, total: ask[2] } : { side: null, price, total: 0 };
    pen.beginPath();
    pen.moveTo(pointer, 16);
    pen.lineTo(pointer, y(0));
    pen.stroke();
  }
  return { low, high, most, under };
}
