// @ts-check
/** What a screen reader is told of a batch. */

/** @import {Store} from "./store.js" */
import { h } from "../shared/elements.js";
import { seconds } from "./clock.js";

export class Voice {
  constructor() {
    this.el = h("div", { class: "cnb-voice", role: "status", "aria-live": "polite" });
    this.said = { at: 0, text: "" };
  }

  /** Say what has changed, seldom enough to be borne. @param {Store} store */
  speak(store) {
    const batch = store.batch;
    if (!batch) return;
    const { done = 0, failed = 0, cancelled = 0 } = batch.counts;
    const parts = [`${done} of ${batch.total} done`];
    if (failed) parts.push(`${failed} failed`);
    if (cancelled) parts.push(`${cancelled} cancelled`);
    const asks = [...store.rows.values()].find((row) => row.waits?.some((w) => w.reason === "person"));
    if (asks) parts.push(`run ${asks.index} needs you`);
    const text = parts.join(", ");
    if (text === this.said.text || (!store.final && seconds() - this.said.at < 15)) return;
    this.said = { at: seconds(), text };
    this.el.textContent = text;
  }
}
