// @ts-check
/** A field of a row: the control that suits its kind. */

/** @import {Field} from "./messages.js" */
import { h } from "../shared/elements.js";

/**
 * Kinds that take one line: the keyboard of a telephone, and what stands there where nothing is given.
 * @type {Record<string, {keys: string | null, example: string}>}
 */
const LINES = {
  integer: { keys: "numeric", example: "" },
  number: { keys: "decimal", example: "" },
  date: { keys: null, example: "YYYY-MM-DD" },
  datetime: { keys: null, example: "YYYY-MM-DD hh:mm" },
};

/** Columns of text that a choice needs, with its arrow. @param {Field} f */
export function wide(f) {
  const longest = Math.max(...[...f.choices, f.default ? `${f.default} (default)` : "choose…"].map((words) => words.length));
  return Math.min(longest, 30) + 4;
}

/**
 * @param {Field} f @param {string} words @param {number} place of its row @param {(words: string) => void} edit
 * @param {(pick: HTMLInputElement) => void} upload
 */
export function control(f, words, place, edit, upload) {
  const label = `${f.name}, row ${place}`;
  const change = (/** @type {Event} */ e) => edit(/** @type {HTMLInputElement} */ (e.target).value);
  const given = { "aria-label": label, "data-field": f.name, "aria-required": f.required ? "true" : null };
  if (f.kind === "switch") {
    const on = (words || f.default || "false").toLowerCase();
    const box = /** @type {HTMLInputElement} */ (h("input", { ...given, "aria-required": null, type: "checkbox", change: (/** @type {Event} */ e) => edit(/** @type {HTMLInputElement} */ (e.target).checked ? "true" : "false") }));
    box.checked = ["true", "yes", "on", "1"].includes(on);
    return box;
  }
  if (f.kind === "choice") {
    const empty = f.default ? `${f.default} (default)` : f.required ? "choose…" : "";
    const known = f.choices.find((c) => c.toLowerCase() === words.toLowerCase());
    const options = [h("option", { value: "" }, empty), ...f.choices.map((c) => h("option", { value: c }, c))];
    if (words && known === undefined) options.push(h("option", { value: words }, words));
    const select = /** @type {HTMLSelectElement} */ (h("select", { ...given, change }, options));
    select.value = known ?? words;
    return select;
  }
  const line = LINES[f.kind];
  if (line) {
    // Of type text for dates, too: a date's own control would hide words that a file gave and that are none.
    const input = /** @type {HTMLInputElement} */ (h("input", { ...given, type: "text", inputmode: line.keys, placeholder: f.default || line.example, autocomplete: "off", input: change }));
    input.value = words;
    return input;
  }
  const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { ...given, rows: "1", placeholder: f.default, spellcheck: f.kind === "text" ? null : "false", input: change }));
  area.value = words;
  if (f.kind !== "file") return area;
  const pick = /** @type {HTMLInputElement} */ (h("input", { type: "file", hidden: true, tabindex: "-1", change: () => upload(pick) }));
  area.placeholder = f.default || "path";
  return h("div", { class: "cnb-filecell" }, area, h("button", { type: "button", "aria-label": `Choose a file for ${label}`, title: "Choose a file", click: () => pick.click() }, "…"), pick);
}
