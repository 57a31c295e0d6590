// The round that repeats a question to the server, and the state of a page in its address.

const SLOW_MS = 2500;
const AGAIN_MS = 3000;

// Repeats a question: never two at once, none while the page is hidden; one that failed is repeated within 3 s.
export class Round {
  // question: an async function; onState(problem, age): problem is null when it worked, age the seconds since it last did.
  constructor(question, { everyMs = 1000, onState = () => {} } = {}) {
    this.question = question;
    this.everyMs = everyMs;
    this.onState = onState;
    this.workedMs = null;
    this.failures = 0;
    this.timer = null;
    this.busy = false;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.soon();
    });
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.run(), 0);
  }

  async run() {
    clearTimeout(this.timer);
    if (this.busy) return;
    if (!document.hidden) await this.#ask();
    clearTimeout(this.timer);
    const again = Math.min(AGAIN_MS, this.everyMs * (1 + this.failures));
    this.timer = setTimeout(() => this.run(), this.failures ? again : this.everyMs);
  }

  async #ask() {
    this.busy = true;
    const slow = setInterval(() => this.onState("it takes long", this.#age()), SLOW_MS);
    try {
      await this.question();
      this.failures = 0;
      this.workedMs = performance.now();
      this.onState(null, 0);
    } catch (error) {
      this.failures += 1;
      this.onState(error.message || String(error), this.#age());
    } finally {
      clearInterval(slow);
      this.busy = false;
    }
  }

  #age() {
    return this.workedMs === null ? null : (performance.now() - this.workedMs) / 1000;
  }
}

// Shows the state of a round in an element: when it last worked, or since when it does not.
export function stateIn(element) {
  return (problem, age) => {
    element.hidden = problem === null;
    if (problem === null) return;
    const since = age === null ? "" : ` What is shown is ${Math.round(age)} s old.`;
    element.textContent = `No answer: ${problem}.${since} Trying again.`;
  };
}

// Keeps values in the address, so that a link shows the same thing; an empty one is left out.
export function remember(values) {
  const url = new URL(location.href);
  for (const [key, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(key);
    else url.searchParams.set(key, value);
  }
  if (url.href !== location.href) history.replaceState(null, "", url);
}

export const asked = (key, otherwise = "") => new URL(location.href).searchParams.get(key) ?? otherwise;
