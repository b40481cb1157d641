// The live feed over one websocket: subscribes, resumes after a break, notices silence.

const SILENCE = 12_000; // milliseconds; a beat comes every five seconds
const FIRST_RETRY = 250;
const LAST_RETRY = 5_000;

/**
 * @typedef {{metric: string, shop: string, id: string, revision: number, value: any}} Figure
 * @typedef {{type: "snapshot" | "delta", id: string, revision: string, figures: Figure[]}} Change
 * @typedef {{subscribe: string, shop?: string, filter?: Record<string, string | string[]>}} Wanted
 * @typedef {"connecting" | "live" | "waiting"} Phase
 */

export class Feed {
  /** @type {Map<string, Wanted>} */ #wanted = new Map();
  /** @type {Map<string, string>} */ #revisions = new Map();
  /** @type {WebSocket | null} */ #socket = null;
  #failures = 0;
  #retry = 0;
  #watchdog = 0;

  /**
   * @param {string} url
   * @param {{change: (change: Change) => void, phase: (phase: Phase) => void}} on
   */
  constructor(url, on) {
    this.url = url;
    this.on = on;
    const now = () => document.visibilityState === "visible" && this.#hurry();
    addEventListener("online", now);
    document.addEventListener("visibilitychange", now);
    this.#connect();
  }

  /**
   * Asks for figures; another `wanted` under the same id replaces the first.
   * @param {string} id
   * @param {Wanted} wanted
   */
  subscribe(id, wanted) {
    this.#wanted.set(id, wanted);
    this.#revisions.delete(id);
    if (this.#socket?.readyState === WebSocket.OPEN) this.#ask(id);
  }

  /** @param {string} id */
  #ask(id) {
    const since = this.#revisions.get(id);
    this.#socket?.send(JSON.stringify({ id, ...this.#wanted.get(id), ...(since && { since }) }));
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    this.on.phase("connecting");
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    this.#watch();
    socket.onopen = () => {
      for (const id of this.#wanted.keys()) this.#ask(id);
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#take(JSON.parse(event.data));
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#wait();
    };
  }

  /** @param {any} message */
  #take(message) {
    this.#watch();
    this.#failures = 0;
    this.on.phase("live");
    if (message.type !== "snapshot" && message.type !== "delta") return;
    if (!this.#wanted.has(message.id)) return;
    this.#revisions.set(message.id, message.revision);
    this.on.change(message);
  }

  /** Nothing at all for so long: whatever the socket believes, the link is dead. */
  #watch() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#socket?.close();
      this.#wait();
    }, SILENCE);
  }

  #wait() {
    clearTimeout(this.#watchdog);
    this.#socket = null;
    this.on.phase("waiting");
    const pause = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** this.#failures);
    this.#failures += 1;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), pause * (0.5 + Math.random() / 2));
  }

  #hurry() {
    if (this.#retry) this.#connect();
  }
}
