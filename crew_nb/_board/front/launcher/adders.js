// @ts-check
/** Ways to add inputs, each with a panel: paste, a file, a grid, a variable, a column. */

/** @import {Field} from "./messages.js" */
/** @import {Form} from "./form.js" */
import { h } from "../shared/elements.js";
import { plural } from "../shared/numbers.js";
import { combinations, parts } from "./counts.js";

export class Adders {
  /** @param {Form} form */
  constructor(form) {
    this.form = form;
    this.model = form.model;
    this.id = form.id;
    /** Which panel is open. */
    this.panel = "";
    /** What it asked for last; it is shut once that was carried out, and keeps its words until then. */
    this.asked = "";
    this.asks = 0;
    this.nameList = h("datalist");
    this.nameHint = h("span");
    const add = (/** @type {string} */ panel, /** @type {string} */ label) =>
      h("button", { type: "button", "data-panel": panel, "aria-expanded": "false", "aria-controls": `${this.id}-panel`, click: () => this.open(panel) }, label);
    this.el = h(
      "div",
      { class: "cnb-acts", role: "group", "aria-label": "Add inputs" },
      h("span", { class: "cnb-quiet" }, "Add from"),
      add("paste", "Paste"),
      add("file", "File"),
      add("grid", "Grid"),
      add("variable", "Variable"),
      add("column", "+ Column"),
    );
    this.panelBox = h("div", { class: "cnb-panel", id: `${this.id}-panel`, role: "group", hidden: true });
    this.box = h("div", { class: "cnb-panel", id: `${this.id}-panel`, role: "group", hidden: true });
  }

  /** @returns {Field[]} */
  get fields() {
    return this.model.get("fields");
  }

  /** To the button of a panel. @param {string} panel */
  focus(panel) {
    /** @type {HTMLElement | null} */ (this.el.querySelector(`[data-panel="${panel}"]`))?.focus();
  }

  /** @param {string} panel */
  open(panel) {
    this.panel = this.panel === panel ? "" : panel;
    this.asked = "";
    for (const el of this.el.querySelectorAll("button") ?? []) el.setAttribute("aria-expanded", String(el.dataset.panel === this.panel));
    const { box } = this;
    box.hidden = !this.panel;
    box.replaceChildren();
    if (!this.panel) return;
    const draw = { paste: () => this.paste(), file: () => this.file(), grid: () => this.grid(), variable: () => this.variable(), column: () => this.column() }[this.panel];
    box.setAttribute("aria-label", { paste: "Paste inputs", file: "Inputs from a file", grid: "Inputs from a grid", variable: "Inputs from a variable", column: "Add a column" }[this.panel] ?? "");
    box.append(...(draw?.() ?? []));
    /** @type {HTMLElement | null} */ (box.querySelector("textarea, input:not([hidden]), select"))?.focus();
  }

  shut() {
    const { panel } = this;
    if (!panel) return;
    this.open(panel);
    this.focus(panel);
  }

  /** The two buttons of a panel. @param {(replace: boolean) => void} does */
  addButtons(does) {
    const button = (/** @type {string} */ label, /** @type {boolean} */ replace) =>
      h("button", { type: "button", class: replace ? "" : "cnb-go", click: () => { this.form.save(); does(replace); } }, label);
    return h("div", { class: "cnb-acts" }, button("Add rows", false), button("Replace rows", true), h("button", { type: "button", class: "cnb-link", click: () => this.shut() }, "Close"));
  }

  /** Where lines go that are no table. */
  into() {
    const fields = this.fields;
    const select = /** @type {HTMLSelectElement} */ (h("select", {}, fields.map((f) => h("option", { value: f.name }, f.name))));
    const label = fields.length > 1 ? h("label", { class: "cnb-inline" }, "Lines go to ", select) : null;
    return { select, label };
  }

  /** @param {string} text @param {string} into @param {boolean} replace */
  read(text, into, replace) {
    const all = parts(text);
    all.forEach((part, i) => this.ask({ t: "read", how: "text", text: part, more: i + 1 < all.length, into, replace }));
  }

  paste() {
    const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: "5", id: `${this.id}-paste`, spellcheck: "false" }));
    const { select, label } = this.into();
    return [
      h("label", { for: `${this.id}-paste` }, "One input per line, or a table from a spreadsheet (CSV or TSV, with names in its first line)"),
      area,
      h("div", { class: "cnb-panelfoot" }, label, this.addButtons((replace) => this.read(area.value, select.value, replace))),
    ];
  }

  file() {
    const input = /** @type {HTMLInputElement} */ (h("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv,text/plain", id: `${this.id}-file` }));
    const { select, label } = this.into();
    const take = async (/** @type {boolean} */ replace) => {
      const file = input.files?.[0];
      if (file) this.read(await file.text(), select.value, replace);
    };
    return [
      h("label", { for: `${this.id}-file` }, "A CSV, TSV or text file"),
      input,
      h("div", { class: "cnb-panelfoot" }, label, this.addButtons((replace) => void take(replace))),
    ];
  }
  grid() {
    const fields = this.fields;
    const result = h("span", { class: "cnb-quiet", role: "status" });
    const values = () => {
      /** @type {Record<string, string[]>} */
      const found = {};
      for (const f of fields) {
        const area = /** @type {HTMLTextAreaElement | null} */ (box.querySelector(`textarea[data-grid="${CSS.escape(f.name)}"]`));
        const ticks = /** @type {HTMLInputElement[]} */ ([...box.querySelectorAll(`input[data-grid="${CSS.escape(f.name)}"]:checked`)]);
        found[f.name] = area ? area.value.split("\n").map((line) => line.trim()).filter(Boolean) : ticks.map((tick) => tick.value);
      }
      return found;
    };
    const tell = () => {
      const n = combinations(values());
      result.textContent = n ? `${plural(n, "combination")}` : "";
    };
    const box = h(
      "div",
      { class: "cnb-grid", input: tell },
      fields.map((f) => {
        const choices = f.kind === "switch" ? ["true", "false"] : f.choices;
        if (!choices.length) return h("label", {}, h("bdi", {}, f.name), h("textarea", { rows: "4", "data-grid": f.name, spellcheck: "false" }));
        const ticks = choices.map((c) => h("label", { class: "cnb-check" }, h("input", { type: "checkbox", value: c, "data-grid": f.name }), { true: "on", false: "off" }[c] ?? c));
        return h("fieldset", {}, h("legend", {}, h("bdi", {}, f.name)), ticks);
      }),
    );
    return [
      h("p", { class: "cnb-howto" }, "One value per line; a row is made of every combination."),
      box,
      h("div", { class: "cnb-panelfoot" }, result, this.addButtons((replace) => this.ask({ t: "read", how: "grid", values: values(), replace }))),
    ];
  }

  variable() {
    this.form.send({ t: "names" });
    const input = /** @type {HTMLInputElement} */ (h("input", { type: "text", id: `${this.id}-variable`, list: `${this.id}-names`, autocomplete: "off", spellcheck: "false" }));
    this.nameList = h("datalist", { id: `${this.id}-names` });
    this.nameHint = h("span", { class: "cnb-quiet" });
    this.drawNames();
    return [
      h("label", { for: `${this.id}-variable` }, "The name of a DataFrame, a list of dicts, a list of texts, or a dict of lists (a grid)"),
      input,
      this.nameList,
      h("div", { class: "cnb-panelfoot" }, this.nameHint, this.addButtons((replace) => this.ask({ t: "read", how: "variable", name: input.value, replace }))),
    ];
  }

  column() {
    const input = /** @type {HTMLInputElement} */ (h("input", { type: "text", id: `${this.id}-column`, autocomplete: "off", spellcheck: "false" }));
    const add = () => {
      this.form.save();
      this.ask({ t: "column", name: input.value });
    };
    return [
      h("label", { for: `${this.id}-column` }, "The name of a further input, such as a placeholder in a task that the factory writes"),
      input,
      h("div", { class: "cnb-panelfoot" }, h("div", { class: "cnb-acts" }, h("button", { type: "button", class: "cnb-go", click: add }, "Add the column"), h("button", { type: "button", class: "cnb-link", click: () => this.shut() }, "Close"))),
    ];
  }

  drawNames() {
    const names = /** @type {string[]} */ (this.model.get("names"));
    this.nameList.replaceChildren(...names.map((name) => h("option", { value: name })));
    this.nameHint.textContent = names.length ? `There are: ${names.slice(0, 8).join(", ")}` : "";
  }

  /** Python has carried something out. */
  taken() {
    if (this.model.get("taken") === this.asked) this.shut();
  }

  /** Send what the open panel asks for. @param {object} content */
  ask(content) {
    this.asked = `${this.id}-${++this.asks}-${Math.random().toString(36).slice(2, 10)}`; // two pages may have the form
    this.form.send({ ...content, ask: this.asked });
  }
}
