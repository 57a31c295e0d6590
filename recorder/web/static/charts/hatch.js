// Hatches the slots that a gap touches, behind the drawing of every pane: closely where there is no bar at all.

import { color } from "./format.js";

const STEP_PX = 7;

export class Hatch {
  constructor(model, chart) {
    this.model = model;
    this.chart = chart;
    this.attached = [];
    this.drawn = 0; // rectangles of the last drawing, for tests
  }

  attach(panes) {
    for (const pane of panes) {
      const primitive = { paneViews: () => [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.#draw(target) }) }] };
      pane.attachPrimitive(primitive);
      this.attached.push([pane, primitive]);
    }
  }

  detach() {
    for (const [pane, primitive] of this.attached) pane.detachPrimitive(primitive);
    this.attached = [];
  }

  restyle() {
    this.shade = color("--chart-hatch");
    this.soft = color("--chart-hatch-soft");
  }

  #draw(target) {
    const model = this.model();
    if (!model || !model.gaps.length) return;
    const scale = this.chart.timeScale();
    const half = scale.options().barSpacing / 2;
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      let count = 0;
      for (const [first, last, held] of model.runs()) {
        const from = scale.logicalToCoordinate(first);
        const to = scale.logicalToCoordinate(last);
        if (from === null || to === null) continue;
        const left = Math.max(0, from - half);
        const right = Math.min(mediaSize.width, to + half);
        if (right <= left) continue;
        count += 1;
        context.save();
        context.fillStyle = this.soft;
        context.globalAlpha = held ? 0.2 : 0.45;
        context.fillRect(left, 0, right - left, mediaSize.height);
        context.globalAlpha = 1;
        context.beginPath();
        context.rect(left, 0, right - left, mediaSize.height);
        context.clip();
        context.beginPath();
        for (let x = Math.floor((left - mediaSize.height) / STEP_PX) * STEP_PX; x < right; x += held ? STEP_PX * 2 : STEP_PX) {
          context.moveTo(x, mediaSize.height);
          context.lineTo(x + mediaSize.height, 0);
        }
        context.strokeStyle = held ? this.soft : this.shade;
        context.lineWidth = 1;
        context.stroke();
        context.restore();
      }
      this.drawn = count;
    });
  }
}
