// @ts-check
/** What happened in a run: the inside of a row that is open. */

/** @import {Board} from "../board.js" */
/** @import {Detail, Found, Row, Spec, TaskDetail} from "../messages.js" */
import { action, coded, h } from "../../shared/elements.js";
import { clock, count, plural, span } from "../../shared/numbers.js";
import { leftOut, stopped } from "../cut.js";
import { sanitized } from "../markdown.js";
import { saved } from "../rows.js";
import { stages } from "../stages.js";
import { FINAL, SIGNS } from "../statuses.js";
import { callList } from "./calls.js";

/** @param {Board} board @param {number} i @param {Row} row */
export function inside(board, i, row) {
  const detail = board.store.details.get(i);
  const { live } = board.wire;
  const { now } = board;
  const box = h("div", { class: "cnb-inner" });
  if (!detail) {
    box.append(h("p", { class: "cnb-quiet" }, live ? "Loading…" : "What happened in this run is not kept in this page."));
    return box;
  }
  const specs = board.store.specsOf(row);
  const ended = FINAL.has(row.status);
  box.append(
    h(
      "div",
      { class: "cnb-facts", "data-key": "facts" },
      h("bdi", { class: "cnb-label" }, detail.label?.text || "no inputs"),
      (row.attempt ?? 1) > 1 ? h("span", { class: "cnb-tag" }, `attempt ${row.attempt}`) : null,
      saved(row) ? h("span", { class: "cnb-tag" }, saved(row)) : null,
      row.offline ? h("span", { class: "cnb-tag" }, "offline LLM") : null,
      detail.worker ? h("span", { class: "cnb-tag" }, `on ${detail.worker}`) : null,
      detail.why ? h("span", { class: "cnb-quiet" }, `CrewAI's own loop: ${detail.why}`) : null,
      h(
        "span",
        { class: "cnb-acts", "data-key": "acts" },
        !ended && row.status !== "unknown"
          ? action("act", { "data-act": "cancel", "data-run": i }, "Stop this run", !live || row.status === "cancelling")
          : ended && row.status !== "done"
            ? action("act", { "data-act": "retry", "data-run": i }, "Retry this run", !live)
            : null,
      ),
    ),
  );
  const output =
    detail.output &&
    h("div", { class: "cnb-output", "data-key": "output" }, h("h4", {}, "Output", h("button", { type: "button", "data-act": "copy", "data-run": i }, "Copy")), sanitized(detail.output.html), leftOut(detail.output));
  if (output && detail.status === "done") box.append(output);
  if (detail.status === "cancelled") {
    box.append(h("p", { class: "cnb-quiet", "data-key": "stopped" }, stopped(detail.stopped?.text), leftOut(detail.stopped)));
    if (detail.hint) box.append(h("p", { class: "cnb-quiet", "data-key": "hint" }, ...coded(detail.hint)));
  }
  if (detail.error)
    box.append(
      h(
        "div",
        { class: "cnb-error", "data-key": "error" },
        h("p", {}, h("b", {}, detail.error.type), ": ", h("bdi", {}, detail.error.message?.text ?? ""), leftOut(detail.error.message)),
        detail.error.hint ? h("p", { class: "cnb-hint" }, ...coded(detail.error.hint)) : null,
        detail.error.traceback ? h("details", {}, h("summary", {}, "Traceback"), h("pre", { class: "cnb-pre", tabindex: 0 }, leftOut(detail.error.traceback), detail.error.traceback.text)) : null,
      ),
    );
  stages(specs).forEach((step) => {
    const cards = step.map((place) => taskCard(place, { ...specs[place], name: specs[place]?.name ?? "" }, edges(place, specs), detail.tasks?.[place], detail.inside ?? [], now));
    box.append(h("div", { class: "cnb-step", "data-key": `step${step[0]}` }, cards));
  });
  if (detail.calls?.length || detail.calls_left_out)
    box.append(h("div", { class: "cnb-step", "data-key": "calls" }, h("div", { class: "cnb-taskcard" }, h("h4", {}, "For the run as a whole"), callList(detail.calls, detail.calls_left_out, now))));
  if (detail.log?.length) box.append(logLines(detail, specs, (at) => board.store.clock(at)));
  if (output && detail.status !== "done") box.append(output);
  return box;
}

/** What CrewAI, or a tool's logger, had to say in a run. @param {Detail} detail @param {Spec[]} specs @param {(at: number) => number} at */
function logLines(detail, specs, at) {
  const lines = detail.log ?? [];
  const left = detail.log_left_out ?? 0;
  return h(
    "details",
    { class: "cnb-taskcard cnb-loglines", "data-key": "log" },
    h("summary", {}, "Log lines ", h("span", { class: "cnb-quiet" }, count(lines.length + left))),
    h(
      "div",
      { class: "cnb-pre", "data-follow": true, tabindex: 0, role: "region", "aria-label": "Log lines" },
      left ? h("div", { class: "cnb-left", "data-key": "left" }, `${plural(left, "earlier line")} not shown`) : null,
      lines.map((line, n) =>
        h(
          "div",
          { class: "cnb-logline", "data-key": left + n },
          h("time", {}, clock(Math.floor(at(line.at)))),
          line.task === undefined ? null : h("bdi", { class: "cnb-quiet" }, specs[line.task]?.name ?? detail.inside?.find((t) => t.place === line.task)?.name ?? ""),
          h("span", { dir: "auto" }, line.text.text ?? "", leftOut(line.text)),
        ),
      ),
    ),
  );
}

/** What comes before a task, in words and by name. @param {number} place @param {Spec[]} specs */
function edges(place, specs) {
  const { joins, joined, is_step } = specs[place] ?? {};
  const names = (joins ?? []).map((j) => specs[j]?.name ?? "").join(", ");
  if (is_step) return names ? `after ${names}` : (joined ?? "");
  return names ? `← joins ${names}` : "";
}

/**
 * A task, or a step of a flow with what it has begun.
 * @param {number} place @param {Spec} spec @param {string} from what comes before it
 * @param {TaskDetail | undefined} task @param {Found[]} found @param {number} now @returns {HTMLElement}
 */
function taskCard(place, spec, from, task, found, now) {
  const status = task?.status ?? "queued";
  const time = task?.started === undefined ? "" : span((task.finished ?? now) - task.started);
  const word = spec.is_step && status === "skipped" ? "skipped: its branch was not taken" : task?.taken_over ? "taken over" : status;
  return h(
    "div",
    { class: "cnb-taskcard", "data-key": `task${place}`, "data-s": status },
    h(
      "h4",
      {},
      h("span", { class: "cnb-task", "data-s": status }, h("i", { "aria-hidden": "true" }, SIGNS[status] ?? ""), h("bdi", {}, spec.name)),
      h("span", { class: "cnb-word", "data-s": status }, word),
      task?.rounds ? h("span", { class: "cnb-tag", title: `began ${task.rounds} times` }, `×${task.rounds}`) : null,
      h("bdi", { class: "cnb-quiet" }, task?.agent || spec.agent || ""),
      from ? h("bdi", { class: "cnb-quiet" }, from) : null,
      h("span", { class: "cnb-sum" }, [time, task?.tokens ? plural(task.tokens, "token") : ""].filter(Boolean).join(" · ")),
    ),
    task?.error ? h("p", { class: "cnb-bad" }, task.error.text, leftOut(task.error)) : null,
    callList(task?.calls, task?.calls_left_out ?? 0, now),
    within(place, task, found, now),
    task?.text ? h("div", { class: "cnb-live", "data-follow": true, "data-key": "text", tabindex: 0 }, leftOut(task.text), sanitized(task.text.html)) : null,
    task?.output ? h("div", { "data-key": "output" }, sanitized(task.output.html), leftOut(task.output)) : null,
    task?.is_final ? h("p", { class: "cnb-quiet" }, "Its output is the output of the run, above.") : null,
    task?.is_parents ? h("p", { class: "cnb-quiet" }, "Its output is that of its step, below.") : null,
  );
}

/** What runs in a step: crews, each with its tasks, single agents, and the steps of flows. @param {number} place @param {TaskDetail | undefined} task @param {Found[]} found @param {number} now */
function within(place, task, found, now) {
  const mine = found.filter((t) => t.parent === place);
  const left = task?.inside_left_out ?? 0;
  if (!mine.length && !left) return null;
  /** @type {Map<number, Found[]>} */
  const crews = new Map();
  for (const t of mine) crews.set(t.crew, [...(crews.get(t.crew) ?? []), t]);
  return h(
    "div",
    { class: "cnb-within", "data-key": "within" },
    left ? h("p", { class: "cnb-quiet", "data-key": "left" }, `${plural(left, "earlier task")} not shown`) : null,
    [...crews].map(([crew, tasks]) =>
      h(
        "div",
        { class: "cnb-step", "data-key": `crew${crew}` },
        tasks.map((t) => taskCard(t.place, t, t.joined ?? "", t, found, now)),
      ),
    ),
  );
}
