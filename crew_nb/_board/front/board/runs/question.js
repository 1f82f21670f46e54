// @ts-check
/** What a task that waits for a person asks. */

/** @import {Row, Spec, Wait} from "../messages.js" */
import { h } from "../../shared/elements.js";
import { leftOut } from "../cut.js";

/** A form, whose buttons approve or send feedback. @param {Row} row @param {Wait} wait @param {Spec[]} specs @param {string} board its id */
export function question(row, wait, specs, board) {
  const name = wait.task === undefined ? "this run" : (specs[wait.task]?.name ?? "this task");
  const id = `${board}-ask-${row.index}-${wait.task ?? "x"}`;
  return h(
    "div",
    { class: "cnb-form", "data-key": wait.key, role: "group", "aria-labelledby": `${id}-t` },
    h("p", { id: `${id}-t` }, h("b", {}, `${name} asks for your view`), wait.detail ? h("bdi", { class: "cnb-quiet" }, ` ${wait.detail}`) : null),
    wait.draft?.text ? h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, wait.draft.text, leftOut(wait.draft)) : null,
    h("textarea", { id, rows: 2, placeholder: "Feedback: what should be different", "aria-label": `Feedback on ${name}`, dir: "auto" }),
    h(
      "div",
      { class: "cnb-acts" },
      h("button", { type: "button", class: "cnb-go", "data-act": "approve", "data-run": row.index, "data-wait": wait.key }, "Approve"),
      h("button", { type: "button", "data-act": "feedback", "data-run": row.index, "data-wait": wait.key, "data-for": id }, "Send feedback"),
    ),
  );
}
