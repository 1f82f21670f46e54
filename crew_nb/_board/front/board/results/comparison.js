// @ts-check
/** Two to four results side by side, with what differs marked. */

/** @import {Child} from "../../shared/elements.js" */
/** @import {Results} from "./results.js" */
import { h } from "../../shared/elements.js";
import { count } from "../../shared/numbers.js";
import { stopped } from "../cut.js";
import { diffWords } from "../difference.js";
import { fields, fieldsOf, words } from "../fields.js";
import { sanitized } from "../markdown.js";
import { markDifferences, marked } from "../marking.js";
import { morph } from "../morph.js";
import { SIGNS } from "../statuses.js";
import { versionOf } from "../versions.js";
import { View } from "../view.js";

export class Comparison extends View {
  /** @override */
  static key = "compare";

  /** @param {Results} results */
  constructor(results) {
    super(results.board);
    this.results = results;
    this.sheet = h("div");
    this.onlyDifferent = false;
    /** What is shown was made of. */
    this.stamp = "";
  }

  get picked() {
    return this.results.picked;
  }

  /** @override */
  look() {
    return { row: this.picked, card: this.picked };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.sheet = this.frame();
    body.append(this.sheet);
  }

  frame() {
    return h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Comparison" });
  }

  /** @returns {Child[]} */
  tools() {
    return [
      h("button", { type: "button", "data-act": "compare-end" }, "← Back"),
      h("b", {}, `Runs ${this.picked.join(", ")}`),
      h(
        "label",
        { class: "cnb-check" },
        h("input", { type: "checkbox", "data-in": "different", checked: this.onlyDifferent }),
        "only differences",
      ),
      this.picked.length === 2
        ? h("span", { class: "cnb-quiet" }, h("del", {}, "only in the first"), " ", h("ins", {}, "only in the second"))
        : h("span", { class: "cnb-quiet" }, h("ins", {}, "not in the first")),
    ];
  }

  /** Anew only where something of it has changed: to find what differs takes time. @override */
  draw() {
    const { rows, cards } = this.store;
    const parts = this.picked.flatMap((i) => [i, versionOf(rows.get(i)), versionOf(cards.get(i)), this.wholeOf(i) !== undefined]);
    const stamp = [this.onlyDifferent, this.live, ...parts].join();
    if (this.stamp === stamp && this.sheet.firstChild) return;
    this.stamp = stamp;
    morph(this.sheet, this.drawn());
  }

  drawn() {
    const sheet = this.frame();
    const tables = this.picked.map((i) => fields(this.wholeOf(i)) ?? fieldsOf(this.store.cards.get(i)));
    const notes = this.picked.map((i) => {
      const left = this.store.cards.get(i)?.left_out;
      if (!left || this.wholeOf(i) !== undefined) return null;
      return h("p", { class: "cnb-left" }, this.live ? `${count(left)} more characters are on their way` : `${count(left)} more characters are not here, and not compared`);
    });
    const heads = this.picked.map((i) => {
      const row = this.store.rows.get(i);
      return h("div", { class: "cnb-side", "data-s": row?.status ?? "queued" }, h("i", { "aria-hidden": "true" }, SIGNS[row?.status ?? "queued"] ?? ""), h("small", {}, String(i)), h("bdi", {}, this.board.named(i)));
    });
    if (tables.every(Boolean)) {
      const names = [...new Set(tables.flatMap((t) => Object.keys(t ?? {})))];
      const rows = names.flatMap((name) => {
        const values = tables.map((t) => words(t?.[name]));
        const same = values.every((v) => v === values[0]);
        if (same && this.onlyDifferent) return [];
        return [h("tr", { class: same ? null : "cnb-differs" }, h("th", { scope: "row" }, h("bdi", {}, name)), values.map((v, n) => h("td", { dir: "auto" }, n && !same ? marked(diffWords(values[0] ?? "", v), "ins") : v)))];
      });
      sheet.append(h("table", { class: "cnb-fields cnb-wide" }, h("thead", {}, h("tr", {}, h("th", {}, "field"), heads.map((head, n) => h("th", { scope: "col" }, head, notes[n])))), h("tbody", {}, rows)));
      return sheet;
    }
    const sides = this.picked.map((i) => {
      const card = this.store.cards.get(i);
      const whole = card?.html && this.wholeOf(i);
      const html = whole || card?.html;
      const said = card?.error ? h("p", { class: "cnb-bad" }, card.error) : card?.stopped !== undefined ? h("p", { class: "cnb-quiet" }, stopped(card.stopped)) : html ? sanitized(html) : card?.text;
      return h("div", { class: "cnb-words" }, said);
    });
    markDifferences(sides, this.onlyDifferent);
    const columns = h("div", { class: "cnb-columns", style: `grid-template-columns:repeat(${sides.length},minmax(12em,1fr))` });
    sides.forEach((side, n) => columns.append(h("div", { class: "cnb-column" }, heads[n], notes[n], side)));
    sheet.append(columns);
    return sheet;
  }

  /** The output of a run that a card has cut, asked for where it is not here: HTML, or of a structured one its text. @param {number} run */
  wholeOf(run) {
    const card = this.store.cards.get(run);
    return card?.left_out ? this.board.parcels.ask(run, card.fields ? "text" : "html") : undefined;
  }
}
