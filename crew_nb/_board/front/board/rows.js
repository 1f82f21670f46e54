// @ts-check
/** Rows as a list: which are shown, in which order, under which names. */

/** @import {Row} from "./messages.js" */
import { FINAL, isProblem, URGENT } from "./statuses.js";

/** @typedef {{sort: string, down: boolean, filter: string, problems: boolean}} By what the runs are filtered and sorted by */

/** Seconds that a run has taken. @param {Row} row @param {number} now */
export function took(row, now) {
  if (row.from_record || row.started === undefined) return undefined;
  return (row.finished ?? (FINAL.has(row.status) ? row.started : now)) - row.started;
}

/** The name of the inputs where all runs have one and the same; else the empty string. @param {Iterable<Row>} rows */
export function onlyInput(rows) {
  let name = "";
  for (const { label = "" } of rows) {
    const [first = "", key = ""] = /^([\w-]+)=/.exec(label) ?? [];
    if (!key || (name && key !== name) || /[,;] [\w-]+=/.test(label.slice(first.length))) return "";
    name = key;
  }
  return name;
}

/**
 * Places of the runs to show, in order.
 * @param {number} total @param {Map<number, Row>} rows
 * @param {By} by @param {number} now @returns {number[]}
 */
export function order(total, rows, by, now) {
  const words = by.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const places = [];
  for (let i = 0; i < total; i++) {
    const row = rows.get(i);
    if (by.problems && !(row && isProblem(row))) continue;
    if (words.length) {
      const text = row ? `${i} ${row.status} ${row.label ?? ""} ${row.error ?? ""} ${row.said ?? ""}`.toLowerCase() : "";
      if (!words.every((word) => text.includes(word))) continue;
    }
    places.push(i);
  }
  /** @type {Record<string, (row: Row) => number | string>} */
  const keys = {
    status: (row) => URGENT.indexOf(row.status),
    inputs: (row) => row.label ?? "",
    time: (row) => took(row, now) ?? -1,
    tokens: (row) => row.tokens,
    cost: (row) => row.cost ?? -1,
  };
  const key = keys[by.sort];
  if (key) {
    const value = (/** @type {number} */ i) => {
      const row = rows.get(i);
      return row ? key(row) : "";
    };
    places.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x < y ? -1 : x > y ? 1 : a - b;
    });
  }
  return by.down ? places.reverse() : places;
}
