// Made from crew_nb/_board/front by `npm run build`: edit it there.

// shared/elements.js
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== void 0 && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat())
    if (child !== null && child !== void 0 && child !== false)
      node.append(child instanceof Node ? child : String(child));
  return node;
}

// shared/keys.js
var EDIT = /^(a|c|x|y|insert)$/;
var EDIT_SHIFTED = /^(v|z|arrow(left|right|up|down)|home|end|backspace|delete)$/;
var EDIT_MAC = /^[abdefhknopty]$/;
function isText(el) {
  return el.matches("textarea, select, [contenteditable]") || el.matches("input") && !el.matches("[type=checkbox], [type=radio], [type=button], [type=file]");
}
function isEditors(e, el) {
  if (/^F\d+$/.test(e.key)) return true;
  if (!(e.ctrlKey || e.metaKey) || e.key === "Enter" || e.getModifierState("AltGraph")) return false;
  const key = (/^Key[A-Z]$/.test(e.code) && !/^[a-z]$/i.test(e.key) ? e.code.slice(3) : e.key).toLowerCase();
  if (!isText(el)) return !(/^(c|insert)$/.test(key) && !e.shiftKey && !e.altKey);
  const mac = /^Mac/.test(navigator.platform);
  if (mac && e.ctrlKey && !e.metaKey) return !EDIT_MAC.test(key);
  if (e.altKey) return true;
  return !(EDIT_SHIFTED.test(key) || EDIT.test(key) && !e.shiftKey);
}
function leave(root) {
  const around = (
    /** @type {HTMLElement | null | undefined} */
    root.parentElement?.closest(".jp-Cell") ?? root.parentElement?.closest("[tabindex]")
  );
  around?.focus({ preventScroll: true });
  const focused = (
    /** @type {HTMLElement | null} */
    document.activeElement
  );
  if (root.contains(focused)) focused?.blur();
}
function takeKeys(root, signal, heard) {
  const take = (e) => {
    if (!e.composedPath().includes(root)) return;
    if (isEditors(
      e,
      /** @type {Element} */
      e.composedPath()[0]
    )) return;
    if (!heard(e) && e.key === "Escape" && !e.isComposing) leave(root);
    else e.stopPropagation();
  };
  window.addEventListener("keydown", take, { capture: true, signal });
}

// shared/theme.js
var SIGNS = ["data-jp-theme-light", "data-jp-theme-name", "theme", "class", "style"];
function followTheme(root, signal, sized) {
  const look = () => {
    const [r = 255, g = 255, b = 255] = (getComputedStyle(root).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    const theme = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
    if (root.dataset.theme !== theme) root.dataset.theme = theme;
  };
  const looks = new MutationObserver(look);
  for (const node of [document.documentElement, document.body]) looks.observe(node, { attributes: true, attributeFilter: SIGNS });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", look, { signal });
  const sizes = new ResizeObserver(() => {
    look();
    sized?.();
  });
  sizes.observe(root);
  signal.addEventListener("abort", () => {
    looks.disconnect();
    sizes.disconnect();
  });
  return look;
}

// shared/numbers.js
function count(n) {
  return n.toLocaleString("en-US");
}
function plural(n, one) {
  return `${count(n)} ${one}${n === 1 ? "" : "s"}`;
}

// launcher/counts.js
var PART = 5e5;
function isBlank(row) {
  return Object.values(row).every((words) => !String(words).trim());
}
function combinations(values) {
  const counts = Object.values(values).map((list) => new Set(list).size).filter((n) => n > 0);
  return counts.length ? counts.reduce((a, b) => a * b, 1) : 0;
}
function progress(counts) {
  const { total = 0, open = 0, done = 0 } = counts;
  const failed = (counts.failed ?? 0) + (counts.stopped ?? 0);
  if (!total) return "";
  const ended = failed ? `${done} done, ${failed} without a result` : `${done} of ${total} done`;
  if (open) return counts.word === "cancelling" ? "Stopping…" : `Running: ${ended}, ${open} to go`;
  return failed ? `Ended: ${ended}` : `Finished: ${plural(done, "result")}`;
}
function parts(text) {
  const found = [];
  for (let at = 0; at < text.length || !found.length; at += PART) found.push(text.slice(at, at + PART));
  return found;
}

// launcher/adders.js
var Adders = class {
  /** @param {Form} form */
  constructor(form) {
    this.form = form;
    this.model = form.model;
    this.id = form.id;
    this.panel = "";
    this.asked = "";
    this.asks = 0;
    this.nameList = h("datalist");
    this.nameHint = h("span");
    const add = (panel, label) => h("button", { type: "button", "data-panel": panel, "aria-expanded": "false", "aria-controls": `${this.id}-panel`, click: () => this.open(panel) }, label);
    this.el = h(
      "div",
      { class: "cnb-acts", role: "group", "aria-label": "Add inputs" },
      h("span", { class: "cnb-quiet" }, "Add from"),
      add("paste", "Paste"),
      add("file", "File"),
      add("grid", "Grid"),
      add("variable", "Variable"),
      add("column", "+ Column")
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
    this.el.querySelector(`[data-panel="${panel}"]`)?.focus();
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
    box.append(...draw?.() ?? []);
    box.querySelector("textarea, input:not([hidden]), select")?.focus();
  }
  shut() {
    const { panel } = this;
    if (!panel) return;
    this.open(panel);
    this.focus(panel);
  }
  /** The two buttons of a panel. @param {(replace: boolean) => void} does */
  addButtons(does) {
    const button = (label, replace) => h("button", { type: "button", class: replace ? "" : "cnb-go", click: () => {
      this.form.save();
      does(replace);
    } }, label);
    return h("div", { class: "cnb-acts" }, button("Add rows", false), button("Replace rows", true), h("button", { type: "button", class: "cnb-link", click: () => this.shut() }, "Close"));
  }
  /** Where lines go that are no table. */
  into() {
    const fields = this.fields;
    const select = (
      /** @type {HTMLSelectElement} */
      h("select", {}, fields.map((f) => h("option", { value: f.name }, f.name)))
    );
    const label = fields.length > 1 ? h("label", { class: "cnb-inline" }, "Lines go to ", select) : null;
    return { select, label };
  }
  /** @param {string} text @param {string} into @param {boolean} replace */
  read(text, into, replace) {
    const all = parts(text);
    all.forEach((part, i) => this.ask({ t: "read", how: "text", text: part, more: i + 1 < all.length, into, replace }));
  }
  paste() {
    const area = (
      /** @type {HTMLTextAreaElement} */
      h("textarea", { rows: "5", id: `${this.id}-paste`, spellcheck: "false" })
    );
    const { select, label } = this.into();
    return [
      h("label", { for: `${this.id}-paste` }, "One input per line, or a table from a spreadsheet (CSV or TSV, with names in its first line)"),
      area,
      h("div", { class: "cnb-panelfoot" }, label, this.addButtons((replace) => this.read(area.value, select.value, replace)))
    ];
  }
  file() {
    const input = (
      /** @type {HTMLInputElement} */
      h("input", { type: "file", accept: ".csv,.tsv,.txt,text/csv,text/plain", id: `${this.id}-file` })
    );
    const { select, label } = this.into();
    const take = async (replace) => {
      const file = input.files?.[0];
      if (file) this.read(await file.text(), select.value, replace);
    };
    return [
      h("label", { for: `${this.id}-file` }, "A CSV, TSV or text file"),
      input,
      h("div", { class: "cnb-panelfoot" }, label, this.addButtons((replace) => void take(replace)))
    ];
  }
  grid() {
    const fields = this.fields;
    const result = h("span", { class: "cnb-quiet", role: "status" });
    const values = () => {
      const found = {};
      for (const f of fields) {
        const area = (
          /** @type {HTMLTextAreaElement | null} */
          box.querySelector(`textarea[data-grid="${CSS.escape(f.name)}"]`)
        );
        const ticks = (
          /** @type {HTMLInputElement[]} */
          [...box.querySelectorAll(`input[data-grid="${CSS.escape(f.name)}"]:checked`)]
        );
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
      })
    );
    return [
      h("p", { class: "cnb-howto" }, "One value per line; a row is made of every combination."),
      box,
      h("div", { class: "cnb-panelfoot" }, result, this.addButtons((replace) => this.ask({ t: "read", how: "grid", values: values(), replace })))
    ];
  }
  variable() {
    this.form.send({ t: "names" });
    const input = (
      /** @type {HTMLInputElement} */
      h("input", { type: "text", id: `${this.id}-variable`, list: `${this.id}-names`, autocomplete: "off", spellcheck: "false" })
    );
    this.nameList = h("datalist", { id: `${this.id}-names` });
    this.nameHint = h("span", { class: "cnb-quiet" });
    this.drawNames();
    return [
      h("label", { for: `${this.id}-variable` }, "The name of a DataFrame, a list of dicts, a list of texts, or a dict of lists (a grid)"),
      input,
      this.nameList,
      h("div", { class: "cnb-panelfoot" }, this.nameHint, this.addButtons((replace) => this.ask({ t: "read", how: "variable", name: input.value, replace })))
    ];
  }
  column() {
    const input = (
      /** @type {HTMLInputElement} */
      h("input", { type: "text", id: `${this.id}-column`, autocomplete: "off", spellcheck: "false" })
    );
    const add = () => {
      this.form.save();
      this.ask({ t: "column", name: input.value });
    };
    return [
      h("label", { for: `${this.id}-column` }, "The name of a further input, such as a placeholder in a task that the factory writes"),
      input,
      h("div", { class: "cnb-panelfoot" }, h("div", { class: "cnb-acts" }, h("button", { type: "button", class: "cnb-go", click: add }, "Add the column"), h("button", { type: "button", class: "cnb-link", click: () => this.shut() }, "Close")))
    ];
  }
  drawNames() {
    const names = (
      /** @type {string[]} */
      this.model.get("names")
    );
    this.nameList.replaceChildren(...names.map((name) => h("option", { value: name })));
    this.nameHint.textContent = names.length ? `There are: ${names.slice(0, 8).join(", ")}` : "";
  }
  /** Python has carried something out. */
  taken() {
    if (this.model.get("taken") === this.asked) this.shut();
  }
  /** Send what the open panel asks for. @param {object} content */
  ask(content) {
    this.asked = `${this.id}-${++this.asks}-${Math.random().toString(36).slice(2, 10)}`;
    this.form.send({ ...content, ask: this.asked });
  }
};

// launcher/code.js
var Code = class {
  /** @param {Form} form */
  constructor(form) {
    this.form = form;
    this.model = form.model;
    const id = `${form.id}-code`;
    this.turner = h("button", { type: "button", class: "cnb-link", "aria-expanded": "false", "aria-controls": id, click: () => this.turn() }, "Show the code");
    this.text = h("code");
    this.copier = h("button", { type: "button", click: () => void this.copy() }, "Copy");
    this.el = h(
      "div",
      { class: "cnb-code", id, hidden: true },
      h("div", { class: "cnb-codehead" }, h("span", { class: "cnb-quiet" }, "The cell that does the same"), this.copier),
      h("pre", { tabindex: "0", "aria-label": "Code" }, this.text)
    );
  }
  draw() {
    const shown = (
      /** @type {boolean} */
      this.model.get("shows_code")
    );
    this.el.hidden = !shown;
    this.turner.setAttribute("aria-expanded", String(shown));
    this.turner.textContent = shown ? "Hide the code" : "Show the code";
    this.text.textContent = this.model.get("code");
  }
  turn() {
    this.model.set("shows_code", !this.model.get("shows_code"));
    this.form.save();
    this.draw();
  }
  async copy() {
    try {
      await navigator.clipboard.writeText(this.model.get("code"));
      this.copier.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(this.text);
      this.copier.textContent = "Selected";
    }
    setTimeout(() => this.copier.textContent = "Copy", 2e3);
  }
};

// launcher/options.js
var Options = class {
  /** @param {Form} form */
  constructor(form) {
    this.form = form;
    this.model = form.model;
    this.main = h("div", { class: "cnb-options" });
    this.others = h("div", { class: "cnb-options" });
    this.more = h("details", { class: "cnb-more" }, h("summary", {}, "More options"), this.others);
    this.el = h("div", { class: "cnb-set", role: "group", "aria-label": "Options" }, this.main, this.more);
  }
  /** @returns {NodeListOf<HTMLInputElement>} */
  get fields() {
    return this.el.querySelectorAll("[data-option]");
  }
  draw() {
    const words = (
      /** @type {Record<string, string>} */
      this.model.get("options")
    );
    if (!this.main.childElementCount) {
      for (
        const control2 of
        /** @type {Control[]} */
        this.model.get("controls")
      ) (control2.main ? this.main : this.others).append(this.option(control2));
      if (Object.keys(words).some((name) => this.others.querySelector(`[data-option="${name}"]`))) this.more.setAttribute("open", "");
    }
    for (const el of this.fields) {
      const word = words[el.dataset.option ?? ""] ?? "";
      if (el.type === "checkbox") el.checked = word === "true";
      else if (el.value !== word && el !== document.activeElement) el.value = word;
    }
  }
  /** @param {Control} control */
  option(control2) {
    const id = `${this.form.id}-o-${control2.name}`;
    const set = (e) => {
      const el = (
        /** @type {HTMLInputElement} */
        e.target
      );
      const options = { ...this.model.get("options") };
      const value = el.type === "checkbox" ? el.checked ? "true" : "" : el.value.trim();
      if (value) options[control2.name] = value;
      else delete options[control2.name];
      this.model.set("options", options);
      el.removeAttribute("aria-invalid");
      const said = document.getElementById(`${id}-wrong`);
      if (said) said.textContent = "";
      this.form.later();
    };
    const name = h("small", {}, control2.name);
    if (control2.kind === "switch")
      return h("div", { class: "cnb-option cnb-option-switch" }, h("label", { class: "cnb-check" }, h("input", { type: "checkbox", id, "data-option": control2.name, change: set }), h("span", {}, control2.label, " ", name)));
    return h(
      "div",
      { class: "cnb-option" },
      h("label", { for: id }, control2.label, " ", name),
      h("input", { type: "text", id, "data-option": control2.name, placeholder: control2.empty || this.model.get("title"), autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-wrong`, input: set }),
      h("div", { class: "cnb-optionsaid", id: `${id}-wrong` })
    );
  }
  /** Say which are wrong. @param {Problems} problems */
  drawProblems(problems) {
    for (const el of this.fields) {
      const said = problems.options?.[el.dataset.option ?? ""];
      if (said) el.setAttribute("aria-invalid", "true");
      else el.removeAttribute("aria-invalid");
      const place = el.parentElement?.querySelector(".cnb-optionsaid");
      if (place) place.textContent = said ?? "";
    }
  }
  /** To the first that is wrong. */
  point() {
    this.el.querySelector("[data-option][aria-invalid]")?.focus();
  }
};

// launcher/field.js
var LINES = {
  integer: { keys: "numeric", example: "" },
  number: { keys: "decimal", example: "" },
  date: { keys: null, example: "YYYY-MM-DD" },
  datetime: { keys: null, example: "YYYY-MM-DD hh:mm" }
};
function wide(f) {
  const longest = Math.max(...[...f.choices, f.default ? `${f.default} (default)` : "choose…"].map((words) => words.length));
  return Math.min(longest, 30) + 4;
}
function control(f, words, place, edit, upload) {
  const label = `${f.name}, row ${place}`;
  const change = (e) => edit(
    /** @type {HTMLInputElement} */
    e.target.value
  );
  const given = { "aria-label": label, "data-field": f.name, "aria-required": f.required ? "true" : null };
  if (f.kind === "switch") {
    const on = (words || f.default || "false").toLowerCase();
    const box = (
      /** @type {HTMLInputElement} */
      h("input", { ...given, "aria-required": null, type: "checkbox", change: (e) => edit(
        /** @type {HTMLInputElement} */
        e.target.checked ? "true" : "false"
      ) })
    );
    box.checked = ["true", "yes", "on", "1"].includes(on);
    return box;
  }
  if (f.kind === "choice") {
    const empty = f.default ? `${f.default} (default)` : f.required ? "choose…" : "";
    const known = f.choices.find((c) => c.toLowerCase() === words.toLowerCase());
    const options = [h("option", { value: "" }, empty), ...f.choices.map((c) => h("option", { value: c }, c))];
    if (words && known === void 0) options.push(h("option", { value: words }, words));
    const select = (
      /** @type {HTMLSelectElement} */
      h("select", { ...given, change }, options)
    );
    select.value = known ?? words;
    return select;
  }
  const line = LINES[f.kind];
  if (line) {
    const input = (
      /** @type {HTMLInputElement} */
      h("input", { ...given, type: "text", inputmode: line.keys, placeholder: f.default || line.example, autocomplete: "off", input: change })
    );
    input.value = words;
    return input;
  }
  const area = (
    /** @type {HTMLTextAreaElement} */
    h("textarea", { ...given, rows: "1", placeholder: f.default, spellcheck: f.kind === "text" ? null : "false", input: change })
  );
  area.value = words;
  if (f.kind !== "file") return area;
  const pick = (
    /** @type {HTMLInputElement} */
    h("input", { type: "file", hidden: true, tabindex: "-1", change: () => upload(pick) })
  );
  area.placeholder = f.default || "path";
  return h("div", { class: "cnb-filecell" }, area, h("button", { type: "button", "aria-label": `Choose a file for ${label}`, title: "Choose a file", click: () => pick.click() }, "…"), pick);
}

// launcher/sheet.js
var PAGE = 12;
var Sheet = class {
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
    const rows = (
      /** @type {Row[]} */
      this.model.get("rows").map((row) => ({ ...row }))
    );
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
      h("th", { scope: "col", class: "cnb-rowacts" }, h("span", { class: "cnb-voice" }, "Row"))
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
    const to = (page) => () => {
      this.page = Math.max(0, Math.min(last, page));
      this.draw();
    };
    const add = h("button", { type: "button", class: "cnb-add", click: () => this.addRow() }, "+ Add a row");
    const clear = h("button", { type: "button", class: "cnb-link", click: () => this.clear() }, "Clear");
    this.pager.replaceChildren(
      add,
      this.rows.some((row) => !isBlank(row)) ? clear : "",
      ...last ? [
        h("span", { class: "cnb-quiet" }, `rows ${this.page * PAGE} to ${Math.min(this.rows.length, (this.page + 1) * PAGE) - 1} of ${this.rows.length}`),
        h("button", { type: "button", disabled: this.page === 0, click: to(0) }, "First"),
        h("button", { type: "button", disabled: this.page === 0, click: to(this.page - 1) }, "Previous"),
        h("button", { type: "button", disabled: this.page === last, click: to(this.page + 1) }, "Next"),
        h("button", { type: "button", disabled: this.page === last, click: to(last) }, "Last")
      ] : []
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
    const act = (label, sign, does) => h("button", { type: "button", "aria-label": `${label} row ${place}`, title: label, click: does }, h("span", { "aria-hidden": "true", class: sign ? null : "cnb-twice" }, sign));
    const line = h(
      "tr",
      { "data-row": place, class: wrong ? "cnb-wrong" : null },
      h("th", { scope: "row", class: "cnb-n" }, String(place)),
      this.fields.map((f) => {
        const bad = wrong && (wrong[f.name] !== void 0 || wrong[""] !== void 0 && !row[f.name]?.trim() && f.required);
        const control2 = this.field(f, row, place);
        for (const el of control2.matches("input, select, textarea") ? [control2] : control2.querySelectorAll("input")) {
          if (bad) el.setAttribute("aria-invalid", "true");
          if (wrong) el.setAttribute("aria-describedby", said);
        }
        return h("td", {}, control2);
      }),
      h("td", { class: "cnb-rowacts" }, act("Duplicate", "", () => this.duplicate(place)), act("Remove", "✕", () => this.remove(place)))
    );
    if (!wrong) return [line];
    const lines = Object.entries(wrong).map(([name, words]) => h("div", {}, name ? h("b", {}, h("bdi", {}, name), ": ") : "", words));
    return [line, h("tr", { class: "cnb-rowsaid", "data-row": place }, h("td"), h("td", { id: said, colspan: String(this.fields.length + 1) }, lines))];
  }
  /** @param {Field} f @param {Row} row @param {number} place */
  field(f, row, place) {
    const edit = (words) => this.edit(place, f.name, words);
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
    const cells = [.../** @type {NodeListOf<HTMLElement>} */
    this.table.querySelectorAll(`tr[data-row="${place}"] [data-field]`)];
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
    const active = (
      /** @type {HTMLElement | null} */
      document.activeElement
    );
    const place = active && this.table.contains(active) ? Number(
      /** @type {HTMLElement | null} */
      active.closest("tr[data-row]")?.dataset.row ?? -1
    ) : -1;
    this.rows = came;
    this.draw();
    if (place >= 0) this.focus(Math.min(place, this.rows.length - 1), active?.dataset.field);
  }
  /** Go to a row that is wrong. @param {number} place */
  point(place) {
    this.page = Math.floor(place / PAGE);
    this.draw();
    (this.table.querySelector(".cnb-wrong [aria-invalid]") ?? this.table.querySelector(".cnb-wrong [data-field]"))?.focus();
  }
  /** From a field to the one below, and after the last to a new row. @param {HTMLElement} el */
  down(el) {
    const place = Number(
      /** @type {HTMLElement | null} */
      el.closest("tr")?.dataset.row
    );
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
};

// launcher/form.js
var PAUSE = 250;
var SIGN = 15e3;
var SEEK = 2e4;
var forms = 0;
var Form = class {
  /** @param {Words} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.id = `cnb-launch-${++forms}`;
    this.stop = new AbortController();
    this.signed = 0;
    this.timer = 0;
    this.adders = new Adders(this);
    this.sheet = new Sheet(this);
    this.options = new Options(this);
    this.code = new Code(this);
    this.alert = h("p", { class: "cnb-alert", role: "alert" });
    this.estimate = h("p", { class: "cnb-estimate", role: "status" });
    this.runs = h("p", { class: "cnb-runs", role: "status" });
    this.go = h("button", { type: "button", class: "cnb-run", title: "Ctrl+Enter", click: () => this.run() }, "Run");
    this.try = h("button", { type: "button", click: () => this.run(2) }, "Try first 2");
    this.halt = h("button", { type: "button", class: "cnb-stop", click: () => this.send({ t: "stop" }) }, "Stop");
    this.retry = h("button", { type: "button", class: "cnb-go", click: () => this.send({ t: "retry" }) }, "Retry failed");
    this.root = h(
      "div",
      { class: "crew-nb cnb-launch", role: "form", "aria-labelledby": `${this.id}-title` },
      h("div", { class: "cnb-formhead" }, h("strong", { id: `${this.id}-title` }, "Launch ", h("bdi", {}, model.get("title"))), this.sheet.counter, this.adders.el),
      this.adders.box,
      this.sheet.table,
      this.sheet.pager,
      this.options.el,
      this.alert,
      h("div", { class: "cnb-foot" }, h("div", { class: "cnb-acts" }, this.go, this.try, this.halt, this.retry), this.estimate, this.code.turner),
      this.runs,
      this.code.el
    );
    el.append(this.root);
    this.listen();
    this.sheet.draw();
    this.options.draw();
    this.drawProblems(false);
    this.drawState();
    this.code.draw();
  }
  listen() {
    const { model, stop } = this;
    const on = (name, does) => {
      model.on(name, does);
      stop.signal.addEventListener("abort", () => model.off(name, does));
    };
    on("change:rows", () => this.sheet.came());
    on("change:fields", () => this.sheet.draw());
    on("change:options", () => this.options.draw());
    on("change:problems", () => this.drawProblems(true));
    on("change:estimate", () => this.drawState());
    on("change:status", () => this.drawState());
    on("change:code", () => this.code.draw());
    on("change:names", () => this.adders.drawNames());
    on("change:taken", () => this.adders.taken());
    for (const name of ["pointermove", "wheel", "focusin"])
      this.root.addEventListener(name, () => this.sign(), { passive: true });
    takeKeys(this.root, stop.signal, (e) => {
      this.sign();
      return this.key(e);
    });
    const idle = (e) => (
      /** @type {HTMLElement} */
      e.target.closest("[aria-disabled=true]") && e.stopImmediatePropagation()
    );
    this.root.addEventListener("click", idle, { capture: true });
    followTheme(this.root, stop.signal);
  }
  close() {
    if (this.timer) this.save();
    this.stop.abort();
    this.root.remove();
  }
  /** @returns {Problems} */
  get problems() {
    return this.model.get("problems");
  }
  /** The marks of an earlier Run name rows that may have moved. */
  forgive() {
    if (this.problems.rows || this.problems.alert) this.model.set("problems", { ...this.problems, rows: {}, alert: "" });
  }
  /** @param {boolean} news whether Python has just said so */
  drawProblems(news) {
    const { alert = "", options = {}, rows = {} } = this.problems;
    this.alert.textContent = alert;
    this.sheet.draw();
    this.options.drawProblems(this.problems);
    if (!news) return;
    const first = Object.keys(rows).map(Number).sort((a, b) => a - b)[0];
    if (first !== void 0) this.sheet.point(first);
    else if (Object.keys(options).length) this.options.point();
    else if (alert) this.alert.scrollIntoView?.({ block: "nearest" });
  }
  drawState() {
    const counts = (
      /** @type {Counts} */
      this.model.get("status")
    );
    const going = (counts.open ?? 0) > 0;
    const set = (el, off) => {
      if (off && el === document.activeElement) el.setAttribute("aria-disabled", "true");
      else el.removeAttribute("aria-disabled");
      el.disabled = off && el !== document.activeElement;
    };
    set(this.go, going);
    set(this.try, going);
    set(this.halt, !going);
    const again = (counts.failed ?? 0) + (counts.stopped ?? 0);
    set(this.retry, !again);
    const which = [counts.failed ? "failed" : "", counts.stopped ? "stopped" : ""].filter(Boolean).join(" and ");
    this.retry.textContent = again ? `Retry ${which} (${again})` : "Retry failed";
    this.retry.hidden = !again && this.retry !== document.activeElement;
    this.estimate.textContent = this.model.get("estimate");
    this.runs.textContent = progress(counts);
  }
  // ---------------------------------------------------------------------------------------------------------- to Python
  later() {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.save(), PAUSE);
  }
  save() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.model.set("rows", this.sheet.rows.map((row) => ({ ...row })));
    this.model.save_changes();
  }
  /** @param {any} content */
  send(content) {
    this.model.send(content);
  }
  /** @param {HTMLInputElement} pick @param {number} row @param {string} field */
  async upload(pick, row, field) {
    const file = pick.files?.[0];
    if (!file) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    const all = parts(btoa(text));
    this.save();
    all.forEach((part, i) => this.send({ t: "upload", row, field, name: file.name, text: part, more: i + 1 < all.length }));
  }
  /** @param {number} [first] */
  run(first) {
    if ((this.model.get("status").open ?? 0) > 0) return;
    this.save();
    this.send({ t: "run", rows: this.sheet.rows, options: this.model.get("options"), ...first ? { first } : {} });
    this.seek(Date.now() + SEEK);
  }
  /** Bring the board of what was launched into view, once it has rows. @param {number} until when to give up */
  seek(until) {
    if (this.stop.signal.aborted || Date.now() > until) return;
    const board = this.root.closest(".widget-box, .jupyter-widget-box")?.querySelector(".cnb-board");
    if ((this.model.get("status").open ?? 0) > 0 && board?.querySelector(".cnb-item")) board.scrollIntoView({ block: "nearest" });
    else setTimeout(() => this.seek(until), 100);
  }
  /** Say now and then that somebody is here, so that the form does not become static under them. */
  sign() {
    const now = Date.now();
    if (now - this.signed < SIGN) return;
    this.signed = now;
    this.send({ t: "touch" });
  }
  /** Whether Escape did something. @param {KeyboardEvent} e */
  key(e) {
    const el = (
      /** @type {HTMLElement} */
      e.composedPath()[0]
    );
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      this.run();
    } else if (e.key === "Escape" && this.adders.panel) {
      e.preventDefault();
      this.adders.shut();
      return true;
    } else if (e.key === "Enter" && el.id === `${this.id}-column`) {
      this.adders.box.querySelector(".cnb-go")?.click();
    } else if (e.key === "Enter" && !e.shiftKey && el.matches("textarea[data-field], input[data-field]:not([type=checkbox])")) {
      e.preventDefault();
      this.sheet.down(el);
    }
    return false;
  }
};

// launcher/words.js
var Words = class {
  /** @param {Model} model @param {() => void} ready called once, when everything is here */
  constructor(model, ready) {
    this.model = model;
    this.view = `${Math.random().toString(36).slice(2)}`;
    this.known = null;
    this.fresh = {};
    this.listeners = [];
    this.onMessage = (content) => {
      if (content?.t !== "words" || content.but === this.view) return;
      if (content.view === void 0) {
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
};

// launcher.js
var AGAIN = 5e3;
var launcher_default = {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const wait = h("p", { class: "cnb-quiet", role: "status" }, "Waiting for the kernel…");
    el.append(wait);
    let form = null;
    const words = new Words(model, () => {
      wait.remove();
      form = new Form(words, el);
    });
    words.hello();
    const timer = setInterval(() => words.known ? clearInterval(timer) : words.hello(), AGAIN);
    return () => {
      clearInterval(timer);
      form?.close();
      words.close();
      wait.remove();
    };
  }
};
export {
  launcher_default as default
};
