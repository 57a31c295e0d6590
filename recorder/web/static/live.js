// The live connection of a page: one WebSocket, reconnected by itself, drawn in animation frames only.
//
//   const live = new LiveStream([{ kind: "quote", instrument: "kraken:BTC/USD" }], (changed, live) => { ... });
//
// `live.values` has the newest item of each stream by `keyOf(item)`; `changed` the items since the last drawing. After
// a reconnect there is a snapshot again and `changed` has everything, because nothing is resumed. A hidden page draws
// nothing. `live.onevent` gets each gap, alert and status at once, `live.onstate` whether ticks come, when that changes.

import { banner } from "./base.js";

const STALE_MS = 2500;
const FIRST_MS = 500;
const LONGEST_MS = 15000;
const LOGIN_ENDED = 1008;

export const keyOf = (item) =>
  [item.kind, item.gap_id ?? item.alert_id ?? item.instrument_id ?? "", item.width ?? "", item.start ?? ""].join(" ");

export class LiveStream {
  values = new Map();
  state = { connected: false, ticks: 0, missed: 0, draws: 0, connects: 0, problem: "" };
  onevent = null;
  onstate = null;

  constructor(streams, draw, { path = "/api/v1/stream", meanwhile = "What is shown may be old." } = {}) {
    this.meanwhile = meanwhile;
    this.alive = null;
    this.streams = streams;
    this.draw = draw;
    this.url = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;
    this.changed = new Map();
    this.failures = 0;
    this.heard = performance.now();
    this.frame = 0;
    this.timer = setInterval(() => this.#watch(), 500);
    document.addEventListener("visibilitychange", () => this.#seen());
    addEventListener("pagehide", () => this.close());
    this.#connect();
    window.tapedeck = Object.assign(window.tapedeck ?? {}, { live: this.state });
  }

  // Replaces what is subscribed; a snapshot follows.
  subscribe(streams) {
    if (this.socket?.readyState === WebSocket.OPEN && this.streams.length) this.#send("unsubscribe", this.streams);
    this.streams = streams;
    this.values.clear();
    if (this.socket?.readyState === WebSocket.OPEN && streams.length) this.#send("subscribe", streams);
  }

  close() {
    clearInterval(this.timer);
    clearTimeout(this.again);
    this.closed = true;
    this.socket?.close();
  }

  #send(op, streams) {
    this.socket.send(JSON.stringify({ op, id: 1, streams }));
  }

  #connect() {
    if (this.closed) return;
    const socket = (this.socket = new WebSocket(this.url));
    let last = 0;
    socket.onopen = () => {
      if (this.socket === socket && this.streams.length) this.#send("subscribe", this.streams);
    };
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket) return;
      const message = JSON.parse(data);
      this.heard = performance.now();
      if (message.op === "hello") {
        Object.assign(this.state, { connected: true, connects: this.state.connects + 1 });
      } else if (message.op === "tick") {
        this.failures = 0;
        this.state.ticks += 1;
        this.state.ts = message.ts;
        if (last) this.state.missed += message.seq - last - 1;
        last = message.seq;
        this.state.problem = message.problem ?? "";
        this.#take(message.items);
      } else if (message.op === "snapshot") {
        this.values.clear();
        this.#take(message.items);
      } else if (message.op === "error") {
        this.state.problem = message.problem.detail;
      } else {
        this.onevent?.(message);
      }
      this.#show();
    };
    socket.onclose = ({ code, reason }) => {
      if (this.socket !== socket || this.closed) return;
      this.state.connected = false;
      // A page that is loaded again gets a new token, or asks for the login.
      if (code === LOGIN_ENDED && this.state.connects && !document.hidden) return location.reload();
      if (code === LOGIN_ENDED) this.state.problem = reason || "The login has ended: load this page again";
      const wait = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.failures++);
      this.again = setTimeout(() => this.#connect(), wait * (0.5 + Math.random() / 2));
      this.#show();
    };
  }

  #take(items) {
    for (const item of items) {
      const key = keyOf(item);
      this.values.set(key, item);
      this.changed.set(key, item);
    }
    this.#plan();
  }

  #plan() {
    if (this.frame || document.hidden || !this.changed.size) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      const changed = [...this.changed.values()];
      this.changed.clear();
      this.state.draws += 1;
      this.draw(changed, this);
      document.documentElement.dataset.live = "1";
    });
  }

  #seen() {
    if (document.hidden) return;
    // A socket that was silent meanwhile may be half open: it is not trusted.
    if (performance.now() - this.heard > STALE_MS) this.#drop();
    this.#plan();
  }

  #drop() {
    const socket = this.socket;
    this.socket = null;
    this.state.connected = false;
    socket?.close();
    clearTimeout(this.again);
    this.#connect();
  }

  #watch() {
    const silent = performance.now() - this.heard;
    if (silent > 4 * STALE_MS && this.socket?.readyState === WebSocket.OPEN) this.#drop();
    this.#show();
  }

  #show() {
    const silent = performance.now() - this.heard;
    const stale = silent > STALE_MS;
    const alive = this.state.connected && !stale && this.state.problem === "";
    if (alive !== this.alive) {
      this.alive = alive;
      this.onstate?.(alive);
    }
    const text = stale ? `The live connection has been silent for ${Math.round(silent / 1000)} s.` : `${this.state.problem}.`;
    banner("live", stale || this.state.problem !== "", `${text.replace(/\.+$/, ".")} ${this.meanwhile}`);
  }
}
