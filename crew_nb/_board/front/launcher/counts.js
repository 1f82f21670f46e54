// @ts-check
/** What is counted and divided: rows, combinations, runs, and long texts. */

/** @import {Counts, Row} from "./messages.js" */
import { plural } from "../shared/numbers.js";

/** Characters of a file in one message. */
const PART = 500_000;

/** Whether nothing is given in a row. @param {Row} row */
export function isBlank(row) {
  return Object.values(row).every((words) => !String(words).trim());
}

/** How many combinations a grid has. @param {Record<string, string[]>} values */
export function combinations(values) {
  const counts = Object.values(values).map((list) => new Set(list).size).filter((n) => n > 0);
  return counts.length ? counts.reduce((a, b) => a * b, 1) : 0;
}

/** What a batch is at, in words. @param {Counts} counts */
export function progress(counts) {
  const { total = 0, open = 0, done = 0 } = counts;
  const failed = (counts.failed ?? 0) + (counts.stopped ?? 0);
  if (!total) return "";
  const ended = failed ? `${done} done, ${failed} without a result` : `${done} of ${total} done`;
  if (open) return counts.word === "cancelling" ? "Stopping…" : `Running: ${ended}, ${open} to go`;
  return failed ? `Ended: ${ended}` : `Finished: ${plural(done, "result")}`;
}

/** Text in parts that fit into a message. @param {string} text */
export function parts(text) {
  const found = [];
  for (let at = 0; at < text.length || !found.length; at += PART) found.push(text.slice(at, at + PART));
  return found;
}
