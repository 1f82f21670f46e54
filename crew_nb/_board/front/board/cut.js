// @ts-check
import { h } from "../shared/elements.js";
import { count } from "../shared/numbers.js";

/** What a text says of the part of it that is not here. @param {{left_out?: number} | undefined} cut */
export function leftOut(cut) {
  return cut?.left_out ? h("small", { class: "cnb-left" }, ` … ${count(cut.left_out)} more characters are not shown here `) : null;
}

/** A run that was stopped is no crash. @param {string | undefined} why */
export function stopped(why) {
  return why ? `stopped: ${why}` : "stopped";
}
