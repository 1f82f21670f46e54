// @ts-check
/** The lane of a run: its tasks and calls as bars, to scale. */

/** @import {Lane, Row, Spec} from "../messages.js" */
/** @import {Period} from "./scale.js" */
import { h } from "../../shared/elements.js";
import { clock, plural, span } from "../../shared/numbers.js";
import { saved, took } from "../rows.js";
import { stages } from "../stages.js";
import { SIGNS } from "../statuses.js";

/**
 * @typedef {{i: number, row: Row | undefined, lane: Lane | undefined, specs: Spec[], name: string, active: boolean}} Of
 */

/** Pixels that the name of a task takes, about. @param {string} text */
function textWidth(text) {
  return 6.8 * text.length + 8;
}

/** Rows of bars that a lane has: as many as tasks run at once. @param {Spec[]} specs */
export function tracks(specs) {
  return Math.min(6, Math.max(1, ...stages(specs).map((step) => step.length)));
}

/**
 * @param {Of} of @param {Period} period @param {number} now @param {(at: number) => number} at a moment on the board's clock
 * @param {number} wide pixels of the time
 */
export function laneOf({ i, row, lane, specs, name: called, active }, { from, to }, now, at, wide) {
  const where = specs.map(() => 0);
  for (const step of stages(specs)) step.forEach((task, n) => (where[task] = Math.min(n, 5)));
  const track = h("div", { class: "cnb-track", style: `height:${22 * tracks(specs)}px` });
  const pixels = Math.max(200, wide);
  /** @type {Map<string, number>} the right edge of the last bar of each kind, so that slivers are drawn once */
  const edges = new Map();
  const bar = (/** @type {{kind: string, start: number, end: number, top: number, title: string, text?: string, status?: string | undefined, part?: string, until?: number}} */ b) => {
    const [start, end] = [at(b.start), at(b.end)];
    const [left, right] = [Math.max(start, from), Math.min(end, to)];
    if (right < left || end < from || start > to) return;
    const edge = edges.get(`${b.kind}${b.top}${b.part}`) ?? -1;
    const x = (pixels * (left - from)) / (to - from);
    const w = (pixels * (right - left)) / (to - from);
    if (x + w < edge + 0.7) return;
    edges.set(`${b.kind}${b.top}${b.part}`, x + w);
    const room = b.until === undefined ? w : (pixels * (Math.min(at(b.until), to) - left)) / (to - from);
    const text = b.text ?? "";
    // In its bar, or whole beside it: never over its edge.
    const beside = w < textWidth(text) && room - w >= textWidth(text);
    const said = beside || w > 30 ? text : "";
    track.append(
      h(
        "span",
        {
          class: `cnb-span${b.part ? ` cnb-${b.part}` : ""}`,
          "data-k": b.kind,
          "data-s": b.status ?? null,
          "data-tip": b.title,
          role: "img",
          tabindex: -1,
          "aria-label": b.title.replaceAll("\n", ", "),
          style: `left:${((100 * (left - from)) / (to - from)).toFixed(3)}%;width:${((100 * (right - left)) / (to - from)).toFixed(3)}%;top:${b.top}px`,
        },
        said ? h("bdi", { class: beside ? "cnb-beside" : null, style: beside ? null : `max-width:${Math.floor(w)}px` }, said) : null,
      ),
    );
  };
  const between = (/** @type {number} */ a, /** @type {number | undefined} */ b) => `${clock(at(a))} to ${b === undefined ? "now" : clock(at(b))}, ${span((b ?? now) - a)}`;
  if (row && !row.from_record) {
    const begun = row.started ?? row.finished ?? now;
    if (begun - row.queued > 0.02) bar({ kind: "queue", start: row.queued, end: begun, top: 4, title: `queued\n${between(row.queued, row.started ?? row.finished)}` });
    row.tasks?.forEach((task, place) => {
      if (task.started === undefined || task.taken_over) return;
      const name = specs[place]?.name ?? "";
      // Its name may run on to where the next task of its line begins.
      const after = row.tasks?.filter((t, i) => where[i] === where[place] && (t.started ?? -1) > (task.started ?? 0)).map((t) => t.started ?? Infinity) ?? [];
      bar({ kind: "task", until: Math.min(Infinity, ...after), part: "band", start: task.started, end: task.finished ?? now, top: 22 * (where[place] ?? 0), status: task.status, text: name, title: `${name}: ${task.status}\n${between(task.started, task.finished)}` });
    });
  }
  for (const s of lane?.spans ?? []) {
    const kind = s.kind === "wait" ? s.name : s.kind;
    const what = { llm: `LLM ${s.name}`, tool: `tool ${s.name}` }[s.kind] ?? `waits: ${s.name}`;
    const more = [s.detail, s.tokens ? plural(s.tokens, "token") : "", s.status && s.status !== "running" ? s.status : ""].filter(Boolean);
    bar({ kind, part: "call", start: s.started, end: s.finished ?? now, top: 22 * (where[s.task] ?? 0), status: s.status, title: [what, between(s.started, s.finished), ...more].join("\n") });
  }
  const ended = at(row?.finished ?? Infinity);
  if (row?.status === "failed" && ended >= from && ended <= to)
    track.append(h("span", { class: "cnb-end", style: `left:${((100 * (ended - from)) / (to - from)).toFixed(3)}%`, title: "failed", "aria-hidden": "true" }, "✗"));
  const before = row ? saved(row) : "";
  if (row?.from_record) track.append(h("span", { class: "cnb-before" }, before));
  const time = row ? took(row, now) : undefined;
  return h(
    "div",
    {
      class: "cnb-lane",
      role: "listitem",
      tabindex: active ? 0 : -1,
      "data-run": i,
      "data-s": row?.status ?? "queued",
      "aria-label": `Run ${i}, ${called}: ${row?.status ?? "queued"}${time === undefined ? "" : `, ${span(time)}`}${before ? `, ${before}` : ""}${lane?.left_out ? `, ${lane.left_out} earlier calls not drawn` : ""}`,
    },
    h("div", { class: "cnb-lanehead" }, h("i", { "aria-hidden": "true", title: row?.status ?? "" }, SIGNS[row?.status ?? "queued"] ?? ""), h("small", {}, String(i)), h("bdi", { title: called }, called), before && !row?.from_record ? h("small", { title: before }, `↺ ${row?.tasks?.filter((task) => task.taken_over).length}`) : null),
    track,
  );
}
