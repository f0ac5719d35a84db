// How the assistant is: what is wrong, its devices, its plugins and tools, its wake words, its needs, its cost.

import { byId, clock, el } from "./dom.js";
import { act, ask } from "./link.js";
import { orSayWhy } from "./notice.js";
import { openTool } from "./tools.js";
import { drawWake } from "./wake.js";

const EVERY_MS = 5000;
let timer = 0;
/** @type {{at: number, cpu_s: number}|null} */
let before = null;

/** @param {boolean} visible */
export async function showHealth(visible) {
  clearTimeout(timer);
  if (!visible) {
    before = null;
    return;
  }
  const [health, { tools } = { tools: [] }, wake] = await Promise.all([
    orSayWhy(() => ask("/api/health")),
    orSayWhy(() => act({ do: "tools" })),
    orSayWhy(() => ask("/api/wake")),
  ]);
  if (health) draw(health, tools);
  if (wake) drawWake(wake);
  timer = setTimeout(() => refresh(), EVERY_MS);
}

/** What moves while one looks; the forms stay as they are. */
async function refresh() {
  const health = await ask("/api/health").catch(() => null);
  if (health) drawFigures(health);
  timer = setTimeout(refresh, EVERY_MS);
}

/** @param {any} health @param {import("./tools.js").Tool[]} tools */
function draw(health, tools) {
  drawFigures(health);
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  byId("plugins").replaceChildren(...health.status.plugins.map((/** @type {any} */ each) => plugin(each, byName)));
}

/** @param {any} health */
function drawFigures({ status, devices, process, caps, memory_limit_mb }) {
  const troubles = status.troubles.map((/** @type {any} */ { part, text, since }) =>
    el("li", { class: "bad" }, `${part}: ${text} (since ${clock(since)})`),
  );
  byId("troubles").replaceChildren(...(troubles.length ? troubles : [el("li", { class: "good" }, "All is well.")]));
  const { money } = status;
  const share = before && process.at > before.at ? (process.cpu_s - before.cpu_s) / (process.at - before.at) : null;
  before = process;
  const cost = (/** @type {number} */ spent, /** @type {number|null} */ cap) =>
    `${spent.toFixed(2)} ${money.currency}${cap == null ? "" : ` of ${cap.toFixed(2)}`}`;
  facts("figures", [
    ["Brain", `${status.provider}, link ${status.link}`],
    ["Microphone", devices.microphone + (status.muted ? " (muted)" : "")],
    ["Speaker", `${devices.speaker}, volume ${status.volume} %`],
    ["CPU", share == null ? `${process.cpu_s.toFixed(0)} s since the start` : `${(share * 100).toFixed(1)} % of a core`],
    ["Memory", `${process.memory_mb.toFixed(0)} MB of ${memory_limit_mb}`],
    ["Runs for", duration(status.uptime_s)],
    ["Version", status.version],
    ...(money ? [["Cost today", cost(money.today, caps.daily)], ["Cost this month", cost(money.month, caps.monthly)]] : []),
  ]);
}

/** @param {string} id @param {string[][]} pairs */
function facts(id, pairs) {
  byId(id).replaceChildren(...pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** @param {any} plugin @param {Map<string, import("./tools.js").Tool>} byName */
function plugin({ name, status, reason, tools }, byName) {
  const buttons = tools
    .map((/** @type {string} */ each) => byName.get(each))
    .filter(Boolean)
    .map((/** @type {any} */ tool) => el("button", { type: "button", class: "small", click: () => openTool(tool) }, tool.name.replaceAll("_", " ")));
  return el(
    "li",
    {},
    el("h3", {}, name, " ", el("span", { class: status === "enabled" ? "good" : "quiet" }, status)),
    reason && el("p", { class: "quiet" }, reason),
    el("div", { class: "chips" }, ...buttons),
  );
}

/** @param {number} seconds */
function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${Math.floor(minutes / 1440)} days`;
}
