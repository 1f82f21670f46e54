// @ts-check
/** The words for where a run, a task or a call is. */

/** @import {Row} from "./messages.js" */
/** @type {Record<string, string>} */
export const SIGNS = {
  queued: "○",
  running: "●",
  waiting: "◐",
  done: "✓",
  failed: "✗",
  cancelling: "◌",
  cancelled: "⊘",
  skipped: "↷",
  unknown: "?",
};
export const FINAL = new Set(["done", "failed", "cancelled"]);
export const STATUSES = ["done", "running", "waiting", "failed", "cancelling", "cancelled", "queued", "unknown"];
/** Sorted by status, what may want a look comes first. */
export const URGENT = ["waiting", "running", "cancelling", "unknown", "failed", "cancelled", "done", "queued"];

/** Whether a run may want a look. @param {Row} row */
export function isProblem(row) {
  return (
    row.status === "failed" ||
    row.status === "waiting" ||
    row.status === "unknown" ||
    ((row.attempt ?? 1) > 1 && row.status !== "done") ||
    row.dropped_calls > 0 ||
    (row.tasks ?? []).some((t) => t.status === "failed")
  );
}
