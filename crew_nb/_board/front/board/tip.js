// @ts-check
/** The words that are shown beside what the pointer or the focus is on. */

import { h } from "../shared/elements.js";

export class Tip {
  /** @param {HTMLElement} root in which it stands @param {AbortSignal} signal */
  constructor(root, signal) {
    this.root = root;
    this.el = h("div", { class: "cnb-tip", "aria-hidden": "true", hidden: true });
    root.addEventListener("pointermove", (e) => this.hover(e), { signal });
    root.addEventListener("pointerleave", () => this.hide(), { signal });
    root.addEventListener("focusin", (e) => this.focused(e), { signal });
  }

  /** @param {PointerEvent} e */
  hover(e) {
    const el = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (e.target).closest("[data-tip]"));
    if (el) this.show(el, e.clientX, e.clientY, e.clientY);
    else this.hide();
  }

  /** @param {FocusEvent} e */
  focused(e) {
    const el = /** @type {HTMLElement} */ (e.target);
    if (!el.dataset.tip) {
      this.hide();
      return;
    }
    const box = el.getBoundingClientRect();
    this.show(el, box.left + Math.min(40, box.width / 2), box.bottom, box.top);
  }

  /** Below `bottom`, or where the board ends before it, above `top`. @param {HTMLElement} el @param {number} x @param {number} bottom @param {number} top */
  show(el, x, bottom, top) {
    const [first = "", ...rest] = (el.dataset.tip ?? "").split("\n");
    this.el.replaceChildren(h("b", { dir: "auto" }, first), ...rest.map((line) => h("span", { dir: "auto" }, line)));
    this.el.hidden = false;
    const box = this.root.getBoundingClientRect();
    this.el.style.left = `${Math.max(4, Math.min(x - box.left + 12, box.width - this.el.offsetWidth - 8))}px`;
    const below = bottom - box.top + 14;
    const fits = below + this.el.offsetHeight <= box.height - 4;
    this.el.style.top = `${fits ? below : Math.max(4, top - box.top - this.el.offsetHeight - 8)}px`;
  }

  /** Whether there was one. */
  hide() {
    const shown = !this.el.hidden;
    this.el.hidden = true;
    return shown;
  }
}
