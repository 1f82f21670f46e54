// @ts-check
/** Structured results as a table: a line for each run, a column for each field. */

/** @import {Results} from "./results.js" */
import { h } from "../../shared/elements.js";
import { stopped } from "../cut.js";
import { fieldsOf, words } from "../fields.js";
import { morph } from "../morph.js";
import { SIGNS } from "../statuses.js";
import { View } from "../view.js";

/** Columns of inputs at most. */
const INPUTS = 4;
/** Pixels that each row is high, and how many rows are drawn. */
const [TALL, DRAWN] = [30, 40];

export class Table extends View {
  /** @override */
  static key = "table";

  /** @param {Results} results */
  constructor(results) {
    super(results.board);
    this.sheet = h("div");
    /** @type {number[]} */
    this.shown = [];
  }

  /** @override */
  look() {
    return { row: this.shown, card: this.shown };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.sheet = this.frame();
    body.append(this.sheet);
    this.sheet.addEventListener("scroll", () => this.board.schedule(), { passive: true });
  }

  frame() {
    return h("div", { class: "cnb-scroll cnb-sheet", tabindex: 0, role: "region", "aria-label": "Results as a table" });
  }

  /** @override */
  draw() {
    const sheet = this.frame();
    // The rows near the place that is scrolled to; each has the same height.
    const first = Math.max(0, Math.floor(this.sheet.scrollTop / TALL) - 5);
    this.shown = this.places.slice(first, first + DRAWN);
    const data = this.shown.map((i) => ({ i, row: this.store.rows.get(i), card: this.store.cards.get(i) }));
    const names = [...new Set([...this.store.cards.values()].slice(0, 200).flatMap((card) => Object.keys(fieldsOf(card) ?? {})))].slice(0, 30);
    const inputs = this.store.shown(INPUTS);
    const gap = (/** @type {number} */ rows) => (rows > 0 ? h("tr", { "aria-hidden": "true", style: `height:${rows * TALL}px` }, h("td", { colspan: names.length + Math.max(1, inputs.length) + 1 })) : null);
    sheet.append(
      h(
        "table",
        { class: "cnb-fields cnb-wide cnb-even", "aria-rowcount": this.places.length + 1 },
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "run"), (inputs.length ? inputs : [{ name: "inputs" }]).map(({ name }) => h("th", { scope: "col" }, h("bdi", {}, names.includes(name) ? `inputs.${name}` : name))), names.map((name) => h("th", { scope: "col" }, h("bdi", {}, name))))),
        h(
          "tbody",
          {},
          gap(first),
          data.map(({ i, row, card }) => {
            const values = fieldsOf(card);
            const status = row?.status ?? "queued";
            return h(
              "tr",
              { "data-key": String(i), "aria-rowindex": this.places.indexOf(i) + 2 },
              h("th", { scope: "row" }, h("i", { "data-s": status, title: status }, SIGNS[status] ?? ""), ` ${i}`),
              inputs.length && row?.cells
                ? inputs.map(({ name }) => h("td", { dir: "auto", title: row.cells?.[name] ?? "" }, row.cells?.[name] ?? ""))
                : h("td", { dir: "auto", colspan: Math.max(1, inputs.length) }, row?.label ?? ""),
              values ? names.map((name) => h("td", { dir: "auto", title: words(values[name]) }, words(values[name]))) : h("td", { colspan: names.length, dir: "auto", class: card?.error ? "cnb-bad" : null }, card?.error ?? card?.text?.slice(0, 300) ?? (status === "cancelled" ? stopped(card?.stopped) : status)),
            );
          }),
          gap(this.places.length - first - this.shown.length),
        ),
      ),
    );
    morph(this.sheet, sheet);
  }
}
