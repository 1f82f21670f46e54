// @ts-check
/** The runs as rows: their tasks, what they do now, and opened what happened in them. */

/** @import {Child} from "../../shared/elements.js" */
/** @import {Row} from "../messages.js" */
import { h } from "../../shared/elements.js";
import { clock, count, money, span } from "../../shared/numbers.js";
import { happening } from "../happening.js";
import { morph } from "../morph.js";
import { called, INPUT, saved, taken, took } from "../rows.js";
import { FINAL, SIGNS } from "../statuses.js";
import { versionOf } from "../versions.js";
import { View } from "../view.js";
import { inside } from "./detail.js";
import { isLong, pipeline, tasksWidth, TWO_LINES } from "./pipeline.js";
import { question } from "./question.js";
import { Work } from "./work.js";

/** Characters up to which a column of inputs is as wide as they are, and of which more are not asked for. */
const [SHORT, LONG] = [14, 40];

/** Columns in which what is most is wanted first. */
const NUMBERS = ["time", "tokens", "cost"];

export class Runs extends View {
  /** @override */
  static key = "runs";

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.grid = h("div");
    this.heads = h("div");
    this.inputs = this.columns();
    this.work = new Work(board);
    /** @type {import("../view.js").Acts} */
    this.acts = {
      toggle: (run) => {
        // A click that ends a selection is no wish to open the row.
        if (!String(getSelection() ?? "")) this.toggle(run);
      },
      work: () => this.scroller && this.work.draw(this.scroller, true),
      sort: (_, el) => this.sort(el.dataset.sort ?? "#"),
      cancel: (run) => this.board.wire.command("cancel", { run }),
      retry: (run) => this.board.wire.command("retry", { run }),
      approve: (run, el) => {
        this.board.wire.command("answer", { run, key: el.dataset.wait ?? "", text: "", approve: true });
        this.reveal(run); // the form goes, and with it the button that has the focus
      },
      feedback: (run, el) => this.feedback(run, el),
    };
  }

  /** @override */
  look() {
    return { ...super.look(), detail: [...this.board.open] };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.heads = h("div", { class: "cnb-cols cnb-row", role: "row" });
    const view = h("div", { class: "cnb-scroll", role: "presentation" });
    this.grid = h("div", { class: "cnb-grid", role: "treegrid", "aria-label": "Runs" }, this.heads, view);
    this.work.watch(view);
    body.append(this.grid, this.work.el);
    this.scroll(view, { height: () => (this.board.within(TWO_LINES) ? 58 : 34), build: (i) => this.item(i), stamp: (i) => this.stamp(i) });
  }

  /** @override */
  draw() {
    const { by } = this.board;
    this.inputs = this.columns();
    const costs = Boolean(this.store.batch?.cost);
    this.grid.classList.toggle("cnb-costs", costs);
    this.grid.style.setProperty("--inputs", this.inputs.map(({ wide }) => wide).join(" "));
    this.grid.style.setProperty("--tasks", `${tasksWidth(this.store.shapes.values(), this.board.root.clientWidth)}px`);
    this.grid.setAttribute("aria-rowcount", String(this.places.length + 1));
    const column = (/** @type {string} */ key, /** @type {string} */ name, right = false, of = key) =>
      h(
        "div",
        {
          role: "columnheader",
          class: right ? "cnb-right" : null,
          "data-col": of,
          "aria-sort": by.sort === key ? (by.down ? "descending" : "ascending") : "none",
        },
        h("button", { type: "button", "data-act": "sort", "data-sort": key }, name, by.sort === key && (key !== "#" || by.down) ? h("i", { "aria-hidden": "true" }, by.down ? " ↓" : " ↑") : null),
      );
    const plain = (/** @type {string} */ name) => h("div", { role: "columnheader", "data-col": name }, name);
    morph(
      this.heads,
      h("div", { class: "cnb-cols cnb-row", role: "row", "aria-rowindex": 1 }, column("#", "#", true), column("status", "status"), this.inputs.map(({ key, name }) => column(key, name, false, "inputs")), plain("tasks"), plain("now"), column("time", "time", true), column("tokens", "tokens", true), costs ? column("cost", "cost", true) : null),
    );
    this.drawPlaces();
    if (this.scroller) this.work.draw(this.scroller);
  }

  /** @override */
  scrolled() {
    if (this.scroller) this.scroller.draw(this.scroller.keys), this.work.draw(this.scroller);
    return this.scroller !== null;
  }

  /**
   * The columns of inputs: those that there is room for, each as wide as its values, or one of all.
   * @returns {{key: string, name: string, wide: string, of: (row: Row) => string}[]}
   */
  columns() {
    const { clientWidth } = this.board.root;
    const columns = this.store.shown(clientWidth > 1240 ? 4 : clientWidth > 960 ? 3 : 2);
    const wide = "minmax(80px, 1fr)";
    if (!columns.length) return [{ key: "inputs", name: "inputs", wide, of: called }];
    if (columns.length === 1 || this.board.within(TWO_LINES)) {
      const names = [...this.store.columns.keys()];
      return [{ key: INPUT + names[0], name: names.join(" · "), wide, of: called }];
    }
    const long = columns.filter((column) => column.wide > SHORT).reduce((sum, column) => sum + Math.min(column.wide, LONG), 0);
    return columns.map(({ name, wide }) => ({
      key: INPUT + name,
      name,
      wide: wide > SHORT ? `minmax(60px, ${((1.6 * Math.min(wide, LONG)) / long).toFixed(2)}fr)` : `minmax(0, ${Math.ceil(8.8 * wide) + 4}px)`,
      of: (row) => row.cells?.[name] ?? (row.cells ? "" : (row.label ?? "")),
    }));
  }

  /** What a row is drawn from. @param {number} i */
  stamp(i) {
    const { active, by, open, root } = this.board;
    const row = this.store.rows.get(i);
    const ticking = row && !FINAL.has(row.status) ? Math.floor(this.now) : 0;
    return [row ? versionOf(row) : 0, open.has(i) ? 1 + versionOf(this.store.details.get(i)) : 0, this.inputs.map(({ key }) => key).join(), active === i, ticking, Boolean(this.store.batch?.cost), row && isLong(this.store.specsOf(row), root.clientWidth), by.sort === "#" ? 0 : this.places.indexOf(i)].join();
  }

  /** @param {number} i */
  item(i) {
    const row = this.store.rows.get(i);
    const { active, open: opened, root } = this.board;
    const columns = this.inputs.length;
    const open = opened.has(i);
    const item = h("div", { class: open ? "cnb-item cnb-open" : "cnb-item", role: "rowgroup" });
    const main = h("div", {
      class: "cnb-row",
      role: "row",
      "data-s": row?.status ?? "queued",
      "data-act": "toggle",
      "data-run": i,
      "data-key": "row",
      tabindex: active === i ? 0 : -1,
      "aria-rowindex": this.places.indexOf(i) + 2,
      "aria-expanded": String(open),
      "aria-level": 1,
    });
    const cell = (/** @type {string} */ kind, /** @type {(Child | Child[])[]} */ ...content) =>
      h("div", { role: "gridcell", class: `cnb-${kind}` }, ...content);
    if (!row) {
      main.append(cell("num", String(i)), cell("status"), ...this.inputs.map(() => cell("inputs", "…")), cell("tasks"), cell("now"), cell("time"), cell("tokens"));
      item.append(main);
      return item;
    }
    const { now } = this;
    const specs = this.store.specsOf(row);
    const time = took(row, now);
    main.append(
      cell("num", String(i)),
      cell("status", h("i", { "aria-hidden": "true" }, SIGNS[row.status] ?? ""), row.status),
      ...this.inputs.map(({ of }) => cell("inputs", h("bdi", { title: row.label ?? "" }, of(row) || (row.cells ? "" : "no inputs")))),
      cell("tasks", pipeline(row, specs, root.clientWidth)),
      cell("now", taken(row) ? h("span", { class: "cnb-tag", title: saved(row) }, taken(row)) : null, ...happening(row, specs, now)),
      cell("time", time === undefined ? "" : row.finished === undefined ? clock(time) : span(time)),
      cell("tokens", row.tokens ? count(row.tokens) : ""),
    );
    if (this.store.batch?.cost) main.append(cell("cost", row.cost === undefined ? "" : money(row.cost)));
    item.append(main);
    const asks = (row.waits ?? []).filter((w) => w.reason === "person");
    if (asks.length) item.append(wide("asks", ...asks.map((w) => question(row, w, specs, this.board.id))));
    if (open) item.append(wide("detail", inside(this.board, i, row)));
    return item;

    function wide(/** @type {string} */ kind, /** @type {Child[]} */ ...content) {
      return h("div", { role: "row", "data-key": kind, "aria-level": 2, class: `cnb-${kind}` }, h("div", { role: "gridcell", "aria-colspan": 6 + columns }, ...content));
    }
  }

  /** @param {number} run */
  toggle(run) {
    const { open } = this.board;
    this.board.active = run;
    if (open.delete(run)) this.scroller?.measured.delete(run);
    else {
      open.add(run);
      if (this.scroller) this.scroller.opened = run;
    }
    this.board.schedule();
  }

  /** @param {string} key */
  sort(key) {
    const { by } = this.board;
    this.board.by = by.sort === key ? { ...by, down: !by.down } : { ...by, sort: key, down: NUMBERS.includes(key) };
    this.board.schedule();
  }

  /** @param {number} run @param {HTMLElement} el */
  feedback(run, el) {
    const box = /** @type {HTMLTextAreaElement | null} */ (this.grid.querySelector(`#${el.dataset.for}`));
    const text = box?.value.trim() ?? "";
    if (!text) {
      box?.focus();
      return;
    }
    this.board.wire.command("answer", { run, key: el.dataset.wait ?? "", text, approve: false });
    if (box) box.value = "";
  }

  /** @override @param {HTMLElement} target */
  sent(target) {
    /** @type {HTMLElement | null | undefined} */ (target.parentElement?.querySelector('[data-act="feedback"]'))?.click();
  }

  /** @override @param {KeyboardEvent} e @param {HTMLElement} target */
  key(e, target) {
    const { active, open } = this.board;
    if (e.key === "Escape") {
      const run = Number(/** @type {HTMLElement | null} */ (target.closest(".cnb-item"))?.dataset.item);
      if (!open.has(run)) return false;
      this.toggle(run);
      this.reveal(run);
      return true;
    }
    if (target.matches(".cnb-row[data-run]") && !this.moved(e) && (e.key === "Enter" || e.key === " ")) {
      e.preventDefault();
      this.toggle(active);
    }
    return false;
  }
}
