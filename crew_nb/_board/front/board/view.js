// @ts-check
/** What every view of a batch has. */

/** @import {Board} from "./board.js" */
/** @import {By} from "./rows.js" */
/** @import {Look} from "./wire.js" */
import { count } from "../shared/numbers.js";
import { Scroller } from "./scroller.js";

/** @typedef {Record<string, (run: number, button: HTMLElement) => void>} Acts what buttons do, by their `data-act` */

/** Rows that Page Down goes on by. */
const PAGE = 10;

/**
 * What a tab shows. It is made once for a board and keeps what people chose in it; its frame is built each time that it
 * comes to be shown. It sees what is known of the batch, and no other view.
 */
export class View {
  /** The word for it: on its tab, in small letters in the document. */
  static key = "";

  /** Whether the batch has anything for it. @param {import("./store.js").Store} store */
  static isIn(store) {
    return store.batch !== null;
  }

  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.store = board.store;
    /** @type {Scroller | null} */
    this.scroller = null;
    /** What the buttons in it do. @type {Acts} */
    this.acts = {};
  }

  /** Seconds since the batch was created, when this was last drawn. */
  get now() {
    return this.board.now;
  }

  /** Whether Python answers. */
  get live() {
    return this.board.wire.live;
  }

  /** Places of the runs to show, in order. */
  get places() {
    return this.board.places;
  }

  /** The form in which it is shown: where that changes, its frame is built anew. */
  get form() {
    return /** @type {typeof View} */ (this.constructor).key;
  }

  /** What filters and sorts the runs in it. @param {By} by what was chosen in the board */
  ordered(by) {
    return by;
  }

  /** What stands beside the tabs. @returns {string[]} */
  notes() {
    const { by, store } = this.board;
    return by.filter || by.problems ? [`${count(this.places.length)} of ${count(store.batch?.total ?? 0)} shown`] : [];
  }

  /** Its tab was chosen. */
  chosen() {}

  /** Lay runs side by side. @param {number[]} runs */
  compare(runs) {
    void runs;
  }

  /** Build the frame. @param {HTMLElement} body empty */
  enter(body) {
    void body;
  }

  /** The frame is taken away. */
  leave() {
    this.scroller?.close();
    this.scroller = null;
  }

  /** Bring what is in the frame up to date. */
  draw() {}

  /** Follow the place that was scrolled to; false where everything must be drawn. */
  scrolled() {
    this.scroller?.draw(this.scroller.keys);
    return this.scroller !== null;
  }

  /** What is in sight. @returns {Look} */
  look() {
    return { row: this.scroller?.inSight ?? [] };
  }

  /** Something was typed or ticked. @param {string} field its `data-in` @param {HTMLInputElement} el @param {string} kind of event */
  typed(field, el, kind) {
    void [field, el, kind];
  }

  /** A key was pressed, outside of a field; whether Escape did something. @param {KeyboardEvent} e @param {HTMLElement} target @returns {boolean} */
  key(e, target) {
    void [e, target];
    return false;
  }

  /** Ctrl+Enter was pressed in a text. @param {HTMLElement} target */
  sent(target) {
    void target;
  }

  /** Draw items of which only those in sight are in the document. @param {HTMLElement} into @param {ConstructorParameters<typeof Scroller>[1]} of */
  scroll(into, of) {
    into.addEventListener("scroll", () => this.board.schedule(true), { passive: true });
    this.scroller = new Scroller(into, of);
  }

  /** Draw the runs, one of which the keys are at, or say that there are none. */
  drawPlaces() {
    const { board, places } = this;
    if (!places.includes(board.active)) board.active = places[0] ?? -1;
    this.scroller?.draw(places);
    this.sayEmpty();
  }

  sayEmpty() {
    const { by } = this.board;
    this.scroller?.sayEmpty(this.places.length ? "" : by.problems && !by.filter ? "No problems." : "No run matches the filter.");
  }

  /** The keys that go from run to run; whether this was one of them. @param {KeyboardEvent} e */
  moved(e) {
    const { board, places } = this;
    const at = places.indexOf(board.active);
    /** @type {Record<string, number>} */
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + PAGE, PageUp: at - PAGE, Home: 0, End: places.length - 1 };
    const to = moves[e.key];
    if (to === undefined) return false;
    e.preventDefault();
    board.active = places[Math.max(0, Math.min(places.length - 1, to))] ?? board.active;
    this.reveal(board.active);
    return true;
  }

  /** Bring a run into sight, and the keys to it. @param {number} run */
  reveal(run) {
    this.scroller?.reveal(run);
    const node = this.scroller?.drawn.get(run)?.node;
    const row = node?.matches("[tabindex]") ? node : node?.querySelector("[tabindex]");
    /** @type {HTMLElement | null | undefined} */ (row)?.focus({ preventScroll: true });
    this.board.schedule();
  }
}
