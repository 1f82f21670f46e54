// @ts-check
/** The cell that would do the same. */

/** @import {Form} from "./form.js" */
import { h } from "../shared/elements.js";

export class Code {
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
      h("pre", { tabindex: "0", "aria-label": "Code" }, this.text),
    );
  }

  draw() {
    const shown = /** @type {boolean} */ (this.model.get("shows_code"));
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
      // Without the right to the clipboard, the code is selected for Ctrl+C.
      getSelection()?.selectAllChildren(this.text);
      this.copier.textContent = "Selected";
    }
    setTimeout(() => (this.copier.textContent = "Copy"), 2000);
  }
}
