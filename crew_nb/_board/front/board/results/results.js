// @ts-check
/** The joined outputs: as cards, as a table where they have fields, and compared. */

/** @import {Child} from "../../shared/elements.js" */
import { h } from "../../shared/elements.js";
import { fieldsOf } from "../fields.js";
import { morph } from "../morph.js";
import { View } from "../view.js";
import { Cards } from "./cards.js";
import { Comparison } from "./comparison.js";
import { Table } from "./table.js";

/** Runs that can be compared at once. */
const MOST = 4;

export class Results extends View {
  /** @override */
  static key = "results";

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.bar = h("div");
    /** @type {number[]} runs picked to be compared */
    this.picked = [];
    /** Whether one too many was picked just now. */
    this.overpicked = false;
    this.comparing = false;
    this.asTable = false;
    this.cards = new Cards(this);
    this.table = new Table(this);
    this.comparison = new Comparison(this);
    /** @type {import("../view.js").Acts} */
    this.acts = {
      cards: () => this.turn({ table: false }),
      table: () => this.turn({ table: true }),
      compare: () => this.turn({ comparing: true }),
      "compare-end": () => this.turn({ comparing: false }),
      file: (_, el) => board.wire.send({ t: "file", format: el.dataset.format }),
    };
  }

  /** In which form the results are shown. */
  get shown() {
    return this.comparing ? this.comparison : this.asTable ? this.table : this.cards;
  }

  /** @override */
  get form() {
    return this.shown.form;
  }

  /** @param {{table?: boolean, comparing?: boolean}} to */
  turn({ table, comparing }) {
    this.asTable = table ?? this.asTable;
    if (comparing !== undefined) {
      this.comparing = comparing;
      this.comparison.onlyDifferent = this.overpicked = false;
    }
    this.board.schedule();
  }

  /** @override @param {number[]} runs */
  compare(runs) {
    this.picked = runs;
    this.turn({ comparing: true });
  }

  /** @override */
  chosen() {
    this.comparing = false;
  }

  /** Results stand in the order of the inputs: only Runs has heads that say how it is sorted. @override @param {import("../rows.js").By} by */
  ordered(by) {
    return { ...by, sort: "#", down: false };
  }

  /** @override */
  look() {
    return this.shown.look();
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.bar = h("div", { class: "cnb-tools" });
    body.append(this.bar);
    this.shown.enter(body);
  }

  /** @override */
  leave() {
    for (const form of [this.cards, this.table, this.comparison]) form.leave();
  }

  /** @override */
  scrolled() {
    return this.shown.scrolled();
  }

  /** @override */
  draw() {
    morph(this.bar, h("div", { class: "cnb-tools" }, this.comparing ? this.comparison.tools() : this.tools()));
    this.shown.draw();
  }

  /** Runs whose output has fields, as far as their outputs are here. */
  structured() {
    let [with_, without] = [0, 0];
    for (const card of this.store.cards.values()) if (card.text) fieldsOf(card) ? with_++ : without++;
    return with_ > 0 && with_ >= without;
  }

  /** @returns {Child[]} */
  tools() {
    const picked = this.picked.length;
    const form = (/** @type {string} */ act, /** @type {string} */ name, /** @type {boolean} */ on) =>
      h("button", { type: "button", "data-act": act, "aria-pressed": String(on) }, name);
    const file = (/** @type {string} */ format, /** @type {string} */ name) =>
      h(
        "button",
        { type: "button", "data-act": "file", "data-format": format, disabled: !this.live, "aria-label": `Download as ${name}` },
        name,
      );
    return [
      this.structured() || this.asTable
        ? h(
            "span",
            { class: "cnb-seg", role: "group", "aria-label": "Form of the results" },
            form("cards", "Cards", !this.asTable),
            form("table", "Table", this.asTable),
          )
        : null,
      h(
        "button",
        { type: "button", class: "cnb-go", "data-act": "compare", disabled: picked < 2 },
        picked ? `Compare ${picked}` : "Compare",
      ),
      h("span", { class: this.overpicked ? "cnb-wait" : "cnb-quiet", role: "status" }, this.overpicked ? "at most four" : picked < 2 ? "pick two to four" : ""),
      h(
        "span",
        { class: "cnb-acts" },
        h("span", { class: "cnb-quiet" }, "Download"),
        file("md", "Markdown"),
        file("json", "JSON"),
        file("csv", "CSV"),
      ),
    ];
  }

  /** @override @param {string} field @param {HTMLInputElement} el @param {string} kind */
  typed(field, el, kind) {
    if (field === "different") this.comparison.onlyDifferent = el.checked;
    if (field !== "pick" || kind !== "change") return;
    const run = Number(el.dataset.run);
    this.picked = this.picked.filter((i) => i !== run);
    this.overpicked = el.checked && this.picked.length >= MOST;
    if (this.overpicked) el.checked = false;
    if (el.checked) this.picked.push(run);
  }
}
