// @ts-check
/** What happened in the batch, line by line. */

import { h } from "../../shared/elements.js";
import { clock } from "../../shared/numbers.js";
import { morph } from "../morph.js";
import { SIGNS } from "../statuses.js";
import { View } from "../view.js";

/** Lines that are asked for at first, and at most; more with each click. */
const [PAGE, MOST] = [250, 5000];
/** Pixels up to which a line is drawn on two: as in log.css. */
const TWO_LINES = 560;

export class Log extends View {
  /** @override */
  static key = "log";

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.earlier = h("div");
    /** Lines that are asked for. */
    this.most = PAGE;
    /** Whether it goes along with what comes. */
    this.follow = true;
    this.lines = this.store.lines;
    /** @type {import("../view.js").Acts} */
    this.acts = {
      earlier: () => {
        this.most = Math.min(MOST, this.most * 4);
        this.follow = false;
        board.schedule();
      },
    };
  }

  /** It filters its own lines. @override @param {import("../rows.js").By} by */
  ordered(by) {
    return { ...by, filter: "", problems: false };
  }

  /** @override @returns {string[]} */
  notes() {
    return [];
  }

  /** @override */
  look() {
    const runs = (this.scroller?.inSight ?? []).map((n) => this.lines[n]?.run ?? 0);
    return { row: [...new Set(runs)], log: this.most };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.earlier = h("div", { class: "cnb-earlier" });
    const view = h("div", { class: "cnb-scroll cnb-log", role: "log", "aria-live": "off", "aria-label": "Log", tabindex: 0 });
    body.append(this.earlier, view);
    this.scroll(view, { height: () => (this.board.within(TWO_LINES) ? 42 : 22), build: (n) => this.line(n), stamp: (n) => this.stamp(n) });
    this.follow = true;
    view.addEventListener("scroll", () => {
      this.follow = view.scrollTop + view.clientHeight >= view.scrollHeight - 30;
    });
  }

  /** @override */
  draw() {
    const { by } = this.board;
    const words = by.filter.toLowerCase().split(/\s+/).filter(Boolean);
    this.lines = this.store.lines.filter((line) => {
      if (by.problems && !["failed", "waiting", "cancelled"].includes(line.status)) return false;
      if (!words.length) return true;
      const text = `${line.run} ${this.store.rows.get(line.run)?.label ?? ""} ${line.text}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    const more = this.most < MOST && this.live ? h("button", { type: "button", "data-act": "earlier" }, "Show earlier") : null;
    morph(this.earlier, h("div", { class: "cnb-earlier" }, this.store.moreLines ? ["There are earlier lines. ", more] : null));
    const { scroller } = this;
    if (!scroller) return;
    scroller.draw(this.lines.map((_, n) => n));
    if (this.follow) {
      scroller.view.scrollTop = scroller.view.scrollHeight;
      scroller.draw(scroller.keys);
    }
    scroller.sayEmpty(this.lines.length ? "" : by.filter || by.problems ? "No line matches." : "Nothing has happened yet.");
  }

  /** What a line is drawn from. @param {number} n */
  stamp(n) {
    const line = this.lines[n];
    return line ? `${line.at} ${line.run} ${line.text}` : "";
  }

  /** @param {number} n */
  line(n) {
    const line = this.lines[n];
    if (!line) return h("div", { class: "cnb-line" });
    const at = this.store.clock(line.at);
    const label = this.store.rows.get(line.run)?.label ?? "";
    return h(
      "div",
      { class: "cnb-line", "data-s": line.status },
      h("time", {}, `${clock(Math.floor(at))}.${Math.floor((at % 1) * 10)}`),
      h("small", {}, `#${line.run}`),
      h("bdi", { class: "cnb-quiet", title: label }, this.board.named(line.run)),
      h("i", { "aria-hidden": "true" }, SIGNS[line.status] ?? "·"),
      h("bdi", { title: line.text }, line.text),
    );
  }
}
