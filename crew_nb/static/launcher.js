// @ts-check
/**
 * The launcher's form in the browser. It holds words: what they mean, whether they can be run, and what that takes is
 * said by Python. Text is only ever set as text.
 */

/**
 * @typedef {{name: string, kind: string, required: boolean, default: string, choices: string[],
 *   own?: boolean}} Field
 * @typedef {{name: string, label: string, empty: string, kind: string, main: boolean}} Control
 * @typedef {Record<string, string>} Row
 * @typedef {{alert?: string, number?: number, rows?: Record<string, Record<string, string>>,
 *   options?: Record<string, string>}} Problems
 * @typedef {{word?: string, total?: number, open?: number, done?: number, failed?: number, stopped?: number}} Counts
 * @typedef {{get(name: string): any, send(content: any): void, on(name: string, callback: Function): void,
 *   off(name: string, callback: Function): void}} Model
 * @typedef {Node | string | null | undefined | false} Child
 */

/** Rows on one page: as many as are seen at once, so that nothing scrolls inside of it. */
export const PAGE = 12;
/** Milliseconds after the last key until Python is told. */
const PAUSE = 250;
/** Characters of a file in one message. */
const PART = 500_000;
/**
 * Kinds that take one line: the keyboard of a telephone, and what stands there where nothing is given.
 * @type {Record<string, {keys: string | null, example: string}>}
 */
const LINES = {
  integer: { keys: "numeric", example: "" },
  number: { keys: "decimal", example: "" },
  date: { keys: null, example: "YYYY-MM-DD" },
  datetime: { keys: null, example: "YYYY-MM-DD hh:mm" },
};
/** Milliseconds after which a kernel that does not answer is asked again. */
const AGAIN = 5_000;
/** Milliseconds between two signs that somebody is there. */
const SIGN = 15_000;

/**
 * An element; attributes that are false or null are left out.
 * @param {string} tag @param {Record<string, any>} [attributes] @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
function h(tag, attributes = {}, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") el.addEventListener(name, value);
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child || child === "") el.append(child);
  return el;
}

/** @param {number} n @param {string} one */
export function plural(n, one) {
  return `${n.toLocaleString("en-US")} ${one}${n === 1 ? "" : "s"}`;
}

/** Whether nothing is given in a row. @param {Row} row */
export function isBlank(row) {
  return Object.values(row).every((words) => !String(words).trim());
}

/** How many combinations a grid has. @param {Record<string, string[]>} values */
export function combinations(values) {
  const counts = Object.values(values).map((list) => new Set(list).size).filter((n) => n > 0);
  return counts.length ? counts.reduce((a, b) => a * b, 1) : 0;
}

/** What a batch is at, in words. @param {Counts} counts */
export function progress(counts) {
  const { total = 0, open = 0, done = 0 } = counts;
  const failed = (counts.failed ?? 0) + (counts.stopped ?? 0);
  if (!total) return "";
  const ended = failed ? `${done} done, ${failed} without a result` : `${done} of ${total} done`;
  if (open) return counts.word === "cancelling" ? "Stopping…" : `Running: ${ended}, ${open} to go`;
  return failed ? `Ended: ${ended}` : `Finished: ${plural(done, "result")}`;
}

/** Text in parts that fit into a message. @param {string} text */
export function parts(text) {
  const found = [];
  for (let at = 0; at < text.length || !found.length; at += PART) found.push(text.slice(at, at + PART));
  return found;
}

let count = 0;

/**
 * What the form holds. It comes in messages and is no state of the widget, which some front ends save with the notebook.
 * To a view it is what a widget's model is.
 */
export class Words {
  /** @param {Model} model @param {() => void} ready called once, when everything is here */
  constructor(model, ready) {
    this.model = model;
    this.view = `${Math.random().toString(36).slice(2)}`;
    /** @type {Record<string, any> | null} */
    this.known = null;
    /** What was set here and Python has not been told yet. @type {Record<string, any>} */
    this.fresh = {};
    /** @type {[string, Function][]} */
    this.listeners = [];
    this.onMessage = (/** @type {any} */ content) => {
      if (content?.t !== "words" || content.but === this.view) return;
      if (content.view === undefined) {
        for (const [name, value] of Object.entries(content.words)) this.put(name, value);
      } else if (content.view === this.view && !this.known) {
        this.known = content.words;
        ready();
      }
    };
    model.on("msg:custom", this.onMessage);
  }

  /** Ask for everything. */
  hello() {
    this.send({ t: "hello" });
  }

  /** @param {string} name */
  get(name) {
    return this.known && name in this.known ? this.known[name] : this.model.get(name);
  }

  /** @param {string} name @param {any} value */
  put(name, value) {
    if (!this.known || JSON.stringify(this.known[name]) === JSON.stringify(value)) return;
    this.known[name] = value;
    for (const [event, callback] of [...this.listeners]) if (event === `change:${name}`) callback();
  }

  /** @param {string} name @param {any} value */
  set(name, value) {
    if (JSON.stringify(this.get(name)) === JSON.stringify(value)) return;
    this.fresh[name] = value;
    this.put(name, value);
  }

  save_changes() {
    if (Object.keys(this.fresh).length) this.send({ t: "typed", words: this.fresh });
    this.fresh = {};
  }

  /** @param {object} content */
  send(content) {
    try {
      this.model.send({ ...content, view: this.view });
    } catch {
      // Without a kernel there is nobody to hear it.
    }
  }

  /** @param {string} name @param {Function} callback */
  on(name, callback) {
    this.listeners.push([name, callback]);
  }

  /** @param {string} name @param {Function} callback */
  off(name, callback) {
    this.listeners = this.listeners.filter(([known, f]) => known !== name || f !== callback);
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
  }
}

export class View {
  /** @param {Words} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.id = `cnb-launch-${++count}`;
    this.stop = new AbortController();
    /** @type {Row[]} */
    this.rows = [];
    this.page = 0;
    this.panel = "";
    /** What the open panel asked for last; it is shut once that was carried out, and keeps its words until then. */
    this.asked = "";
    this.asks = 0;
    this.signed = 0;
    this.timer = 0;
    this.root = h("div", { class: "crew-nb cnb-launch", "data-lm-suppress-shortcuts": "true", role: "form" });
    this.build();
    el.append(this.root);
    const on = (/** @type {string} */ name, /** @type {() => void} */ does) => {
      model.on(name, does);
      this.stop.signal.addEventListener("abort", () => model.off(name, does));
    };
    on("change:rows", () => this.rowsCame());
    on("change:fields", () => this.drawTable());
    on("change:options", () => this.drawOptions());
    on("change:problems", () => this.drawProblems(true));
    on("change:estimate", () => this.drawState());
    on("change:status", () => this.drawState());
    on("change:code", () => this.drawCode());
    on("change:names", () => this.drawNames());
    on("change:taken", () => this.model.get("taken") === this.asked && this.shut());
    for (const name of ["pointermove", "wheel", "focusin"])
      this.root.addEventListener(name, () => this.sign(), { passive: true });
    // Some notebooks (Notebook 7) take the keys on their way down to the form: it must hear of them before they do.
    const keys = (/** @type {KeyboardEvent} */ e) => {
      if (!e.composedPath().includes(this.root)) return;
      this.sign();
      this.key(e);
    };
    window.addEventListener("keydown", keys, { capture: true, signal: this.stop.signal });
    // A button that has the focus is not disabled but marked so: it does nothing, by key or pointer.
    const idle = (/** @type {Event} */ e) => /** @type {HTMLElement} */ (e.target).closest("[aria-disabled=true]") && e.stopImmediatePropagation();
    this.root.addEventListener("click", idle, { capture: true });
    this.looks = new MutationObserver(() => this.theme());
    for (const place of [document.documentElement, document.body])
      this.looks.observe(place, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "theme", "class", "style"] });
    // It is called once the view is in the page, too: before that it has no background to read the theme off.
    this.sizes = new ResizeObserver(() => this.theme());
    this.sizes.observe(this.root);
    this.rows = this.copied();
    this.drawTable();
    this.drawOptions();
    this.drawProblems(false);
    this.drawState();
    this.drawCode();
  }

  close() {
    if (this.timer) this.save();
    this.stop.abort();
    this.looks.disconnect();
    this.sizes.disconnect();
    this.root.remove();
  }

  /** @returns {Field[]} */
  get fields() {
    return this.model.get("fields");
  }

  /** @returns {Problems} */
  get problems() {
    return this.model.get("problems");
  }

  copied() {
    const rows = /** @type {Row[]} */ (this.model.get("rows")).map((row) => ({ ...row }));
    return rows.length ? rows : [{}];
  }

  // ------------------------------------------------------------------------------------------------------------ parts

  build() {
    const title = this.model.get("title");
    const id = `${this.id}-title`;
    this.root.setAttribute("aria-labelledby", id);
    this.counter = h("span", { class: "cnb-tag" });
    const add = (/** @type {string} */ panel, /** @type {string} */ label) =>
      h("button", { type: "button", "data-panel": panel, "aria-expanded": "false", "aria-controls": `${this.id}-panel`, click: () => this.open(panel) }, label);
    this.adders = h(
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
    this.tableBox = h("div", { class: "cnb-rowsheet", role: "region", tabindex: "-1", "aria-label": "Inputs" });
    this.pager = h("div", { class: "cnb-pager" });
    this.mainOptions = h("div", { class: "cnb-options" });
    this.moreOptions = h("div", { class: "cnb-options" });
    this.more = h("details", { class: "cnb-more" }, h("summary", {}, "More options"), this.moreOptions);
    this.alert = h("p", { class: "cnb-alert", role: "alert" });
    this.estimate = h("p", { class: "cnb-estimate", role: "status" });
    this.runs = h("p", { class: "cnb-runs", role: "status" });
    this.go = h("button", { type: "button", class: "cnb-run", title: "Ctrl+Enter", click: () => this.run() }, "Run");
    this.try = h("button", { type: "button", click: () => this.run(2) }, "Try first 2");
    this.halt = h("button", { type: "button", class: "cnb-stop", click: () => this.send({ t: "stop" }) }, "Stop");
    this.retry = h("button", { type: "button", class: "cnb-go", click: () => this.send({ t: "retry" }) }, "Retry failed");
    this.coder = h("button", { type: "button", class: "cnb-link", "aria-expanded": "false", "aria-controls": `${this.id}-code`, click: () => this.toggleCode() }, "Show the code");
    this.codeText = h("code");
    this.copier = h("button", { type: "button", click: () => this.copy() }, "Copy");
    this.codeBox = h(
      "div",
      { class: "cnb-code", id: `${this.id}-code`, hidden: true },
      h("div", { class: "cnb-codehead" }, h("span", { class: "cnb-quiet" }, "The cell that does the same"), this.copier),
      h("pre", { tabindex: "0", "aria-label": "Code" }, this.codeText),
    );
    this.root.append(
      h("div", { class: "cnb-formhead" }, h("strong", { id }, "Launch ", h("bdi", {}, title)), this.counter, this.adders),
      this.panelBox,
      this.tableBox,
      this.pager,
      h("div", { class: "cnb-set", role: "group", "aria-label": "Options" }, this.mainOptions, this.more),
      this.alert,
      h("div", { class: "cnb-foot" }, h("div", { class: "cnb-acts" }, this.go, this.try, this.halt, this.retry), this.estimate, this.coder),
      this.runs,
      this.codeBox,
    );
  }

  // ------------------------------------------------------------------------------------------------------------ table

  drawTable() {
    const fields = this.fields;
    const last = Math.max(0, Math.ceil(this.rows.length / PAGE) - 1);
    this.page = Math.min(this.page, last);
    const from = this.page * PAGE;
    const shown = this.rows.slice(from, from + PAGE);
    this.adders?.toggleAttribute("hidden", !fields.length);
    if (!fields.length) {
      this.tableBox?.replaceChildren(h("p", { class: "cnb-empty" }, "This crew takes no inputs: Run starts it once."));
      this.pager?.replaceChildren();
      this.drawCounter();
      return;
    }
    const head = h(
      "tr",
      {},
      h("th", { scope: "col", class: "cnb-n" }, "#"),
      fields.map((f) => h("th", { scope: "col", class: `cnb-k-${f.kind}`, style: f.kind === "choice" ? `min-width: ${this.wide(f)}ch` : null }, h("bdi", {}, f.name), f.own === false ? this.dropper(f.name) : null, f.required ? h("span", { class: "cnb-must", title: "needed", "aria-hidden": "true" }, " *") : null)),
      h("th", { scope: "col", class: "cnb-rowacts" }, h("span", { class: "cnb-voice" }, "Row")),
    );
    this.body = h("tbody", {}, shown.flatMap((row, i) => this.drawRow(row, from + i)));
    this.tableBox?.replaceChildren(h("table", {}, h("thead", {}, head), this.body));
    this.drawPager(last);
    this.drawCounter();
  }

  /** Columns of text that a choice needs, with its arrow. @param {Field} f */
  wide(f) {
    const longest = Math.max(...[...f.choices, f.default ? `${f.default} (default)` : "choose…"].map((words) => words.length));
    return Math.min(longest, 30) + 4;
  }

  /** Takes a column away that the crew does not ask for. @param {string} name */
  dropper(name) {
    const drop = () => {
      this.save();
      this.send({ t: "column", name, remove: true });
      /** @type {HTMLElement | null | undefined} */ (this.adders?.querySelector("[data-panel=column]"))?.focus();
    };
    return h("button", { type: "button", class: "cnb-drop", "aria-label": `Remove column ${name}`, title: "Remove the column", click: drop }, h("span", { "aria-hidden": "true" }, "✕"));
  }

  /** @param {number} last */
  drawPager(last) {
    const to = (/** @type {number} */ page) => () => {
      this.page = Math.max(0, Math.min(last, page));
      this.drawTable();
    };
    const add = h("button", { type: "button", class: "cnb-add", click: () => this.addRow() }, "+ Add a row");
    const clear = h("button", { type: "button", class: "cnb-link", click: () => this.clear() }, "Clear");
    this.pager?.replaceChildren(
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
    if (this.counter) this.counter.textContent = this.fields.length ? plural(n, "input") : "no inputs";
  }

  /** @param {Row} row @param {number} place @returns {HTMLElement[]} */
  drawRow(row, place) {
    const wrong = this.problems.rows?.[String(place)];
    const said = `${this.id}-wrong-${place}`;
    const act = (/** @type {string} */ label, /** @type {string} */ sign, /** @type {() => void} */ does) =>
      h("button", { type: "button", "aria-label": `${label} row ${place}`, title: label, click: does }, h("span", { "aria-hidden": "true", class: sign ? null : "cnb-twice" }, sign));
    const line = h(
      "tr",
      { "data-row": place, class: wrong ? "cnb-wrong" : null },
      h("th", { scope: "row", class: "cnb-n" }, String(place)),
      this.fields.map((f) => {
        const bad = wrong && (wrong[f.name] !== undefined || (wrong[""] !== undefined && !row[f.name]?.trim() && f.required));
        const control = this.cell(f, row, place);
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

  /** @param {Field} f @param {Row} row @param {number} place @returns {HTMLElement} */
  cell(f, row, place) {
    const words = row[f.name] ?? "";
    const label = `${f.name}, row ${place}`;
    const change = (/** @type {Event} */ e) => this.edit(place, f.name, /** @type {HTMLInputElement} */ (e.target).value);
    const given = { "aria-label": label, "data-field": f.name, "aria-required": f.required ? "true" : null };
    if (f.kind === "switch") {
      const on = (words || f.default || "false").toLowerCase();
      const box = /** @type {HTMLInputElement} */ (h("input", { ...given, "aria-required": null, type: "checkbox", change: (/** @type {Event} */ e) => this.edit(place, f.name, /** @type {HTMLInputElement} */ (e.target).checked ? "true" : "false") }));
      box.checked = ["true", "yes", "on", "1"].includes(on);
      return box;
    }
    if (f.kind === "choice") {
      const empty = f.default ? `${f.default} (default)` : f.required ? "choose…" : "";
      const known = f.choices.find((c) => c.toLowerCase() === words.toLowerCase());
      const options = [h("option", { value: "" }, empty), ...f.choices.map((c) => h("option", { value: c }, c))];
      if (words && known === undefined) options.push(h("option", { value: words }, words));
      const select = /** @type {HTMLSelectElement} */ (h("select", { ...given, change }, options));
      select.value = known ?? words;
      return select;
    }
    const line = LINES[f.kind];
    if (line) {
      // Of type text for dates, too: a date's own control would hide words that a file gave and that are none.
      const input = /** @type {HTMLInputElement} */ (h("input", { ...given, type: "text", inputmode: line.keys, placeholder: f.default || line.example, autocomplete: "off", input: change }));
      input.value = words;
      return input;
    }
    const area = /** @type {HTMLTextAreaElement} */ (h("textarea", { ...given, rows: "1", placeholder: f.default, spellcheck: f.kind === "text" ? null : "false", input: change }));
    area.value = words;
    if (f.kind !== "file") return area;
    const pick = /** @type {HTMLInputElement} */ (h("input", { type: "file", hidden: true, tabindex: "-1", change: () => this.upload(pick, place, f.name) }));
    area.placeholder = f.default || "path";
    return h("div", { class: "cnb-filecell" }, area, h("button", { type: "button", "aria-label": `Choose a file for ${label}`, title: "Choose a file", click: () => pick.click() }, "…"), pick);
  }

  /** @param {number} place @param {string} field @param {string} words */
  edit(place, field, words) {
    const row = this.rows[place];
    if (!row) return;
    if (words) row[field] = words;
    else delete row[field];
    this.good(place);
    this.drawCounter();
    this.later();
  }

  /** A row that is edited is not marked any longer. @param {number} place */
  good(place) {
    const line = this.body?.querySelector(`tr.cnb-wrong[data-row="${place}"]`);
    if (!line) return;
    line.classList.remove("cnb-wrong");
    for (const el of line.querySelectorAll("[aria-invalid], [aria-describedby]")) {
      el.removeAttribute("aria-invalid");
      el.removeAttribute("aria-describedby");
    }
    this.body?.querySelector(`tr.cnb-rowsaid[data-row="${place}"]`)?.remove();
  }

  /** Rows were added or taken away. @param {number} focus the row to go to @param {string} [field] */
  changed(focus, field) {
    this.forgive();
    this.page = Math.floor(focus / PAGE);
    this.drawTable();
    this.focus(focus, field);
    this.later();
  }

  /** The marks of an earlier Run name rows that may have moved. */
  forgive() {
    if (this.problems.rows || this.problems.alert) this.model.set("problems", { ...this.problems, rows: {}, alert: "" });
  }

  /** @param {number} place @param {string} [field] */
  focus(place, field) {
    const cells = [.../** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll(`tr[data-row="${place}"] [data-field]`))];
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

  rowsCame() {
    const came = this.copied();
    if (JSON.stringify(came) === JSON.stringify(this.rows)) return;
    const active = /** @type {HTMLElement | null} */ (document.activeElement);
    const place = active && this.root.contains(active) ? Number(/** @type {HTMLElement | null} */ (active.closest("tr[data-row]"))?.dataset.row ?? -1) : -1;
    this.rows = came;
    this.drawTable();
    if (place >= 0) this.focus(Math.min(place, this.rows.length - 1), active?.dataset.field);
  }

  later() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.save(), PAUSE);
  }

  save() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.model.set("rows", this.rows.map((row) => ({ ...row })));
    this.model.save_changes();
  }

  // ---------------------------------------------------------------------------------------------------- adding inputs

  /** @param {string} panel */
  open(panel) {
    this.panel = this.panel === panel ? "" : panel;
    this.asked = "";
    for (const el of this.adders?.querySelectorAll("button") ?? []) el.setAttribute("aria-expanded", String(el.dataset.panel === this.panel));
    const box = /** @type {HTMLElement} */ (this.panelBox);
    box.hidden = !this.panel;
    box.replaceChildren();
    if (!this.panel) return;
    const draw = { paste: () => this.paste(), file: () => this.file(), grid: () => this.grid(), variable: () => this.variable(), column: () => this.column() }[this.panel];
    box.setAttribute("aria-label", { paste: "Paste inputs", file: "Inputs from a file", grid: "Inputs from a grid", variable: "Inputs from a variable", column: "Add a column" }[this.panel] ?? "");
    box.append(...(draw?.() ?? []));
    /** @type {HTMLElement | null} */ (box.querySelector("textarea, input:not([hidden]), select"))?.focus();
  }

  shut() {
    const from = /** @type {HTMLElement | null | undefined} */ (this.adders?.querySelector(`[data-panel="${this.panel}"]`));
    if (this.panel) this.open(this.panel);
    from?.focus();
  }

  /** The two buttons of a panel. @param {(replace: boolean) => void} does */
  addButtons(does) {
    const button = (/** @type {string} */ label, /** @type {boolean} */ replace) =>
      h("button", { type: "button", class: replace ? "" : "cnb-go", click: () => { this.save(); does(replace); } }, label);
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
    this.send({ t: "names" });
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
      this.save();
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
    this.nameList?.replaceChildren(...names.map((name) => h("option", { value: name })));
    if (this.nameHint) this.nameHint.textContent = names.length ? `There are: ${names.slice(0, 8).join(", ")}` : "";
  }

  /** @param {HTMLInputElement} pick @param {number} row @param {string} field */
  async upload(pick, row, field) {
    const file = pick.files?.[0];
    if (!file) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 32_768) text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
    const all = parts(btoa(text));
    this.save();
    all.forEach((part, i) => this.send({ t: "upload", row, field, name: file.name, text: part, more: i + 1 < all.length }));
  }

  // ---------------------------------------------------------------------------------------------------------- options

  drawOptions() {
    const words = /** @type {Record<string, string>} */ (this.model.get("options"));
    if (!this.mainOptions?.childElementCount) {
      for (const control of /** @type {Control[]} */ (this.model.get("controls"))) (control.main ? this.mainOptions : this.moreOptions)?.append(this.option(control));
      if (Object.keys(words).some((name) => this.moreOptions?.querySelector(`[data-option="${name}"]`))) this.more?.setAttribute("open", "");
    }
    for (const el of /** @type {NodeListOf<HTMLInputElement>} */ (this.root.querySelectorAll("[data-option]"))) {
      const word = words[el.dataset.option ?? ""] ?? "";
      if (el.type === "checkbox") el.checked = word === "true";
      else if (el.value !== word && el !== document.activeElement) el.value = word;
    }
  }

  /** @param {Control} control */
  option(control) {
    const id = `${this.id}-o-${control.name}`;
    const set = (/** @type {Event} */ e) => {
      const el = /** @type {HTMLInputElement} */ (e.target);
      const options = { ...this.model.get("options") };
      const value = el.type === "checkbox" ? (el.checked ? "true" : "") : el.value.trim();
      if (value) options[control.name] = value;
      else delete options[control.name];
      this.model.set("options", options);
      el.removeAttribute("aria-invalid");
      const said = document.getElementById(`${id}-wrong`);
      if (said) said.textContent = "";
      this.later();
    };
    const name = h("small", {}, control.name);
    if (control.kind === "switch")
      return h("div", { class: "cnb-option cnb-option-switch" }, h("label", { class: "cnb-check" }, h("input", { type: "checkbox", id, "data-option": control.name, change: set }), h("span", {}, control.label, " ", name)));
    return h(
      "div",
      { class: "cnb-option" },
      h("label", { for: id }, control.label, " ", name),
      h("input", { type: "text", id, "data-option": control.name, placeholder: control.empty || this.model.get("title"), autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-wrong`, input: set }),
      h("div", { class: "cnb-optionsaid", id: `${id}-wrong` }),
    );
  }

  // ------------------------------------------------------------------------------------------------------------ state

  /** @param {boolean} news */
  drawProblems(news) {
    const problems = this.problems;
    if (this.alert) this.alert.textContent = problems.alert ?? "";
    this.drawTable();
    for (const el of /** @type {NodeListOf<HTMLInputElement>} */ (this.root.querySelectorAll("[data-option]"))) {
      const said = problems.options?.[el.dataset.option ?? ""];
      el.toggleAttribute("aria-invalid", !!said);
      if (said) el.setAttribute("aria-invalid", "true");
      const place = el.parentElement?.querySelector(".cnb-optionsaid");
      if (place) place.textContent = said ?? "";
    }
    if (!news) return;
    const first = Object.keys(problems.rows ?? {}).map(Number).sort((a, b) => a - b)[0];
    if (first !== undefined) {
      this.page = Math.floor(first / PAGE);
      this.drawTable();
      /** @type {HTMLElement | null} */ (this.root.querySelector(".cnb-wrong [aria-invalid]") ?? this.root.querySelector(".cnb-wrong [data-field]"))?.focus();
    } else if (Object.keys(problems.options ?? {}).length) /** @type {HTMLElement | null} */ (this.root.querySelector("[data-option][aria-invalid]"))?.focus();
    else if (problems.alert) this.alert?.scrollIntoView?.({ block: "nearest" });
  }

  drawState() {
    const counts = /** @type {Counts} */ (this.model.get("status"));
    const going = (counts.open ?? 0) > 0;
    const set = (/** @type {HTMLElement | undefined} */ el, /** @type {boolean} */ off) => {
      if (!el) return;
      // A button that has the focus keeps it: a disabled one would drop it onto the page.
      if (off && el === document.activeElement) el.setAttribute("aria-disabled", "true");
      else el.removeAttribute("aria-disabled");
      /** @type {HTMLButtonElement} */ (el).disabled = off && el !== document.activeElement;
    };
    set(this.go, going);
    set(this.try, going);
    set(this.halt, !going);
    const again = (counts.failed ?? 0) + (counts.stopped ?? 0);
    set(this.retry, !again);
    // In the words of the board.
    const which = [counts.failed ? "failed" : "", counts.stopped ? "stopped" : ""].filter(Boolean).join(" and ");
    if (this.retry) this.retry.textContent = again ? `Retry ${which} (${again})` : "Retry failed";
    if (this.retry) this.retry.hidden = !again && this.retry !== document.activeElement;
    if (this.estimate) this.estimate.textContent = this.model.get("estimate");
    if (this.runs) this.runs.textContent = progress(counts);
  }

  drawCode() {
    const shown = /** @type {boolean} */ (this.model.get("shows_code"));
    if (this.codeBox) this.codeBox.hidden = !shown;
    this.coder?.setAttribute("aria-expanded", String(shown));
    if (this.coder) this.coder.textContent = shown ? "Hide the code" : "Show the code";
    if (this.codeText) this.codeText.textContent = this.model.get("code");
  }

  toggleCode() {
    this.model.set("shows_code", !this.model.get("shows_code"));
    this.save();
    this.drawCode();
  }

  async copy() {
    const text = this.model.get("code");
    try {
      await navigator.clipboard.writeText(text);
      if (this.copier) this.copier.textContent = "Copied";
    } catch {
      // Without the right to the clipboard, the code is selected for Ctrl+C.
      if (this.codeText) getSelection()?.selectAllChildren(this.codeText);
      if (this.copier) this.copier.textContent = "Selected";
    }
    setTimeout(() => this.copier && (this.copier.textContent = "Copy"), 2000);
  }

  // ---------------------------------------------------------------------------------------------------------- to Python

  /** @param {any} content */
  send(content) {
    this.model.send(content);
  }

  /** Send what the open panel asks for. @param {object} content */
  ask(content) {
    this.asked = `${this.id}-${++this.asks}-${Math.random().toString(36).slice(2, 10)}`; // two pages may have the form
    this.send({ ...content, ask: this.asked });
  }

  /** @param {number} [first] */
  run(first) {
    if ((this.model.get("status").open ?? 0) > 0) return;
    this.save();
    this.send({ t: "run", rows: this.rows, options: this.model.get("options"), ...(first ? { first } : {}) });
  }

  /** Say now and then that somebody is here, so that the form does not become static under them. */
  sign() {
    const now = Date.now();
    if (now - this.signed < SIGN) return;
    this.signed = now;
    this.send({ t: "touch" });
  }

  /** @param {KeyboardEvent} e */
  key(e) {
    // What is typed here is not for the notebook, whose single keys delete and add cells.
    e.stopPropagation();
    const el = /** @type {HTMLElement} */ (e.composedPath()[0]);
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      this.run();
    } else if (e.key === "Escape" && this.panel) {
      e.preventDefault();
      this.shut();
    } else if (e.key === "Enter" && el.id === `${this.id}-column`) {
      /** @type {HTMLElement | null | undefined} */ (this.panelBox?.querySelector(".cnb-go"))?.click();
    } else if (e.key === "Enter" && !e.shiftKey && el.matches("textarea[data-field], input[data-field]:not([type=checkbox])")) {
      // As in a spreadsheet: down, and a new row after the last. Shift+Enter begins a new line in the cell.
      e.preventDefault();
      const place = Number(/** @type {HTMLElement | null} */ (el.closest("tr"))?.dataset.row);
      if (place + 1 === this.rows.length) {
        this.rows.push({});
        this.changed(place + 1, el.dataset.field);
      } else {
        if (Math.floor((place + 1) / PAGE) !== this.page) {
          this.page += 1;
          this.drawTable();
        }
        this.focus(place + 1, el.dataset.field);
      }
    }
  }

  /** Whether the page is dark is read off the page: front ends say it in many ways, and this one is true in all. */
  theme() {
    const [r = 255, g = 255, b = 255] = (getComputedStyle(this.root).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    const theme = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
    if (this.root.dataset.theme !== theme) this.root.dataset.theme = theme;
  }
}

export default {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const wait = h("p", { class: "cnb-quiet", role: "status" }, "Waiting for the kernel…");
    el.append(wait);
    /** @type {View | null} */
    let view = null;
    const words = new Words(model, () => {
      wait.remove();
      view = new View(words, el);
    });
    words.hello();
    // The kernel may have been away when it was asked.
    const timer = setInterval(() => (words.known ? clearInterval(timer) : words.hello()), AGAIN);
    return () => {
      clearInterval(timer);
      view?.close();
      words.close();
      wait.remove();
    };
  },
};
