// @ts-check
/** The tasks of a run as they stand in its row. */

/** @import {Row, Spec} from "../messages.js" */
import { h } from "../../shared/elements.js";
import { stages } from "../stages.js";
import { SIGNS } from "../statuses.js";

/** Pixels up to which a row has a second line, and joins are not named: as in runs.css. */
export const [TWO_LINES, NO_JOINS] = [760, 960];

/** Pixels that the tasks of a crew need side by side, about. @param {Spec[]} specs @param {number} wide the board's width */
function pipeWidth(specs, wide) {
  let needed = 0;
  for (const step of stages(specs)) {
    for (const i of step) {
      const joined = ((!wide || wide > NO_JOINS) && specs[i]?.joined) || "";
      needed += 30 + 7.2 * (specs[i]?.name ?? "").length + (joined ? 6.2 * joined.length : 0);
    }
    needed += step.length > 1 ? 28 : 16;
  }
  return needed;
}

/** Pixels that the tasks of the widest crew need, about: the columns of all rows must stand below one another. @param {Iterable<Spec[]>} shapes @param {number} wide */
export function tasksWidth(shapes, wide) {
  let most = 60;
  for (const specs of shapes) {
    const name = Math.max(...specs.map((spec) => spec.name.length), 0);
    most = Math.max(most, isLong(specs, wide) ? 120 + 7.2 * Math.min(24, name) : pipeWidth(specs, wide));
  }
  return Math.ceil(most);
}

/** Whether a crew has more tasks than can be told apart side by side. @param {Spec[]} specs @param {number} wide */
export function isLong(specs, wide) {
  const room = wide <= TWO_LINES ? wide / 2 - 20 : 0.46 * wide;
  return (specs.length > 6 && pipeWidth(specs, wide) > room) || (specs.length > 2 && wide > 0 && room / specs.length < 56);
}

/** The tasks of a run in their steps, side by side where they run at once. @param {Row} row @param {Spec[]} specs @param {number} wide */
export function pipeline(row, specs, wide) {
  if (isLong(specs, wide)) return brief(row, specs);
  const line = h("span", { class: "cnb-pipe" });
  // Names come before edges, which the opened row has too.
  const tight = wide > 0 && pipeWidth(specs, wide) > 0.46 * wide;
  stages(specs).forEach((step, place) => {
    if (place) line.append(h("span", { class: "cnb-then", "aria-hidden": "true" }, "›"));
    const chips = step.map((i) => {
      const { status = "queued", rounds, taken_over } = row.tasks?.[i] ?? {};
      const name = specs[i]?.name ?? "";
      const { joined, is_step } = specs[i] ?? {};
      const from = (specs[i]?.joins ?? []).map((j) => specs[j]?.name).join(is_step ? ", " : " and ");
      const title = `${name}: ${taken_over ? "taken over" : status}${rounds ? `, ${rounds} rounds` : ""}${from ? `, ${is_step ? "after" : "joins"} ${from}` : ""}${specs[i]?.agent ? ` (${specs[i]?.agent})` : ""}`;
      return h(
        "span",
        { class: taken_over ? "cnb-task cnb-taken" : "cnb-task", "data-s": status, title, "aria-label": title, role: "img" },
        h("i", {}, SIGNS[status] ?? ""),
        h("bdi", {}, name),
        rounds ? h("b", {}, `×${rounds}`) : null,
        joined && !(tight && is_step) ? h("small", {}, joined) : null,
      );
    });
    line.append(step.length > 1 ? h("span", { class: "cnb-group", style: `--n:${step.length}` }, chips) : /** @type {Node} */ (chips[0]));
  });
  return line;
}

/** The tasks of a run as a number, and by name those of them that are at work or have failed. @param {Row} row @param {Spec[]} specs */
function brief(row, specs) {
  const statuses = specs.map((_, i) => row.tasks?.[i]?.status ?? "queued");
  const done = statuses.filter((s) => s === "done" || s === "skipped").length;
  const title = specs.map((spec, i) => `${spec.name}: ${statuses[i]}`).join("\n");
  const line = h("span", { class: "cnb-pipe cnb-brief", title });
  const sum = { class: "cnb-task cnb-of", "data-s": done ? "done" : "queued", role: "img", "aria-label": `${done} of ${specs.length} tasks done` };
  line.append(h("span", sum, h("i", {}, SIGNS[done ? "done" : "queued"] ?? ""), `${done}/${specs.length}`));
  const shown = specs.flatMap((_, i) => (["running", "waiting", "failed", "unknown"].includes(statuses[i] ?? "") ? [i] : []));
  for (const i of shown.slice(0, 2)) {
    const name = specs[i]?.name ?? "";
    line.append(h("span", { class: "cnb-task", "data-s": statuses[i], role: "img", "aria-label": `${name}: ${statuses[i]}` }, h("i", {}, SIGNS[statuses[i] ?? ""] ?? ""), h("bdi", {}, name)));
  }
  if (shown.length > 2) line.append(h("span", { class: "cnb-quiet cnb-rest" }, `+${shown.length - 2}`));
  return line;
}
