// @ts-check
/** The line to Python: what a view asks and does, and whether anybody answers. */

/** @import {Model} from "../shared/model.js" */
/** @import {FilePart, Tick, WholePart} from "./messages.js" */
/** @import {Store} from "./store.js" */
import { seconds } from "./clock.js";

/**
 * What of the batch is in sight, so that only that is sent: places of runs, and how many lines of the log.
 * @typedef {{row?: number[], detail?: number[], lane?: number[], card?: number[], log?: number, means?: boolean}} Look
 * @typedef {{look(): Look, changed(): void, told(): void, gone(): void, beat(): void, came(part: FilePart | WholePart): void,
 *   reset(): void}} Ears
 */

/** Seconds that the kernel has to answer before that is said. */
export const PATIENCE = 4;
/** Events of ipywidgets' model after which there may be nobody to talk to. */
const LOSSES = ["comm_live_update", "comm:close"];
/** What JupyterLab says of a kernel with which all that ran has gone. */
const DEAD = /^(restarting|autorestarting|terminating|dead)$/;
/** Places of each kind that one view may look at. */
const SEEN = { row: 64, detail: 16, lane: 64, card: 64 };

export class Wire {
  /** @param {Model} model @param {Store} store @param {string} view its name @param {Ears} ears */
  constructor(model, store, view, ears) {
    this.model = model;
    this.store = store;
    this.view = view;
    this.ears = ears;
    this.live = false;
    /** Since when it has not been live. */
    this.since = seconds();
    /** When something first said that the kernel may have gone; 0 for nothing did. */
    this.doubted = 0;
    /** Whether it is known that it has gone. */
    this.dead = false;
    this.looked = "";
    this.asked = 0;
    /** How many messages were sent: each has its number, as some front ends hand it on twice. */
    this.sent = 0;
    /** When the pointer or a key was last used in the view, and when the kernel was last told so. */
    this.used = 0;
    this.said = 0;
    this.timer = setInterval(() => this.beat(), 1000);
    this.onMessage = (/** @type {any} */ content) => this.message(content);
    model.on("msg:custom", this.onMessage);
    // ipywidgets says so, with nothing but the name of the event, when a kernel restarts, dies, or closes the comm.
    this.onLoss = (/** @type {unknown} */ more) => more === undefined && this.doubt();
    for (const name of LOSSES) model.on(name, this.onLoss);
  }

  close() {
    this.send({ t: "bye" });
    this.model.off("msg:custom", this.onMessage);
    for (const name of LOSSES) this.model.off(name, this.onLoss);
    clearInterval(this.timer);
  }

  /** @param {object} content */
  send(content) {
    try {
      this.model.send({ view: this.view, n: ++this.sent, ...content });
    } catch {
      // Without a kernel there is nobody to hear it; the view says so by itself.
      this.miss();
    }
  }

  /** There may be no kernel any longer. */
  miss() {
    if (this.live) this.since = seconds();
    this.live = false;
    this.doubted ||= seconds();
  }

  /** There may be no kernel any longer: ask, and believe it where no answer comes. */
  doubt() {
    this.miss();
    this.dead ||= DEAD.test(this.model.widget_manager?.kernel?.status ?? "");
    if (this.dead) this.lose();
    this.hello();
    this.ears.changed();
  }

  /** What ran has gone with the kernel. */
  lose() {
    if (!this.store.batch || this.store.over) return;
    this.store.lose();
    this.ears.gone();
  }

  /** Whether the kernel has gone, as far as can be seen from here. */
  get gone() {
    return !this.live && this.doubted > 0 && (this.dead || seconds() - this.doubted > PATIENCE);
  }

  hello() {
    this.asked = seconds();
    this.ears.reset();
    this.send({ t: "hello", ...this.look() });
  }

  look() {
    const { row = [], detail = [], lane = [], card = [], log = 0, means = false } = this.ears.look();
    return {
      row: row.slice(0, SEEN.row),
      detail: detail.slice(-SEEN.detail),
      lane: lane.slice(0, SEEN.lane),
      card: card.slice(0, SEEN.card),
      log,
      means,
    };
  }

  /** Say what is in sight where that has changed; `anew` says it in any case. */
  tell(anew = false) {
    const look = this.look();
    const text = JSON.stringify(look);
    if (text === this.looked && !anew) return;
    this.looked = text;
    this.send({ t: "look", ...look });
  }

  /** @param {any} content */
  message(content) {
    if (content?.t === "who") {
      // Nothing else shows this batch: Python asks whether this view still does.
      if (this.live) this.tell(true);
      return;
    }
    if (content?.t === "file" || content?.t === "whole") {
      if (this.live && !this.store.follows(content.revision)) this.again();
      this.ears.came(content);
      return;
    }
    if (content?.t !== "tick") return;
    if (!this.live && !content.full) return;
    if (!this.store.apply(content, seconds())) {
      this.again();
      return;
    }
    if (!this.live) {
      this.live = true;
      this.doubted = 0;
      this.dead = false;
      this.looked = "";
    }
    this.ears.changed();
    this.ears.told();
  }

  /** A message was lost: ask for everything. */
  again() {
    if (seconds() - this.asked > 0.5) this.hello();
  }

  beat() {
    this.ears.beat();
    // Whoever reads along keeps the board live.
    if (this.live && this.used > this.said + 15) {
      this.said = this.used;
      this.send({ t: "here" });
    }
    const { final } = this.store;
    if (!this.live && !final && seconds() - this.asked > (this.gone ? 30 : 5)) this.hello();
    // Nothing is answered to it: where there is nobody to send it to, that is heard of.
    if (this.live && !final && seconds() - this.store.heard > 5) this.send({ t: "ping" });
    if (this.gone) this.lose();
    if (!final) this.ears.changed();
  }

  /** @param {string} name @param {object} [args] */
  command(name, args = {}) {
    this.send({ t: "do", name, ...args });
  }
}
