// @ts-check
/** Rows as a list: which are shown, in which order, under which names. */

/** @import {Row} from "./messages.js" */
import { plural } from "../shared/numbers.js";
import { FINAL, isProblem, URGENT } from "./statuses.js";

/** @typedef {{sort: string, down: boolean, filter: string, problems: boolean}} By what the runs are filtered and sorted by */

/** Before the name of an input by whose column the runs are sorted. */
export const INPUT = "input:";

/** Seconds that a run has taken. @param {Row} row @param {number} now */
export function took(row, now) {
  if (row.from_record || row.started === undefined) return undefined;
  return (row.finished ?? (FINAL.has(row.status) ? row.started : now)) - row.started;
}

/** What a run is called where there is no room for the names of its inputs. @param {Row | undefined} row */
export function called(row) {
  return Object.values(row?.cells ?? {}).join(" · ") || row?.label || "";
}

/** What of a run was done before, in words: nothing, some tasks, or all; and whether its answers are recorded ones. @param {Row} row */
export function taken(row) {
  const tasks = (row.tasks ?? []).filter((task) => task.taken_over).length;
  const took = row.from_record ? "from the record" : tasks ? `${plural(tasks, "task")} taken over` : "";
  return [took, row.recorded ? "recorded" : ""].filter(Boolean).join(", ");
}

/** The same, with what was saved by it. @param {Row} row */
export function saved(row) {
  return [taken(row), row.saved ? `${plural(row.saved, "token")} saved` : ""].filter(Boolean).join(", ");
}

/** What sorts rows by an input: numbers where all rows have one. @param {string} name @param {Map<number, Row>} rows */
function byInput(name, rows) {
  const said = (/** @type {Row} */ row) => row.cells?.[name] ?? "";
  const numbers = [...rows.values()].every((row) => !Number.isNaN(Number(said(row))));
  return (/** @type {Row} */ row) => (numbers ? Number(said(row)) : said(row));
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
  const key = by.sort.startsWith(INPUT) ? byInput(by.sort.slice(INPUT.length), rows) : keys[by.sort];
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
