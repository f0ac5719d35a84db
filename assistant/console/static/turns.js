// The turns that are over: what came of them, and where their time went.

import { byId, clock, el, inMs } from "./dom.js";
import { ask } from "./link.js";
import { orSayWhy } from "./notice.js";

const GOOD = new Set(["answered", "interrupted", "stopped"]);
const FELT = "last voiced -> first sample";

/** @param {boolean} visible */
export async function showTurns(visible) {
  if (!visible) return;
  const found = await orSayWhy(() => ask("/api/turns"));
  if (!found) return;
  const list = byId("turn-list");
  const open = new Set([...list.querySelectorAll("details[open]")].map((each) => each.dataset.key));
  list.replaceChildren(...found.turns.map((/** @type {any} */ turn) => entry(turn, found.currency, open)));
  byId("no-turns").hidden = found.turns.length > 0;
}

/** @param {any} turn @param {string} currency @param {Set<string>} open */
function entry(turn, currency, open) {
  const key = `${turn.run}-${turn.turn}`;
  const felt = turn.spans[FELT];
  const details = el(
    "details",
    { class: "card turn", "data-key": key, open: open.has(key) },
    el(
      "summary",
      {},
      el("span", { class: `badge ${GOOD.has(turn.outcome) ? "good" : "bad"}` }, turn.outcome),
      el("span", { class: "when" }, clock(turn.time)),
      el("span", { class: "quiet" }, trigger(turn)),
      el("span", { class: "quiet tools" }, turn.tools.map((/** @type {any} */ tool) => tool.name).join(", ")),
      el("span", { class: "number" }, felt == null ? "" : inMs(felt)),
    ),
  );
  const fill = () => details.open && details.children.length === 1 && details.append(...inside(turn, currency));
  details.addEventListener("toggle", fill);
  fill();
  return details;
}

/** @param {any} turn */
const trigger = ({ trigger, word }) => (word ? `by “${word.replaceAll("_", " ")}”` : `by ${trigger}`);

/** @param {any} turn @param {string} currency */
function inside(turn, currency) {
  const facts = [
    turn.detail && ["Reason", turn.detail],
    turn.provider && ["Brain", [turn.provider, turn.model].filter(Boolean).join(" ")],
    ["Audio sent", inMs(turn.sent_ms)],
    turn.tokens && ["Tokens", tokens(turn.tokens)],
    ["Cost", turn.cost == null ? "no price is known" : turn.cost ? `${turn.cost.toFixed(4)} ${currency}` : "nothing"],
    ...Object.entries(turn.spans).filter(([, ms]) => ms != null).map(([name, ms]) => [name, inMs(ms)]),
  ].filter(Boolean);
  const list = el("dl", { class: "facts" });
  for (const [name, value] of facts) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return [waterfall(turn.moments), list];
}

/** @param {Record<string, number>} tokens */
function tokens(tokens) {
  const sum = (/** @type {(kind: string) => boolean} */ counts) =>
    Object.entries(tokens).reduce((total, [kind, count]) => total + (counts(kind) ? count : 0), 0);
  const cached = sum((kind) => kind.startsWith("cached"));
  return `${sum((kind) => kind.endsWith("_in"))} in (${cached} cached), ${sum((kind) => kind.endsWith("_out"))} out`;
}

/** A row a moment, with a bar from the moment before to this one. @param {{at: number, what: string}[]} moments */
function waterfall(moments) {
  const low = Math.min(0, ...moments.map(({ at }) => at));
  const high = Math.max(1, ...moments.map(({ at }) => at));
  const share = (/** @type {number} */ at) => ((at - low) / (high - low)) * 100;
  let before = low;
  const rows = moments.map(({ at, what }) => {
    const bar = el("i");
    bar.style.left = `${share(before)}%`;
    bar.style.width = `${Math.max(0.4, share(at) - share(before))}%`;
    const row = el(
      "tr",
      {},
      el("th", { scope: "row" }, what),
      el("td", {}, inMs(at)),
      el("td", { class: "bars" }, el("div", {}, bar)),
    );
    before = at;
    return row;
  });
  return el(
    "table",
    { class: "waterfall" },
    el("caption", { class: "hidden" }, "What happened when, since the turn began"),
    el("tbody", {}, ...rows),
  );
}
