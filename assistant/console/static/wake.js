// Wake words: what came near them, and what another threshold would have done.

import { byId, clock, el } from "./dom.js";

const LATEST = 12;

/** @param {any} found what /api/wake gives */
export function drawWake(found) {
  const slid = new Map([...byId("wake").querySelectorAll("input")].map((each) => [each.id, each.value]));
  byId("wake").replaceChildren(...found.words.map((/** @type {any} */ word) => slider(word, slid)), attempts(found.attempts));
}

/** @param {any} word @param {Map<string, string>} slid where the sliders were */
function slider({ word, phrase, threshold, what_if }, slid) {
  const id = `threshold-${word}`;
  const said = el("output", { for: id });
  const input = el("input", { id, type: "range", min: 0, max: what_if.length - 1, step: 1 });
  const nearest = what_if.findLastIndex((/** @type {any} */ each) => each.threshold <= threshold + 1e-9);
  input.value = slid.get(id) ?? String(Math.max(0, nearest));
  const tell = () => {
    const { threshold: at, kept, added, lost } = what_if[Number(input.value)];
    input.setAttribute("aria-valuetext", at.toFixed(2));
    said.textContent = `At ${at.toFixed(2)}: ${kept} of the wakes kept, ${added} near misses more, ${lost} wakes fewer.`;
  };
  input.addEventListener("input", tell);
  tell();
  const label = el("label", { for: id }, `“${phrase}”, threshold ${threshold}`);
  return el("div", { class: "field" }, label, input, said);
}

/** @param {any[]} attempts */
function attempts(attempts) {
  if (!attempts.length) return el("p", { class: "quiet" }, "Nothing has come near a wake word yet.");
  const rows = attempts.slice(0, LATEST).map(({ at, word, peak, verified, hit, audio }) =>
    el(
      "li",
      {},
      el("span", { class: "when" }, clock(at)),
      el("span", {}, word.replaceAll("_", " ")),
      el("span", { class: hit ? "good" : "quiet" }, hit ? "woke" : "near miss"),
      el("span", { class: "number" }, peak.toFixed(2)),
      verified == null ? null : el("span", { class: "quiet" }, `verifier ${verified.toFixed(2)}`),
      audio && el("audio", { src: `/api/wake/audio/${encodeURIComponent(audio)}`, controls: true, preload: "none" }),
    ),
  );
  return el("ul", { class: "rows" }, ...rows);
}
