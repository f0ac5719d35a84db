// A form for one tool, made from the JSON schema of its parameters; what is not safe asks once more.

import { byId, el } from "./dom.js";
import { act } from "./link.js";

/** @typedef {{name: string, description: string, parameters: any, tier: string}} Tool */

const CONSENT = {
  confirm: "This tool asks for a yes before it runs. Run it?",
  pin: "This tool asks for the PIN of the house when it is spoken to. Run it as the owner?",
};

/** @param {Tool} tool */
export function openTool(tool) {
  const dialog = byId("tool");
  const result = el("pre", { class: "result", hidden: true, tabindex: "0", "aria-live": "polite" });
  const fields = Object.entries(tool.parameters?.properties ?? {}).map(([name, schema]) =>
    field(name, schema, (tool.parameters.required ?? []).includes(name)),
  );
  const run = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const consent = /** @type {Record<string, string>} */ (CONSENT)[tool.tier];
    if (consent && !confirm(consent)) return;
    try {
      const given = Object.fromEntries(fields.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== undefined));
      const outcome = await act({ do: "call", tool: tool.name, arguments: JSON.stringify(given), yes: Boolean(consent) });
      result.textContent = pretty(outcome.output);
      result.className = outcome.status === "ok" ? "result" : "result bad";
    } catch (error) {
      result.textContent = error instanceof Error ? error.message : String(error);
      result.className = "result bad";
    }
    result.hidden = false;
  };
  const form = el(
    "form",
    { submit: run },
    el("h2", { id: "tool-name" }, tool.name.replaceAll("_", " ")),
    el("p", { class: "quiet" }, tool.description),
    ...fields.map(({ row }) => row),
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", click: () => dialog.close() }, "Close"),
      el("button", { class: "strong" }, "Run"),
    ),
    result,
  );
  dialog.replaceChildren(form);
  dialog.showModal();
}

/**
 * @param {string} name
 * @param {any} schema
 * @param {boolean} required
 */
function field(name, schema, required) {
  const shape = schema.anyOf?.find((/** @type {any} */ each) => each.type !== "null") ?? schema;
  const id = `argument-${name}`;
  const about = [schema.description, required ? "" : "may be left empty"].filter(Boolean).join("; ");
  const input = control(shape, { id, required: required && shape.type !== "boolean" });
  const row = el("div", { class: "field" }, el("label", { for: id }, name.replaceAll("_", " ")), input, el("small", {}, about));
  return { name, row, read: () => value(input, shape) };
}

/** @param {any} shape @param {Record<string, any>} common */
function control(shape, common) {
  if (shape.enum) return el("select", common, ...["", ...shape.enum].map((each) => el("option", {}, String(each))));
  if (shape.type === "boolean") return el("input", { ...common, type: "checkbox" });
  if (shape.type === "integer" || shape.type === "number")
    return el("input", { ...common, type: "number", step: shape.type === "integer" ? 1 : "any", min: shape.minimum, max: shape.maximum });
  if (shape.type === "string") return el("input", { ...common, maxlength: shape.maxLength, autocomplete: "off" });
  return el("textarea", { ...common, placeholder: "JSON" });
}

/** @param {any} input @param {any} shape */
function value(input, shape) {
  if (shape.type === "boolean") return input.checked;
  if (input.value === "") return undefined;
  return shape.type === "string" || (shape.enum && shape.type === "string") ? input.value : JSON.parse(input.value);
}

/** @param {string} output */
function pretty(output) {
  try {
    return JSON.stringify(JSON.parse(output), null, 2);
  } catch {
    return output;
  }
}
