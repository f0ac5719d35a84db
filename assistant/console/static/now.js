// The view of the moment: the figure, the meters, the captions, the buttons.

import { Captions } from "./captions.js";
import { byId } from "./dom.js";
import { act, link } from "./link.js";
import { orSayWhy } from "./notice.js";

const NAMES = {
  idle: "Ready",
  listening: "Listening",
  thinking: "Thinking",
  speaking: "Speaking",
  follow_up: "Anything else?",
  muted: "Muted",
  offline: "Offline",
};

/** What is shown: the conversation's state, unless it cannot hear or cannot be reached. */
const shown = { state: "offline", muted: false, connected: false, troubles: new Map() };

const captions = new Captions(byId("captions"));

export function startNow() {
  link.on("hello", ({ status }) => {
    Object.assign(shown, { state: status.state, muted: status.muted === true, connected: true });
    shown.troubles = new Map(status.troubles.map((/** @type {any} */ each) => [each.part, each.text]));
    byId("mute").hidden = byId("listen").hidden = status.muted === null;
    draw();
  });
  link.on("lost", () => {
    shown.connected = false;
    measure(-90, 0);
    draw();
  });
  link.on("state", ({ state }) => {
    shown.state = state;
    draw();
  });
  link.on("mute", ({ muted }) => {
    shown.muted = muted;
    draw();
  });
  link.on("health", ({ part, trouble }) => {
    if (trouble) shown.troubles.set(part, trouble);
    else shown.troubles.delete(part);
    draw();
  });
  link.on("level", ({ dbfs, score }) => measure(dbfs, score));
  for (const event of ["turn", "wake", "heard", "asked", "answer", "announcement", "tool", "playback", "alert"])
    link.on(event, (happening) => captions.take(happening));

  byId("mute").addEventListener("click", () => orSayWhy(() => act({ do: shown.muted ? "unmute" : "mute" })));
  byId("listen").addEventListener("click", () => orSayWhy(() => act({ do: "listen" })));
  byId("stop").addEventListener("click", () => orSayWhy(() => act({ do: "stop" })));
  byId("ask").addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const input = byId("request");
    const text = input.value.trim();
    if (text && (await orSayWhy(() => act({ do: "ask", text })))) input.value = "";
  });
}

/** @param {boolean} visible whether the meters are worth measuring */
export function showNow(visible) {
  link.want(visible ? ["level"] : []);
}

function draw() {
  const state = !shown.connected ? "offline" : shown.muted && shown.state === "idle" ? "muted" : shown.state;
  byId("figure").dataset.state = state;
  document.body.dataset.state = state;
  setText(byId("state"), /** @type {Record<string, string>} */ (NAMES)[state] ?? state);
  setText(byId("detail"), detail(state));
  setText(byId("link-text"), shown.connected ? "connected" : "connecting again");
  const mute = byId("mute");
  setText(mute, shown.muted ? "Unmute" : "Mute");
  mute.setAttribute("aria-pressed", String(shown.muted));
  byId("listen").disabled = !shown.connected || shown.muted;
  mute.disabled = byId("stop").disabled = !shown.connected;
}

/** @param {string} state */
function detail(state) {
  if (state === "offline") return "The assistant does not answer. Trying again.";
  const [trouble] = shown.troubles;
  if (trouble) return `${trouble[0]}: ${trouble[1]}`;
  return state === "muted" ? "The microphone is closed." : "";
}

/** A live region speaks up at every change, so there must be one. @param {HTMLElement} element @param {string} text */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {number} dbfs @param {number} score */
function measure(dbfs, score) {
  const level = Math.min(1, Math.max(0, (dbfs + 70) / 60));
  byId("level").style.transform = `scaleX(${level.toFixed(3)})`;
  byId("score").style.transform = `scaleX(${score})`;
  byId("figure").style.setProperty("--level", level.toFixed(3));
}
