// @ts-check
/** Structured outputs, by their fields. */

/** @import {Card} from "./messages.js" */
import { h } from "../shared/elements.js";

/** The fields of a structured output, or null where the text is none. @param {string | undefined} text */
export function fields(text) {
  if (!text || !/^\s*\{/.test(text)) return null;
  try {
    const value = JSON.parse(text);
    return /** @type {Record<string, unknown>} */ (value);
  } catch {
    return null;
  }
}

/** The fields of an output, of a long one as Python has shortened them. @param {Card | undefined} card */
export function fieldsOf(card) {
  return card?.fields ?? fields(card?.text);
}

/** The value of a field as text. @param {unknown} value */
export function words(value) {
  return typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
}

/** The first fields of an output as a table. @param {Record<string, unknown>} values */
export function fieldTable(values) {
  return h(
    "table",
    { class: "cnb-fields" },
    h("tbody", {}, Object.entries(values).slice(0, 60).map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, name)), h("td", { dir: "auto" }, words(value))))),
  );
}
