// The settings: one form, sent as what was changed, refused with the line of the file.

import { byId, el } from "./dom.js";
import { ask } from "./link.js";
import { notice, orSayWhy } from "./notice.js";

/** What the form was filled with, by key. @type {Map<string, any>} */
const known = new Map();

export function startSettings() {
  byId("settings-form").addEventListener("submit", save);
  byId("restart").addEventListener("click", () => orSayWhy(() => ask("/api/restart", {})));
}

/** @param {boolean} visible */
export async function showSettings(visible) {
  if (!visible || changes().length) return; // what somebody is typing is not thrown away
  const found = await orSayWhy(() => ask("/api/settings"));
  if (!found) return;
  known.clear();
  byId("fields").replaceChildren(
    ...found.groups.map(({ title, settings }) => el("fieldset", { class: "card" }, el("legend", {}, title), ...settings.map(field))),
  );
  byId("file").textContent = found.file ? `Kept in ${found.file}, comments and all.` : "There is no config file to write to.";
  byId("save").disabled = !found.file;
  byId("restart").dataset.can = found.can_restart;
  waiting(found.waiting);
}

/** @param {any} setting */
function field({ key, about, kind, choices, minimum, maximum, optional, value, at_once }) {
  known.set(key, { value, kind, optional });
  const attributes = { id: key, name: key, "aria-describedby": `about-${key}` };
  const input =
    kind === "lines"
      ? el("textarea", { ...attributes, rows: 7 })
      : kind === "choice"
        ? el("select", attributes, ...choices.map((/** @type {string} */ each) => el("option", {}, each)))
        : kind === "boolean"
          ? el("input", { ...attributes, type: "checkbox" })
          : kind === "string"
            ? el("input", { ...attributes, placeholder: optional ? "not set" : "" })
            : el("input", { ...attributes, type: "number", step: kind === "integer" ? 1 : "any", placeholder: optional ? "not set" : "" });
  if (kind === "boolean") input.checked = value;
  else input.value = value ?? "";
  const range = minimum == null ? "" : `, ${minimum} to ${maximum}`;
  const note = el("small", { id: `about-${key}` }, `${about}${range}${at_once ? "" : " (after a restart)"}`);
  return el("div", { class: kind === "boolean" ? "field check" : "field" }, el("label", { for: key }, named(key)), input, note);
}

/** @param {string} key */
const named = (key) => {
  const words = key.split(".").slice(-2).join(" ").replace(/^session |^log |^wake /, "").replaceAll("_", " ");
  return words.replace(/ ms$/, " (ms)").replace(/ s$/, " (s)").replace(/^./, (first) => first.toUpperCase());
};

/** @returns {[string, any][]} */
function changes() {
  return [...known].map(([key, was]) => /** @type {[string, any]} */ ([key, current(key, was)])).filter(([key, value]) => value !== known.get(key).value);
}

/** @param {string} key @param {any} setting */
function current(key, { kind, optional }) {
  const input = byId(key);
  if (kind === "boolean") return input.checked;
  if (input.value === "" && optional) return null;
  return kind === "number" || kind === "integer" ? Number(input.value) : input.value;
}

/** @param {Event} event */
async function save(event) {
  event.preventDefault();
  const changed = changes();
  for (const each of byId("fields").querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
  if (!changed.length) return notice("Nothing was changed.");
  try {
    const found = await ask("/api/settings", Object.fromEntries(changed));
    for (const [key, value] of changed) known.get(key).value = value;
    waiting(found.waiting);
    notice("Saved.");
  } catch (error) {
    const refused = /** @type {any} */ (error);
    notice(refused.message);
    for (const { key } of refused.problems ?? []) document.getElementById(key)?.setAttribute("aria-invalid", "true");
  }
}

/** @param {string[]} keys */
function waiting(keys) {
  const restart = byId("restart");
  byId("waiting").textContent = keys.length ? `After a restart: ${keys.map(named).join(", ")}.` : "";
  restart.hidden = !keys.length || restart.dataset.can !== "true";
}
