// @ts-check
/** What stands over the lanes: how much was won, the legend, runs at once over time, and the marks of the time. */

/** @import {Batch, Row} from "../messages.js" */
/** @import {Period} from "./scale.js" */
import { h } from "../../shared/elements.js";
import { clock } from "../../shared/numbers.js";
import { marks } from "./scale.js";

/**
 * @param {Batch} batch @param {Row[]} rows @param {string} names of the inputs that the lanes are called by
 * @param {Period} period @param {number} now
 * @param {(at: number) => number} clocked a moment on the board's clock @param {number} wide pixels @param {boolean} zoomed
 */
export function axisOf(batch, rows, names, period, now, clocked, wide, zoomed) {
  const { from, to } = period;
  const at = (/** @type {number} */ t) => (100 * (t - from)) / (to - from);
  const axis = h("div", { class: "cnb-axis" });
  if (batch.speedup !== null && batch.speedup >= 1.05)
    axis.append(
      h(
        "div",
        { class: "cnb-versus" },
        h("span", {}, "one by one"),
        h("div", {}, h("i", { style: "width:100%" }), h("b", {}, clock(batch.worked))),
        h("span", {}, "at once"),
        h("div", {}, h("i", { class: "cnb-us", style: `width:${100 / batch.speedup}%` }), h("b", {}, `${batch.speedup.toFixed(1)}× faster`)),
      ),
    );
  const key = (/** @type {string} */ k, /** @type {string} */ name) => h("span", {}, h("i", { class: "cnb-bar-i", "data-k": k }), name);
  axis.append(
    h(
      "div",
      { class: "cnb-legend" },
      key("llm", "LLM"),
      key("tool", "tool"),
      key("rate limit", "rate limit"),
      key("retry", "retry"),
      key("person", "person"),
      key("queue", "queued"),
      key("failed", "failed"),
      rows.some((row) => row.tasks?.some((task) => task.taken_over)) ? h("span", {}, "↺ taken over") : null,
      h(
        "span",
        { class: "cnb-zoom", role: "group", "aria-label": "Zoom" },
        h("button", { type: "button", "data-act": "zoom-out", title: "Zoom out (−)", "aria-label": "Zoom out" }, "−"),
        h("button", { type: "button", "data-act": "zoom-in", title: "Zoom in (+), or Ctrl and the wheel", "aria-label": "Zoom in" }, "+"),
        h("button", { type: "button", "data-act": "zoom-fit", "aria-disabled": zoomed ? null : "true", title: "Show all (0)" }, "Fit"),
      ),
    ),
    h("div", { class: "cnb-lane cnb-overlap" }, h("div", { class: "cnb-lanehead" }, "runs at once"), overlap(batch, rows, period, now, clocked)),
    h(
      "div",
      { class: "cnb-lane cnb-marks", "aria-hidden": "true" },
      h("div", { class: "cnb-lanehead", title: names }, h("span", {}, names)),
      h("div", { class: "cnb-track" }, marks(from, to, Math.max(3, Math.floor(wide / 110))).map((m) => h("span", { class: (100 - at(m)) * wide < 5500 ? "cnb-lastmark" : null, style: `left:${at(m)}%` }, to - from < 5 ? `${m.toFixed(1)} s` : clock(m)))),
    ),
  );
  return axis;
}

/**
 * How many runs were under way, over time.
 * @param {Batch} batch @param {Row[]} rows @param {Period} period @param {number} now @param {(at: number) => number} at
 */
function overlap(batch, rows, { from, to }, now, at) {
  const begun = rows.filter((row) => row.started !== undefined && !row.from_record);
  // Of those that have ended since, some rows are still on their way here: the longest unheard of.
  const open = begun.filter((row) => row.finished === undefined).sort((a, b) => (a.last ?? 0) - (b.last ?? 0));
  const { running = 0, waiting = 0, cancelling = 0, unknown = 0 } = batch.counts;
  const late = new Set(open.slice(0, Math.max(0, open.length - running - waiting - cancelling - unknown)));
  /** @type {[number, number][]} */
  const steps = [];
  for (const row of begun) steps.push([at(row.started ?? 0), 1], [at(row.finished ?? (late.has(row) ? (row.last ?? now) : now)), -1]);
  // One that begins when another ends is not beside it.
  steps.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let [level, most] = [0, 1];
  const points = [];
  for (const [t, by] of steps) {
    const x = (100 * (t - from)) / (to - from);
    points.push([x, level]);
    level += by;
    most = Math.max(most, level);
    points.push([x, level]);
  }
  const y = (/** @type {number} */ n) => (24 - (22 * n) / most).toFixed(2);
  const path = points.map(([x, n]) => `L${(x ?? 0).toFixed(2)} ${y(n ?? 0)}`).join("");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 24");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `At most ${most} runs at once`);
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", `M0 24${path}V24Z`);
  svg.append(shape);
  return h("div", { class: "cnb-track" }, svg, h("b", {}, String(most)));
}
