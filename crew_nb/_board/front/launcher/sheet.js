// @ts-check
/** The table of inputs: a row for each run, as in a spreadsheet. */

/** @import {Field, Row} from "./messages.js" */
/** @import {Form} from "./form.js" */
import { h } from "../shared/elements.js";
import { plural } from "../shared/numbers.js";
import { isBlank } from "./counts.js";
import { control, wide } from "./field.js";

/** Rows on one page: as many as are seen at once, so that nothing scrolls inside of it. */
export const PAGE = 12;

export class Sheet {
  /** @param {Form} form */
  constructor(form) {
    this.form = form;
    this.model = form.model;
    this.page = 0;
    this.rows = this.copied();
    this.counter = h("span", { class: "cnb-tag" });
    this.table = h("div", { class: "cnb-rowsheet", role: "region", tabindex: "-1", "aria-label": "Inputs" });
    this.pager = h("div", { class: "cnb-pager" });
    this.body = h("tbody");
  }

  /** @returns {Field[]} */
  get fields() {
    return this.model.get("fields");
  }

  copied() {
    const rows = /** @type {Row[]} */ (this.model.get("rows")).map((row) => ({ ...row }));
    return rows.length ? rows : [{}];
  }

  draw() {
    const fields = this.fields;
    const last = Math.max(0, Math.ceil(this.rows.length / PAGE) - 1);
    this.page = Math.min(this.page, last);
    const from = this.page * PAGE;
    const shown = this.rows.slice(from, from + PAGE);
    this.form.adders.el.toggleAttribute("hidden", !fields.length);
    if (!fields.length) {
      this.table.replaceChildren(h("p", { class: "cnb-empty" }, "This crew takes no inputs: Run starts it once."));
      this.pager.replaceChildren();
      this.drawCounter();
      return;
    }
    const head = h(
      "tr",
      {},
      h("th", { scope: "col", class: "cnb-n" }, "#"),
      fields.map((f) => h("th", { scope: "col", class: `cnb-k-${f.kind}`, style: f.kind === "choice" ? `min-width: ${wide(f)}ch` : null }, h("bdi", {}, f.name), f.own === false ? this.dropper(f.name) : null, f.required ? h("span", { class: "cnb-must", title: "needed", "aria-hidden": "true" }, " *") : null)),
      h("th", { scope: "col", class: "cnb-rowacts" }, h("span", { class: "cnb-voice" }, "Row")),
    );
    this.body = h("tbody", {}, shown.flatMap((row, i) => this.drawRow(row, from + i)));
    this.table.replaceChildren(h("table", {}, h("thead", {}, head), this.body));
    this.drawPager(last);
    this.drawCounter();
  }

  /** Takes a column away that the crew does not ask for. @param {string} name */
  dropper(name) {
    const drop = () => {
      this.form.save();
      this.form.send({ t: "column", name, remove: true });
      this.form.adders.focus("column");
    };
    return h("button", { type: "button", class: "cnb-drop", "aria-label": `Remove column ${name}`, title: "Remove the column", click: drop }, h("span", { "aria-hidden": "true" }, "✕"));
  }

  /** @param {number} last */
  drawPager(last) {
    const to = (/** @type {number} */ page) => () => {
      this.page = Math.max(0, Math.min(last, page));
      this.draw();
    };
    const add = h("button", { type: "button", class: "cnb-add", click: () => this.addRow() }, "+ Add a row");
    const clear = h("button", { type: "button", class: "cnb-link", click: () => this.clear() }, "Clear");
    this.pager.replaceChildren(
      add,
      this.rows.some((row) => !isBlank(row)) ? clear : "",
      ...(last
        ? [
            h("span", { class: "cnb-quiet" }, `rows ${this.page * PAGE} to ${Math.min(this.rows.length, (this.page + 1) * PAGE) - 1} of ${this.rows.length}`),
            h("button", { type: "button", disabled: this.page === 0, click: to(0) }, "First"),
            h("button", { type: "button", disabled: this.page === 0, click: to(this.page - 1) }, "Previous"),
            h("button", { type: "button", disabled: this.page === last, click: to(this.page + 1) }, "Next"),
            h("button", { type: "button", disabled: this.page === last, click: to(last) }, "Last"),
          ]
        : []),
    );
  }

  drawCounter() {
    const n = this.rows.filter((row) => !isBlank(row)).length;
    this.counter.textContent = this.fields.length ? plural(n, "input") : "no inputs";
  }

  /** @param {Row} row @param {number} place @returns {HTMLElement[]} */
  drawRow(row, place) {
    const wrong = this.form.problems.rows?.[String(place)];
    const said = `${this.form.id}-wrong-${place}`;
    const act = (/** @type {string} */ label, /** @type {string} */ sign, /** @type {() => void} */ does) =>
      h("button", { type: "button", "aria-label": `${label} row ${place}`, title: label, click: does }, h("span", { "aria-hidden": "true", class: sign ? null : "cnb-twice" }, sign));
    const line = h(
      "tr",
      { "data-row": place, class: wrong ? "cnb-wrong" : null },
      h("th", { scope: "row", class: "cnb-n" }, String(place)),
      this.fields.map((f) => {
        const bad = wrong && (wrong[f.name] !== undefined || (wrong[""] !== undefined && !row[f.name]?.trim() && f.required));
        const control = this.field(f, row, place);
        for (const el of control.matches("input, select, textarea") ? [control] : control.querySelectorAll("input")) {
          if (bad) el.setAttribute("aria-invalid", "true");
          if (wrong) el.setAttribute("aria-describedby", said);
        }
        return h("td", {}, control);
      }),
      h("td", { class: "cnb-rowacts" }, act("Duplicate", "", () => this.duplicate(place)), act("Remove", "✕", () => this.remove(place))),
    );
    if (!wrong) return [line];
    const lines = Object.entries(wrong).map(([name, words]) => h("div", {}, name ? h("b", {}, h("bdi", {}, name), ": ") : "", words));
    return [line, h("tr", { class: "cnb-rowsaid", "data-row": place }, h("td"), h("td", { id: said, colspan: String(this.fields.length + 1) }, lines))];
  }

  /** @param {Field} f @param {Row} row @param {number} place */
  field(f, row, place) {
    const edit = (/** @type {string} */ words) => this.edit(place, f.name, words);
    return control(f, row[f.name] ?? "", place, edit, (pick) => void this.form.upload(pick, place, f.name));
  }

  /** @param {number} place @param {string} field @param {string} words */
  edit(place, field, words) {
    const row = this.rows[place];
    if (!row) return;
    if (words) row[field] = words;
    else delete row[field];
    this.good(place);
    this.drawCounter();
    this.form.later();
  }

  /** A row that is edited is not marked any longer. @param {number} place */
  good(place) {
    const line = this.body.querySelector(`tr.cnb-wrong[data-row="${place}"]`);
    if (!line) return;
    line.classList.remove("cnb-wrong");
    for (const el of line.querySelectorAll("[aria-invalid], [aria-describedby]")) {
      el.removeAttribute("aria-invalid");
      el.removeAttribute("aria-describedby");
    }
    this.body.querySelector(`tr.cnb-rowsaid[data-row="${place}"]`)?.remove();
  }

  /** Rows were added or taken away. @param {number} focus the row to go to @param {string} [field] */
  changed(focus, field) {
    this.form.forgive();
    this.page = Math.floor(focus / PAGE);
    this.draw();
    this.focus(focus, field);
    this.form.later();
  }

  /** @param {number} place @param {string} [field] */
  focus(place, field) {
    const cells = [.../** @type {NodeListOf<HTMLElement>} */ (this.table.querySelectorAll(`tr[data-row="${place}"] [data-field]`))];
    (cells.find((el) => el.dataset.field === field) ?? cells[0])?.focus();
  }

  addRow() {
    this.rows.push({});
    this.changed(this.rows.length - 1);
  }

  /** @param {number} place */
  duplicate(place) {
    this.rows.splice(place + 1, 0, { ...this.rows[place] });
    this.changed(place + 1);
  }

  /** @param {number} place */
  remove(place) {
    this.rows.splice(place, 1);
    if (!this.rows.length) this.rows.push({});
    this.changed(Math.min(place, this.rows.length - 1));
  }

  clear() {
    this.rows = [{}];
    this.changed(0);
  }

  /** Python has other rows. */
  came() {
    const came = this.copied();
    if (JSON.stringify(came) === JSON.stringify(this.rows)) return;
    const active = /** @type {HTMLElement | null} */ (document.activeElement);
    const place = active && this.table.contains(active) ? Number(/** @type {HTMLElement | null} */ (active.closest("tr[data-row]"))?.dataset.row ?? -1) : -1;
    this.rows = came;
    this.draw();
    if (place >= 0) this.focus(Math.min(place, this.rows.length - 1), active?.dataset.field);
  }

  /** Go to a row that is wrong. @param {number} place */
  point(place) {
    this.page = Math.floor(place / PAGE);
    this.draw();
    /** @type {HTMLElement | null} */ (this.table.querySelector(".cnb-wrong [aria-invalid]") ?? this.table.querySelector(".cnb-wrong [data-field]"))?.focus();
  }

  /** From a field to the one below, and after the last to a new row. @param {HTMLElement} el */
  down(el) {
    const place = Number(/** @type {HTMLElement | null} */ (el.closest("tr"))?.dataset.row);
    if (place + 1 === this.rows.length) {
      this.rows.push({});
      this.changed(place + 1, el.dataset.field);
      return;
    }
    if (Math.floor((place + 1) / PAGE) !== this.page) {
      this.page += 1;
      this.draw();
    }
    this.focus(place + 1, el.dataset.field);
  }
}
