// A heat map of states on a canvas: rows of instruments, columns of hours. Each state has a colour and a shape of its own,
// so that it can be read without colours. Cells are drawn from ready tiles: 200 x 168 of them must not freeze a page.

export const ROW = 18;
const GAP = 1;

export const STATES = {
  o: { name: "open", colour: "--warn", shape: "ring" },
  g: { name: "gap", colour: "--bad", shape: "cross" },
  n: { name: "not subscribed", colour: "--line", shape: "dash" },
  p: { name: "subscribed in part", colour: "--good", shape: "dash" },
  h: { name: "healed", colour: "--link", shape: "plus" },
  c: { name: "complete", colour: "--good", shape: "full" },
  u: { name: "unknown", colour: "--line", shape: "dot" },
};

const SHAPES = {
  full: () => undefined,
  ring: (pen, w, h, r) => pen.arc(w / 2, h / 2, r, 0, 7),
  cross: (pen, w, h, r) => { for (const s of [-1, 1]) { pen.moveTo(w / 2 - r, h / 2 - s * r); pen.lineTo(w / 2 + r, h / 2 + s * r); } },
  dash: (pen, w, h, r) => { pen.moveTo(w / 2 - r, h / 2); pen.lineTo(w / 2 + r, h / 2); },
  plus: (pen, w, h, r) => { pen.moveTo(w / 2 - r, h / 2); pen.lineTo(w / 2 + r, h / 2); pen.moveTo(w / 2, h / 2 - r); pen.lineTo(w / 2, h / 2 + r); },
  dot: (pen, w, h) => pen.arc(w / 2, h / 2, 0.7, 0, 7),
};

// Draws one cell: a share that is missing fills that part of it from the bottom.
export function paint(pen, letter, w, h, style, share = 1) {
  const { colour, shape } = STATES[letter];
  const value = style.getPropertyValue(colour).trim();
  const outlined = letter === "n" || letter === "u";
  const high = letter === "g" || letter === "o" ? Math.max(4, Math.round(h * Math.min(1, share))) : h;
  pen.fillStyle = outlined ? style.getPropertyValue("--bg").trim() : value;
  if (high < h) {
    pen.globalAlpha = 0.25;
    pen.fillRect(0, 0, w, h);
    pen.globalAlpha = 1;
  }
  pen.fillRect(0, h - high, w, high);
  pen.strokeStyle = outlined ? style.getPropertyValue("--soft").trim() : style.getPropertyValue("--bg").trim();
  pen.lineWidth = 1.3;
  pen.beginPath();
  SHAPES[shape](pen, w, h, Math.max(1.5, Math.min(w, h) / 2 - 2));
  pen.stroke();
}

export class HeatMap {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = [];
    this.selected = null;
  }

  // Shows rows of {cells, missing}; returns the milliseconds that it took.
  show(rows, hours, width) {
    const began = performance.now();
    this.rows = rows;
    this.hours = hours;
    this.cell = Math.max(7, Math.floor(width / hours));
    this.scale = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = this.cell * hours * this.scale;
    this.canvas.height = Math.max(1, rows.length * ROW * this.scale);
    this.canvas.style.width = `${this.cell * hours}px`;
    this.canvas.style.height = `${rows.length * ROW}px`;
    const style = getComputedStyle(document.documentElement);
    const pen = this.canvas.getContext("2d");
    const tiles = new Map();
    rows.forEach((row, y) => {
      for (let x = 0; x < hours; x += 1) {
        const letter = row.cells[x];
        const share = row.missing[x] === undefined ? 1 : Math.ceil(row.missing[x] * 8) / 8;
        const key = letter + share;
        if (!tiles.has(key)) tiles.set(key, this.#tile(letter, share, style));
        pen.drawImage(tiles.get(key), x * this.cell * this.scale, y * ROW * this.scale);
      }
    });
    return performance.now() - began;
  }

  // Returns {row, hour} at a place of the canvas; null outside.
  at(x, y) {
    const [hour, row] = [Math.floor(x / this.cell), Math.floor(y / ROW)];
    return hour >= 0 && hour < this.hours && row >= 0 && row < this.rows.length ? { row, hour } : null;
  }

  #tile(letter, share, style) {
    const tile = document.createElement("canvas");
    tile.width = (this.cell - GAP) * this.scale;
    tile.height = (ROW - 2 * GAP) * this.scale;
    const pen = tile.getContext("2d");
    pen.scale(this.scale, this.scale);
    paint(pen, letter, this.cell - GAP, ROW - 2 * GAP, style, share);
    return tile;
  }
}
