// One line at the top of the page, for what went wrong.

import { byId } from "./dom.js";

const LASTS_MS = 8000;
let timer = 0;

/** @param {string} text */
export function notice(text) {
  const line = byId("notice");
  line.textContent = text;
  line.hidden = !text;
  clearTimeout(timer);
  if (text) timer = setTimeout(() => notice(""), LASTS_MS);
}

/**
 * Do something; if it is refused, say why.
 * @template T
 * @param {() => Promise<T>} something
 * @returns {Promise<T|undefined>}
 */
export async function orSayWhy(something) {
  try {
    return await something();
  } catch (error) {
    notice(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}
