// @ts-check
/** What is at work, kept in sight: the list goes along with it as long as nobody is in it. */

/** @import {Board} from "../board.js" */
/** @import {Scroller} from "../scroller.js" */
import { h } from "../../shared/elements.js";
import { plural } from "../../shared/numbers.js";
import { morph } from "../morph.js";

const AT_WORK = new Set(["running", "waiting", "cancelling"]);

export class Work {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    /** Says what is at work out of sight, and leads there. */
    this.el = h("div", { class: "cnb-work" });
    /** Whether the list goes along; not after a person has scrolled. */
    this.follows = true;
    /** Where it was scrolled to from here. */
    this.at = 0;
  }

  /** Hear of a person who scrolls. @param {HTMLElement} view */
  watch(view) {
    this.at = 0;
    view.addEventListener("scroll", () => {
      if (Math.abs(view.scrollTop - this.at) > 2) this.follows = false;
    });
  }

  /** Rows must not move under a pointer, the keys, or where somebody reads or has sorted them. @param {HTMLElement} view */
  mayMove(view) {
    const { by, held, open } = this.board;
    return this.follows && !open.size && by.sort === "#" && !by.down && !by.filter && !by.problems && !view.matches(":hover") && !(held && view.contains(held));
  }

  /** @param {Scroller} scroller @param {boolean} [asked] by a person */
  draw(scroller, asked = false) {
    const { view, tops, keys } = scroller;
    const { rows } = this.board.store;
    const places = keys.flatMap((run, n) => (AT_WORK.has(rows.get(run)?.status ?? "") ? [n] : []));
    const [top, bottom] = [(/** @type {number} */ n) => tops[n] ?? 0, (/** @type {number} */ n) => tops[n + 1] ?? 0];
    const tall = view.clientHeight;
    const above = () => places.filter((n) => bottom(n) <= view.scrollTop).length;
    const below = () => places.filter((n) => top(n) >= view.scrollTop + tall).length;
    if (asked) this.follows = true;
    if (tall && (asked || this.mayMove(view))) {
      // To where most of them are in sight; not at all where that would show no more.
      let [most, best] = [places.filter((n) => top(n) >= view.scrollTop - 1 && bottom(n) <= view.scrollTop + tall + 1).length, -1];
      for (let [first, end] = [0, 0]; first < places.length; first++) {
        const from = top(places[first] ?? 0);
        while (end < places.length && bottom(places[end] ?? 0) <= from + tall) end++;
        if (end - first > most) [most, best] = [end - first, from];
      }
      if (best >= 0) {
        view.scrollTop = best;
        this.at = view.scrollTop;
        scroller.draw(keys);
      }
    }
    const [up, down] = [above(), below()];
    const words = [up ? `${up} ↑` : "", down ? `${down} ↓` : ""].filter(Boolean).join("  ");
    const said = `${plural(up + down, "run")} at work out of sight`;
    morph(this.el, h("div", { class: "cnb-work" }, words ? h("button", { type: "button", "data-act": "work", title: said }, `at work: ${words}`) : null));
  }
}
