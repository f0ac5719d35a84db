// The line to the assistant: events over one WebSocket that comes back by itself, requests over POST.

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 5000;

/** @typedef {{event: string, [field: string]: any}} Happening */

export class Refused extends Error {}

class Link extends EventTarget {
  #wait = FIRST_WAIT_MS;
  /** @type {WebSocket|null} */
  #socket = null;
  #wanted = /** @type {string[]} */ ([]);

  /** Connect, and again whenever the line is lost. */
  open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/events`);
    this.#socket = socket;
    socket.onopen = () => {
      this.#wait = FIRST_WAIT_MS;
      this.#tellWishes();
    };
    socket.onmessage = ({ data }) => this.#tell(JSON.parse(data));
    socket.onclose = () => this.#lost();
  }

  /** @param {string[]} wishes such as ["level"]: what is only told on request */
  want(wishes) {
    this.#wanted = wishes;
    this.#tellWishes();
  }

  /**
   * @param {string} event
   * @param {(happening: Happening) => void} listener
   */
  on(event, listener) {
    this.addEventListener(event, (/** @type {any} */ { detail }) => listener(detail));
  }

  #tellWishes() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ want: this.#wanted }));
  }

  /** @param {Happening} happening */
  #tell(happening) {
    this.dispatchEvent(new CustomEvent(happening.event, { detail: happening }));
  }

  async #lost() {
    this.#tell({ event: "lost" });
    const answer = await fetch("/api/events").catch(() => null); // a cookie that has ended looks like a lost line
    if (answer?.status === 401) location.assign("/signin");
    setTimeout(() => this.open(), this.#wait);
    this.#wait = Math.min(LONGEST_WAIT_MS, this.#wait * 2);
  }
}

export const link = new Link();

/**
 * Get or send JSON.
 * @param {string} path
 * @param {object} [body] sent by POST if there is one
 * @returns {Promise<any>} Throws Refused with a line for people.
 */
export async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, options).catch(() => null);
  if (!answer) throw new Refused("the assistant does not answer");
  if (answer.status === 401) location.assign("/signin");
  const found = await answer.json().catch(() => ({ error: `the assistant answered with status ${answer.status}` }));
  if (!answer.ok || found.ok === false) throw Object.assign(new Refused(found.error), { problems: found.problems });
  return found;
}

/** @param {object} request one of docs/control.md */
export const act = (request) => ask("/api/do", request);
