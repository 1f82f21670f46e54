// @ts-check
/** The runs over time: a lane for each, in which queueing, waits, LLM calls and tools are told apart. */

import { h } from "../../shared/elements.js";
import { morph } from "../morph.js";
import { versionOf } from "../versions.js";
import { View } from "../view.js";
import { axisOf } from "./axis.js";
import { laneOf, tracks } from "./lane.js";
import { Scale } from "./scale.js";

export class Timeline extends View {
  /** @override */
  static key = "timeline";

  /** @param {import("../board.js").Board} board */
  constructor(board) {
    super(board);
    this.axis = h("div");
    this.scale = new Scale(() => this.end, () => board.schedule());
    /** @type {import("../view.js").Acts} */
    this.acts = {
      "zoom-in": () => this.scale.by(0.5),
      "zoom-out": () => this.scale.by(2),
      "zoom-fit": () => this.scale.fit(),
    };
  }

  /** The last moment that is known. */
  get end() {
    let to = 0.5;
    for (const row of this.store.rows.values()) to = Math.max(to, this.store.clock(row.finished ?? (row.started === undefined ? 0 : this.now)));
    return to;
  }

  /** @override */
  notes() {
    const { by, sorted } = this.board;
    if (by.sort === "#" && !by.down) return super.notes();
    return [...super.notes(), `sorted by ${sorted} ${by.down ? "↓" : "↑"}`];
  }

  /** @override */
  look() {
    const seen = this.scroller?.inSight ?? [];
    return { row: seen, lane: seen };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.axis = h("div", { class: "cnb-axis" });
    const view = h("div", { class: "cnb-scroll cnb-lanes", role: "list", "aria-label": "Timeline, a lane for each run" });
    for (const el of [this.axis, view]) {
      el.addEventListener("wheel", (e) => this.scale.wheel(e, this.axis.querySelector(".cnb-overlap .cnb-track")), { passive: false });
      el.addEventListener("pointerdown", (e) => this.scale.grab(e, this.board.stop.signal));
    }
    body.append(this.axis, view);
    this.scroll(view, { height: (i) => 8 + 22 * tracks(this.store.specsOf(this.store.rows.get(i))), build: (i) => this.lane(i), stamp: (i) => this.stamp(i) });
  }

  /** @override */
  draw() {
    const { batch, rows } = this.store;
    if (!batch) return;
    this.scale.drawn = this.scale.shown;
    const names = [...this.store.columns.keys()].join(" · ");
    morph(this.axis, axisOf(batch, [...rows.values()], names, this.scale.drawn, this.now, (at) => this.store.clock(at), this.board.root.clientWidth, this.scale.zoom !== null));
    this.drawPlaces();
  }

  /** What a lane is drawn from. @param {number} i */
  stamp(i) {
    const row = this.store.rows.get(i);
    const { from, to } = this.scale.drawn;
    // While it fits all, the scale moves with the clock, and then every lane does.
    return [row ? versionOf(row) : 0, versionOf(this.store.lanes.get(i)), this.board.active === i, from.toFixed(3), to.toFixed(2), this.board.root.clientWidth].join();
  }

  /** @param {number} i */
  lane(i) {
    const row = this.store.rows.get(i);
    const name = this.board.named(i);
    const of = { i, row, lane: this.store.lanes.get(i), specs: this.store.specsOf(row), name, active: this.board.active === i };
    return laneOf(of, this.scale.drawn, this.now, (at) => this.store.clock(at), this.axis.querySelector(".cnb-marks .cnb-track")?.clientWidth ?? 0);
  }

  /** @override @param {KeyboardEvent} e @param {HTMLElement} target */
  key(e, target) {
    if (e.key === "0") this.scale.fit();
    else if (["+", "=", "-"].includes(e.key)) this.scale.by(e.key === "-" ? 2 : 0.5);
    const lane = /** @type {HTMLElement | null} */ (target.closest(".cnb-lane[data-run]"));
    if (!lane) return false;
    const bars = /** @type {HTMLElement[]} */ ([...lane.querySelectorAll(".cnb-span")]);
    const at = bars.indexOf(target);
    if (e.key === "Escape" && at >= 0) {
      lane.focus();
      return true;
    }
    if (e.key === "ArrowRight" || (e.key === "ArrowLeft" && at >= 0)) {
      e.preventDefault();
      bars[at + (e.key === "ArrowRight" ? 1 : -1)]?.focus();
    } else if (!this.moved(e) && e.key === "Enter") this.board.show(this.board.active);
    return false;
  }
}
