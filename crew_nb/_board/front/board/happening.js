// @ts-check
/** What a run does now, in a line of words. */

/** @import {Child} from "../shared/elements.js" */
/** @import {Row, Spec, Wait} from "./messages.js" */
import { h } from "../shared/elements.js";
import { clock, plural } from "../shared/numbers.js";

/** Seconds without a sign of life after which a running row says so. */
const QUIET = 20;

/** A wait in words: with the time that is left, or where nobody knows that, with the time that it has taken. @param {Wait} wait @param {number} now */
export function waiting(wait, now) {
  if (wait.reason === "person") return `needs you: ${wait.detail || "approve or send feedback"}`;
  const left = wait.until === undefined ? 0 : Math.ceil(wait.until - now);
  const why = wait.detail || wait.reason;
  if (left > 0) return `${wait.reason === "retry" ? "retries" : "goes on"} in ${left < 60 ? `${left} s` : clock(left)}: ${why}`;
  const what = { pause: "paused", slot: wait.detail || "no free place" }[wait.reason] ?? `waiting: ${why}`;
  return `${what}, ${clock(now - wait.since)} so far`;
}

/** What a task that asks an LLM is at. @param {string} llm */
function asking(llm) {
  return `asking ${llm === "offline" ? "the offline LLM" : llm}`;
}

/** What a run does now, or how it ended. @param {Row} row @param {Spec[]} specs @param {number} now @returns {Child[]} */
export function happening(row, specs, now) {
  if (row.status === "failed") return [h("span", { class: "cnb-bad", title: row.error ?? "" }, row.error || "failed")];
  if (row.status === "done") return [h("bdi", { class: "cnb-quiet" }, row.said ?? "")];
  if (row.status === "cancelled") {
    const said = `stopped${row.stopped ? `: ${row.stopped}` : ""}${row.dropped_calls ? `; ${plural(row.dropped_calls, "answer")} dropped` : ""}`;
    return [h("span", { class: "cnb-quiet", title: said }, said)];
  }
  if (row.status === "unknown") return [h("span", { class: "cnb-quiet" }, "the kernel has gone")];
  if (row.status === "queued") return [h("span", { class: "cnb-quiet" }, (row.attempt ?? 1) > 1 ? `attempt ${row.attempt}` : "")];
  if (row.status === "cancelling") return [h("span", { class: "cnb-quiet" }, "ending its calls")];
  const busy = (row.tasks ?? []).flatMap((task, i) => (task.status === "running" || task.status === "waiting" ? [{ task, i }] : []));
  // Where there is room for one only, it is one that speaks.
  busy.sort((a, b) => Number(Boolean(b.task.text)) - Number(Boolean(a.task.text)));
  const waits = busy.map(({ i }) => row.waits?.find((w) => w.task === i));
  const [first] = waits;
  // Two that wait for the same take the room of one.
  if (first && waits.length > 1 && waits.every((w) => w?.reason === first.reason && w.detail === first.detail)) {
    const last = waits.reduce((a, b) => ((b?.until ?? 0) > (a?.until ?? 0) ? b : a)) ?? first;
    return [h("span", { class: "cnb-wait" }, `${busy.length === 2 ? "both" : `all ${busy.length}`}: ${waiting(last, now)}`)];
  }
  const parts = busy.slice(0, 2).map(({ task, i }) => {
    const wait = row.waits?.find((w) => w.task === i);
    const name = busy.length > 1 ? h("small", {}, specs[i]?.name ?? "") : null;
    if (wait) return h("span", { class: "cnb-part" }, name, h("span", { class: "cnb-wait" }, waiting(wait, now)));
    if (task.tool) return h("span", { class: "cnb-part" }, name, h("span", { class: "cnb-tool" }, `tool: ${task.tool}`));
    if (task.text) return h("span", { class: "cnb-part" }, name, h("span", { class: "cnb-say" }, h("bdi", {}, task.text)));
    return h("span", { class: "cnb-part cnb-quiet" }, name, task.call ? asking(task.call) : "thinking");
  });
  if (!parts.length) {
    const wait = row.waits?.[0];
    if (wait) parts.push(h("span", { class: "cnb-wait" }, waiting(wait, now)));
    else parts.push(h("span", { class: "cnb-quiet" }, row.call ? asking(row.call) : pausing(row)));
  }
  const quiet = now - (row.last ?? now);
  if (quiet >= QUIET && !row.waits?.length) parts.push(h("span", { class: "cnb-wait" }, `quiet for ${clock(quiet)}`));
  return parts;
}

/** What a run does while none of its tasks is at work. @param {Row} row */
function pausing(row) {
  if (!row.tasks) return "building the crew";
  return row.tasks.every((task) => task.status === "done" || task.status === "skipped") ? "finishing" : "between tasks";
}
