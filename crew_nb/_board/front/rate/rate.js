// @ts-check
/** @import {Model} from "../shared/model.js" */
import { sanitized } from "../board/markdown.js";
import { h } from "../shared/elements.js";
import { takeKeys } from "../shared/keys.js";
import { count } from "../shared/numbers.js";
import { followTheme } from "../shared/theme.js";

/**
 * @typedef {{name: string, done: number, total: number, problem: string, words?: string[], inputs?: [string, string][],
 *   outputs?: string[], levels?: string[], said?: string, note?: string}} Item
 */

/** Milliseconds after which a kernel that does not answer is asked again. */
const AGAIN = 5_000;

/** What the arrows say of a pair. @type {Record<string, string>} */
const ARROWS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "tie", ArrowDown: "tie" };

/** Shows what is to be rated; what is said goes to Python, which answers with the next. */
export class Rate {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.model = model;
    /** @type {Item | null} */
    this.item = null;
    /** Whether an answer is awaited: what has not been seen is not rated. */
    this.waits = false;
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.count = h("span", { class: "cnb-quiet", role: "status" }, "Waiting for the kernel…");
    this.bar = /** @type {HTMLProgressElement} */ (h("progress", { "aria-label": "rated" }));
    this.title = h("bdi");
    this.body = h("div", { class: "cnb-rated" });
    this.note = /** @type {HTMLTextAreaElement} */ (h("textarea", { rows: 1, "aria-label": "note", placeholder: "note (n)" }));
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
      this.foot,
    );
    el.append(this.root);
    takeKeys(this.root, signal, (e) => this.key(e));
    followTheme(this.root, signal);
    this.came = (/** @type {any} */ content) => content?.t === "item" && this.show(content);
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
      this.body.replaceChildren(...[end, ...(item.words ?? [])].map((words) => h("p", {}, words)));
    }
    this.body.scrollTop = 0;
    // A button that had the focus has gone with what it rated.
    const focused = /** @type {Document | ShadowRoot} */ (this.root.getRootNode()).activeElement;
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
    if (level !== undefined) this.say(level);
    else if (e.key === "u" || e.key === "Backspace") this.send("undo");
    else if (e.key === "n") this.note.focus();
    else return false;
    e.preventDefault();
    return false;
  }

  /** Enter and Escape go back to the keys that rate; the note stays. @param {KeyboardEvent} e */
  keyInNote(e) {
    const back = (e.key === "Enter" && !e.shiftKey) || e.key === "Escape";
    if (!back || e.isComposing) return false;
    e.preventDefault();
    this.root.focus({ preventScroll: true });
    return true;
  }
}
