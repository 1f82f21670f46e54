// @ts-check
/** The form as a whole: its head, its foot with the buttons that run, and what its parts have in common. */

/** @import {Counts, Problems} from "./messages.js" */
/** @import {Words} from "./words.js" */
import { h } from "../shared/elements.js";
import { takeKeys } from "../shared/keys.js";
import { followTheme } from "../shared/theme.js";
import { Adders } from "./adders.js";
import { Code } from "./code.js";
import { parts, progress } from "./counts.js";
import { Options } from "./options.js";
import { Sheet } from "./sheet.js";

/** Milliseconds after the last key until Python is told. */
const PAUSE = 250;
/** Milliseconds between two signs that somebody is there. */
const SIGN = 15_000;

/** Milliseconds in which the board of a batch is waited for. */
const SEEK = 20_000;

let forms = 0;

export class Form {
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
      this.code.el,
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
    const on = (/** @type {string} */ name, /** @type {() => void} */ does) => {
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
    // A button that has the focus is not disabled but marked so: it does nothing, by key or pointer.
    const idle = (/** @type {Event} */ e) => /** @type {HTMLElement} */ (e.target).closest("[aria-disabled=true]") && e.stopImmediatePropagation();
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
    if (first !== undefined) this.sheet.point(first);
    else if (Object.keys(options).length) this.options.point();
    else if (alert) this.alert.scrollIntoView?.({ block: "nearest" });
  }

  drawState() {
    const counts = /** @type {Counts} */ (this.model.get("status"));
    const going = (counts.open ?? 0) > 0;
    const set = (/** @type {HTMLElement} */ el, /** @type {boolean} */ off) => {
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
    for (let at = 0; at < bytes.length; at += 32_768) text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
    const all = parts(btoa(text));
    this.save();
    all.forEach((part, i) => this.send({ t: "upload", row, field, name: file.name, text: part, more: i + 1 < all.length }));
  }

  /** @param {number} [first] */
  run(first) {
    if ((this.model.get("status").open ?? 0) > 0) return;
    this.save();
    this.send({ t: "run", rows: this.sheet.rows, options: this.model.get("options"), ...(first ? { first } : {}) });
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
    const el = /** @type {HTMLElement} */ (e.composedPath()[0]);
    if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      this.run();
    } else if (e.key === "Escape" && this.adders.panel) {
      e.preventDefault();
      this.adders.shut();
      return true;
    } else if (e.key === "Enter" && el.id === `${this.id}-column`) {
      /** @type {HTMLElement | null} */ (this.adders.box.querySelector(".cnb-go"))?.click();
    } else if (e.key === "Enter" && !e.shiftKey && el.matches("textarea[data-field], input[data-field]:not([type=checkbox])")) {
      // As in a spreadsheet: down, and a new row after the last. Shift+Enter begins a new line in the cell.
      e.preventDefault();
      this.sheet.down(el);
    }
    return false;
  }
}
