// Small helpers to build and find elements. Text always goes in as text, never as markup.

/**
 * @param {string} id
 * @returns {any} the element, which must be there
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/**
 * Make an element: el("p", { class: "quiet" }, "text", child).
 * @param {string} tag
 * @param {Record<string, any>} [attributes] a function is an event listener, true an empty attribute
 * @param {...(Node|string|number|null|undefined)} children
 * @returns {any}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, String(value));
  }
  for (const child of children) if (child != null) made.append(typeof child === "number" ? String(child) : child);
  return made;
}

/** @param {number} seconds Unix time */
export const clock = (seconds) =>
  new Date(seconds * 1000).toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** @param {number|null|undefined} ms */
export const inMs = (ms) => (ms == null ? "–" : ms >= 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`);
