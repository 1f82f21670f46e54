// @ts-check
/** The mean of each score by variant, with its 95 % interval, while they come. */

/** @import {Mean} from "../messages.js" */
import { h } from "../../shared/elements.js";
import { count } from "../../shared/numbers.js";
import { morph } from "../morph.js";
import { View } from "../view.js";

/** @param {number | null} n */
const figure = (n) => (n === null ? "–" : String(Number(n.toPrecision(3))));

export class Scores extends View {
  /** @override */
  static key = "scores";

  /** @override @param {import("../store.js").Store} store */
  static isIn(store) {
    return store.grid !== null;
  }

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.sheet = h("div");
  }

  /** @override */
  look() {
    return { means: true };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.sheet = this.frame();
    body.append(this.sheet);
  }

  frame() {
    return h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Scores" });
  }

  /** @override */
  scrolled() {
    return true;
  }

  /** @override */
  draw() {
    const sheet = this.frame();
    const means = this.store.means ?? [];
    if (!means.length) sheet.append(h("p", { class: "cnb-empty" }, this.store.scores.size ? "Means are worked out…" : "Nothing is scored yet."));
    sheet.append(...means.map((of) => this.table(of)));
    morph(this.sheet, sheet);
  }

  /** @param {Mean} of */
  table({ score, rows }) {
    const ends = rows.flatMap(([, ...values]) => values.slice(0, 3)).filter((value) => value !== null);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const at = (/** @type {number} */ value) => (high > low ? (100 * (value - low)) / (high - low) : 50);
    const variants = this.store.grid?.variants ?? [];
    const lines = rows.map(([turn, mean, least, most, scored]) => {
      const interval = least === null || most === null ? "" : ` [${figure(least)}, ${figure(most)}]`;
      const bar = least === null || most === null ? null : h("i", { style: `inset-inline:${at(least)}% ${100 - at(most)}%` });
      const point = mean === null ? null : h("b", { style: `inset-inline-start:${at(mean)}%` });
      return h("tr", {}, h("th", { scope: "row" }, h("bdi", {}, variants[turn] ?? "")), h("td", { class: "cnb-interval" }, h("span", { "aria-hidden": "true" }, bar, point)), h("td", {}, figure(mean) + interval), h("td", { class: "cnb-quiet" }, `${count(scored)} runs`));
    });
    return h("table", { class: "cnb-means" }, h("caption", {}, h("bdi", {}, score)), h("tbody", {}, lines));
  }
}
