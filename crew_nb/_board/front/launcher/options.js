// @ts-check
/** The options of the batch: those that are wanted often, and the others folded. */

/** @import {Control, Problems} from "./messages.js" */
/** @import {Form} from "./form.js" */
import { h } from "../shared/elements.js";

export class Options {
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
    const words = /** @type {Record<string, string>} */ (this.model.get("options"));
    if (!this.main.childElementCount) {
      for (const control of /** @type {Control[]} */ (this.model.get("controls"))) (control.main ? this.main : this.others).append(this.option(control));
      if (Object.keys(words).some((name) => this.others.querySelector(`[data-option="${name}"]`))) this.more.setAttribute("open", "");
    }
    for (const el of this.fields) {
      const word = words[el.dataset.option ?? ""] ?? "";
      if (el.type === "checkbox") el.checked = word === "true";
      else if (el.value !== word && el !== document.activeElement) el.value = word;
    }
  }

  /** @param {Control} control */
  option(control) {
    const id = `${this.form.id}-o-${control.name}`;
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
      this.form.later();
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
    /** @type {HTMLElement | null} */ (this.el.querySelector("[data-option][aria-invalid]"))?.focus();
  }
}
