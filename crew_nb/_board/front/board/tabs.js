// @ts-check
/** The bar over the views: their tabs, and what the runs are filtered by in all of them. */

/** @import {Board} from "./board.js" */
import { h } from "../shared/elements.js";
import { morph } from "./morph.js";
import { VIEWS } from "./views.js";

export class Tabs {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.el = h("div", { class: "cnb-bar" });
  }

  /** The element id of a tab. @param {string} key */
  id(key) {
    return `${this.board.id}-${key}`;
  }

  /** The keys of the views that the batch has. */
  get keys() {
    return VIEWS.filter((view) => view.isIn(this.board.store)).map((view) => view.key);
  }

  draw() {
    morph(this.el, this.drawn());
  }

  drawn() {
    const bar = h("div", { class: "cnb-bar" });
    if (!this.board.store.batch) return bar;
    const list = h("div", { class: "cnb-tabs", role: "tablist", "aria-label": "Views of the batch" });
    for (const key of this.keys)
      list.append(
        h(
          "button",
          {
            type: "button",
            role: "tab",
            id: this.id(key),
            "aria-selected": String(key === this.board.tab),
            "aria-controls": `${this.board.id}-panel`,
            tabindex: key === this.board.tab ? 0 : -1,
            "data-act": "tab",
            "data-tab": key,
          },
          key[0]?.toUpperCase() + key.slice(1),
        ),
      );
    bar.append(
      list,
      h("span", { class: "cnb-shown" }, this.board.view.notes().join(" · ")),
      h("label", { class: "cnb-check" }, h("input", { type: "checkbox", "data-in": "problems", checked: this.board.by.problems }), "only problems"),
      h("input", { type: "search", class: "cnb-filter", placeholder: "Filter", "aria-label": "Filter the runs", "data-in": "filter", spellcheck: "false" }),
    );
    return bar;
  }

  /** From tab to tab. @param {KeyboardEvent} e */
  key(e) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step && e.key !== "Home" && e.key !== "End") return;
    e.preventDefault();
    const { keys } = this;
    const at = e.key === "Home" ? 0 : e.key === "End" ? keys.length - 1 : (keys.indexOf(this.board.tab) + (step ?? 0) + keys.length) % keys.length;
    this.board.go(keys[at] ?? this.board.tab);
    this.focus();
  }

  /** The tab of the view that is shown takes the focus. */
  focus() {
    /** @type {HTMLElement | null} */ (this.el.querySelector(`#${this.id(this.board.tab)}`))?.focus({ preventScroll: true });
  }
}
