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

// board/markdown.js
function sanitized(html) {
  const node = h("div", { class: "cnb-md", dir: "auto" });
  node.innerHTML = html;
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

// shared/numbers.js
function count(n) {
  return n.toLocaleString("en-US");
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

// rate/rate.js
var AGAIN = 5e3;
var ARROWS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "tie", ArrowDown: "tie" };
var Rate = class {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    this.item = null;
    this.waits = false;
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.count = h("span", { class: "cnb-quiet", role: "status" }, "Waiting for the kernel…");
    this.bar = /** @type {HTMLProgressElement} */
    h("progress", { "aria-label": "rated" });
    this.title = h("bdi");
    this.body = h("div", { class: "cnb-rated" });
    this.note = /** @type {HTMLTextAreaElement} */
    h("textarea", { rows: 1, "aria-label": "note", placeholder: "note (n)" });
    this.levels = h("div", { class: "cnb-levels", role: "group", "aria-label": "rating" });
    this.undo = h("button", { type: "button", title: "u or Backspace", click: () => this.send("undo") }, "Undo (u)");
    this.foot = h("div", { class: "cnb-ratefoot" }, this.levels, this.note, this.undo);
    this.alert = h("p", { class: "cnb-alert", role: "alert" });
    this.root = h(
      "section",
      { class: "crew-nb cnb-board cnb-rate", tabindex: 0, "aria-label": "rate outputs" },
      h("header", { class: "cnb-ratehead" }, h("strong", {}, "Rate: ", this.title), this.bar, this.count),
      this.body,
      this.alert,
      this.foot
    );
    el.append(this.root);
    takeKeys(this.root, signal, (e) => this.key(e));
    followTheme(this.root, signal);
    this.came = (content) => content?.t === "item" && this.show(content);
    model.on("msg:custom", this.came);
    const hello = () => this.item || this.send("hello");
    this.timer = setInterval(hello, AGAIN);
    hello();
  }
  close() {
    clearInterval(this.timer);
    this.model.off("msg:custom", this.came);
    this.stop.abort();
    this.root.remove();
  }
  /** @param {string} t @param {Record<string, unknown>} [more] */
  send(t, more = {}) {
    if (t !== "hello" && (!this.item || this.waits)) return;
    this.waits = t !== "hello";
    try {
      this.model.send({ t, done: this.item?.done, ...more });
    } catch {
      this.alert.textContent = "The kernel has gone; what was rated is on disk.";
    }
  }
  /** @param {string} level */
  say(level) {
    this.send("rate", { level, note: this.note.value.trim() });
  }
  /** @param {Item} item */
  show(item) {
    this.item = item;
    this.waits = false;
    this.title.textContent = item.name;
    this.bar.max = Math.max(1, item.total);
    this.bar.value = item.done;
    this.count.textContent = `${count(item.done)} of ${count(item.total)} rated`;
    this.alert.textContent = item.problem ? `Kept in memory only: ${item.problem}` : "";
    this.note.value = item.note ?? "";
    this.undo.toggleAttribute("disabled", !item.done);
    const { outputs, levels = [] } = item;
    this.note.hidden = !outputs;
    this.levels.replaceChildren(...levels.map((level, n) => this.button(level, n, item.said === level)));
    if (outputs) this.body.replaceChildren(this.inputs(item.inputs ?? []), this.outputs(outputs));
    else {
      const end = item.total ? "All are rated." : "No run is done, so there is nothing to rate.";
      this.body.replaceChildren(...[end, ...item.words ?? []].map((words) => h("p", {}, words)));
    }
    this.body.scrollTop = 0;
    const focused = (
      /** @type {Document | ShadowRoot} */
      this.root.getRootNode().activeElement
    );
    if (!focused || focused === document.body) this.root.focus({ preventScroll: true });
  }
  /** @param {string} level @param {number} n @param {boolean} said whether it was said before it was taken back */
  button(level, n, said) {
    const key = Object.entries(ARROWS).find(([, word]) => word === level)?.[0].replace("Arrow", "") ?? String(n + 1);
    const sign = { Left: "←", Right: "→", Up: "↑" }[key] ?? key;
    const name = sign === level ? level : `${level} (${sign})`;
    return h("button", { type: "button", "data-level": level, class: said ? "cnb-go" : null, click: () => this.say(level) }, name);
  }
  /** @param {[string, string][]} inputs */
  inputs(inputs) {
    return h("dl", { class: "cnb-given" }, ...inputs.flatMap(([name, value]) => [h("dt", { dir: "auto" }, name), h("dd", { dir: "auto" }, value)]));
  }
  /** @param {string[]} outputs */
  outputs(outputs) {
    const names = outputs.length > 1 ? ["left", "right"] : ["output"];
    return h("div", { class: "cnb-outputs" }, ...outputs.map((html, n) => h("article", { "aria-label": names[n] ?? "" }, sanitized(html))));
  }
  /** Whether Escape did something. @param {KeyboardEvent} e */
  key(e) {
    if (e.composedPath()[0] === this.note) return this.keyInNote(e);
    if (e.ctrlKey || e.metaKey || e.altKey || e.repeat) return false;
    const { levels = [] } = this.item ?? {};
    const level = levels[Number(e.key) - 1] ?? levels.find((word) => word === ARROWS[e.key]);
    if (level !== void 0) this.say(level);
    else if (e.key === "u" || e.key === "Backspace") this.send("undo");
    else if (e.key === "n") this.note.focus();
    else return false;
    e.preventDefault();
    return false;
  }
  /** Enter and Escape go back to the keys that rate; the note stays. @param {KeyboardEvent} e */
  keyInNote(e) {
    const back = e.key === "Enter" && !e.shiftKey || e.key === "Escape";
    if (!back || e.isComposing) return false;
    e.preventDefault();
    this.root.focus({ preventScroll: true });
    return true;
  }
};

// rate.js
var rate_default = {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const rate = new Rate(model, el);
    return () => rate.close();
  }
};
export {
  rate_default as default
};
