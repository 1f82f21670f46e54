// @ts-check
/** A sweep: inputs down, variants across, repeats folded into the cell. */

/** @import {Score} from "../messages.js" */
import { h } from "../../shared/elements.js";
import { morph } from "../morph.js";
import { SIGNS } from "../statuses.js";
import { View } from "../view.js";

/** Pixels of a row, of the names of inputs, and of a column. */
const [ROW, NAMES, COLUMN] = [34, 170, 92];
/** Pixels of a letter and the most that names of inputs take, where there is room. */
const [LETTER, LONG] = [7.6, 460];

/** @param {number} n */
const figure = (n) => String(Number(n.toPrecision(3)));

export class Grid extends View {
  /** @override */
  static key = "grid";

  /** @override @param {import("../store.js").Store} store */
  static isIn(store) {
    return store.grid !== null;
  }

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.bar = h("div");
    this.head = h("div");
    /** The score that is shown; the first, where it is none of those that there are. */
    this.wanted = "";
    /** The input and the variant that the keys are at. */
    this.at = [0, 0];
    /** First runs of the cells that are picked to be compared. @type {number[]} */
    this.picked = [];
    /** @type {import("../view.js").Acts} */
    this.acts = { cell: (run) => this.open(run), "cell-compare": () => board.compare(this.picked) };
  }

  get grid() {
    return this.store.grid ?? { factors: [], by: "", inputs: [], variants: [], repeats: 1 };
  }

  /** Names of the scores that have come. */
  get names() {
    return this.store.scoreNames;
  }

  get score() {
    return this.names.includes(this.wanted) ? this.wanted : (this.names[0] ?? "");
  }

  /** Grids stand in the order of the inputs. @override @param {import("../rows.js").By} by */
  ordered(by) {
    return { ...by, sort: "#", down: false };
  }

  /** The first run of a cell. @param {number} input @param {number} variant */
  first(input, variant) {
    return (input * this.grid.variants.length + variant) * this.grid.repeats;
  }

  /** The runs of a cell. @param {number} first */
  runs(first) {
    return Array.from({ length: this.grid.repeats }, (_, n) => first + n);
  }

  /** Open every repeat of a cell. @param {number} first */
  open(first) {
    for (const run of this.runs(first)) this.board.open.add(run);
    this.board.show(first);
  }

  /** Pick a cell to be compared, or no longer. @param {number} first */
  pick(first) {
    this.picked = this.picked.includes(first) ? this.picked.filter((run) => run !== first) : [...this.picked, first].slice(-2);
    this.board.schedule();
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.bar = h("div", { class: "cnb-tools" });
    this.head = h("div", { class: "cnb-gridhead", role: "row" });
    const into = h("div", { class: "cnb-scroll cnb-grid", role: "grid", "aria-label": "Inputs by variants", click: (/** @type {MouseEvent} */ e) => this.shifted(e) }, this.head);
    body.append(this.bar, into);
    this.scroll(into, { height: () => ROW, build: (input) => this.row(input), stamp: (input) => this.stamp(input) });
  }

  /** With Shift a click picks. @param {MouseEvent} e */
  shifted(e) {
    const cell = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (e.target).closest("[data-act=cell]"));
    if (!e.shiftKey || !cell) return;
    e.stopPropagation();
    this.pick(Number(cell.dataset.run));
  }

  /** @override */
  look() {
    const row = (this.scroller?.inSight ?? []).flatMap((input) => this.grid.variants.flatMap((_, turn) => this.runs(this.first(input, turn))));
    return { row };
  }

  /** @override */
  draw() {
    const { variants, factors, by } = this.grid;
    morph(this.bar, h("div", { class: "cnb-tools" }, this.tools()));
    const names = [h("span", { class: "cnb-gridname", role: "columnheader" }, `${by} by ${factors.join(", ")}`), ...variants.map((name) => h("bdi", { role: "columnheader", title: name }, name))];
    morph(this.head, h("div", { class: "cnb-gridhead", role: "row", style: this.columns }, names));
    const per = Math.max(1, variants.length * this.grid.repeats);
    const inputs = [...new Set(this.places.map((run) => Math.floor(run / per)))];
    if (this.scroller) this.scroller.space.style.minWidth = `${NAMES + COLUMN * variants.length}px`;
    this.scroller?.draw(inputs);
    this.sayEmpty();
  }

  get columns() {
    const { length } = this.grid.variants;
    const longest = Math.max(0, ...this.grid.inputs.map((name) => name.length));
    const names = Math.max(NAMES, Math.min(LONG, Math.ceil(LETTER * longest) + 16));
    return `grid-template-columns:minmax(${NAMES}px,${names}px) repeat(${length},minmax(${COLUMN}px,1fr));min-width:${NAMES + COLUMN * length}px`;
  }

  tools() {
    const { names, picked } = this;
    const choose = h("select", { "data-in": "score", "aria-label": "score" }, ...names.map((name) => h("option", { value: name, selected: name === this.score }, name)));
    return [
      names.length ? h("label", { class: "cnb-check" }, "score ", choose) : h("span", { class: "cnb-quiet" }, "Nothing is scored yet."),
      h("button", { type: "button", class: "cnb-go", "data-act": "cell-compare", disabled: picked.length < 2 }, "Compare two"),
      h("span", { class: "cnb-quiet" }, "Enter opens; c, or a click with Shift, picks two to compare"),
    ];
  }

  /** @param {number} input */
  stamp(input) {
    const { score, store } = this;
    const [low, high] = store.range(score);
    const parts = [score, low, high, this.at.join(), this.picked.join()];
    for (let run = this.first(input, 0); run < this.first(input + 1, 0); run++) parts.push(String(store.scores.get(run)?.[score]), store.rows.get(run)?.status ?? "");
    return parts.join();
  }

  /** @param {number} input */
  row(input) {
    const { inputs, variants } = this.grid;
    const name = inputs[input] ?? "";
    return h(
      "div",
      { class: "cnb-item cnb-gridrow", role: "row", style: this.columns },
      h("bdi", { class: "cnb-gridname", role: "rowheader", title: name }, name),
      ...variants.map((_, turn) => this.cell(input, turn)),
    );
  }

  /** @param {number} input @param {number} turn */
  cell(input, turn) {
    const { inputs, variants } = this.grid;
    const first = this.first(input, turn);
    const { words, spread, share, status } = this.said(this.runs(first));
    const isAt = input === this.at[0] && turn === this.at[1];
    // What is seen comes first in what is said: people who speak to their computer call it by that.
    const label = `${[words, spread].filter(Boolean).join(" ")}, ${variants[turn]}, ${inputs[input]}`;
    return h(
      "button",
      {
        type: "button",
        role: "gridcell",
        class: "cnb-cell",
        "data-act": "cell",
        "data-run": first,
        "data-cell": `${input}-${turn}`,
        "data-s": status,
        "aria-label": label,
        "aria-selected": String(this.picked.includes(first)),
        tabindex: isAt ? 0 : -1,
        style: share === null ? null : `--share:${Math.round(share * 100)}%`,
      },
      h("b", {}, words),
      spread ? [" ", h("small", {}, spread)] : null,
    );
  }

  /** What a cell says of its runs. @param {number[]} runs */
  said(runs) {
    const { score, store } = this;
    const values = runs.map((run) => store.scores.get(run)?.[score]).filter((/** @type {Score | null | undefined} */ v) => v !== undefined && v !== null);
    const statuses = runs.map((run) => store.rows.get(run)?.status ?? "queued");
    const status = statuses.find((word) => word !== "done") ?? "done";
    if (!values.length) return { words: status === "done" ? "–" : `${SIGNS[status] ?? ""} ${status}`, spread: "", share: null, status };
    if (values.some((value) => typeof value === "string")) {
      const words = [...new Set(values)].map((word) => `${word}${values.length > 1 ? ` ×${values.filter((v) => v === word).length}` : ""}`);
      return { words: words.join(", "), spread: "", share: null, status };
    }
    const numbers = values.map(Number);
    const mean = numbers.reduce((a, b) => a + b, 0) / numbers.length;
    const [low, high] = store.range(score);
    const share = high > low ? (mean - low) / (high - low) : 0.5;
    if (values.every((value) => typeof value === "boolean"))
      return { words: numbers.length > 1 ? `${numbers.reduce((a, b) => a + b, 0)}/${numbers.length}` : mean ? "yes" : "no", spread: "", share, status };
    const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
    return { words: figure(mean), spread: least < most ? `${figure(least)}–${figure(most)}` : "", share, status };
  }

  /** @override @param {string} field @param {HTMLInputElement} el */
  typed(field, el) {
    if (field === "score") this.wanted = el.value;
  }

  /** @override @param {KeyboardEvent} e @param {HTMLElement} target */
  key(e, target) {
    const cell = target.dataset.cell;
    if (!cell) return false;
    if (e.key === "c") this.pick(Number(target.dataset.run));
    const keys = this.scroller?.keys ?? [];
    const [input = 0, turn = 0] = cell.split("-").map(Number);
    const row = keys.indexOf(input);
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowDown: [row + 1, turn], ArrowUp: [row - 1, turn], ArrowLeft: [row, turn - 1], ArrowRight: [row, turn + 1], PageDown: [row + 10, turn], PageUp: [row - 10, turn], Home: [row, 0], End: [row, Infinity] };
    const to = moves[e.key];
    if (!to) return false;
    e.preventDefault();
    const within = (/** @type {number} */ n, /** @type {number} */ most) => Math.max(0, Math.min(most - 1, n));
    this.at = [keys[within(to[0], keys.length)] ?? 0, within(to[1], this.grid.variants.length)];
    this.scroller?.reveal(this.at[0] ?? 0);
    /** @type {HTMLElement | null | undefined} */ (this.scroller?.view.querySelector(`[data-cell="${this.at.join("-")}"]`))?.focus();
    return false;
  }
}
