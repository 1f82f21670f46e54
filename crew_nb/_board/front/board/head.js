// @ts-check
/** The head of a board: how the batch as a whole goes, and what can be done with it. */

/** @import {Child} from "../shared/elements.js" */
/** @import {Board} from "./board.js" */
/** @import {Batch} from "./messages.js" */
import { action, coded, h } from "../shared/elements.js";
import { clock, count, money, plural } from "../shared/numbers.js";
import { seconds } from "./clock.js";
import { morph } from "./morph.js";
import { SIGNS, STATUSES } from "./statuses.js";

export class Head {
  /** @param {Board} board */
  constructor(board) {
    this.board = board;
    this.store = board.store;
    this.el = h("div", { class: "cnb-head" });
  }

  get live() {
    return this.board.wire.live;
  }

  draw() {
    morph(this.el, this.drawn());
  }

  drawn() {
    const { batch } = this.store;
    const head = h("div", { class: "cnb-head" });
    if (!batch) {
      head.append(h("div", { class: "cnb-title" }, h("strong", {}, "crew_nb")));
      return head;
    }
    const counts = batch.counts;
    const ended = (counts.done ?? 0) + (counts.failed ?? 0) + (counts.cancelled ?? 0);
    const again = (counts.failed ?? 0) + (counts.cancelled ?? 0);
    const over = this.store.over;
    const which = [counts.failed ? "failed" : "", counts.cancelled ? "stopped" : ""].filter(Boolean).join(" and ");
    // It stays while it is at work and has the focus, which would else be lost.
    const stays = (/** @type {string} */ key) => this.board.held?.dataset.key === key && this.el.contains(this.board.held);
    const chips = STATUSES.filter((s) => counts[s]).map((s) =>
      h("span", { class: "cnb-chip", "data-s": s }, h("i", { "aria-hidden": "true" }, SIGNS[s] ?? ""), h("b", {}, count(counts[s] ?? 0)), ` ${s}`),
    );
    head.append(
      h(
        "div",
        { class: "cnb-title" },
        h("strong", { "data-key": "name", dir: "auto", title: batch.name }, batch.name || "batch"),
        batch.offline ? h("span", { class: "cnb-tag", "data-key": "offline", title: "The words come from OfflineLLM: no key, no network" }, "offline LLM") : null,
        batch.paused ? h("span", { class: "cnb-tag", "data-key": "paused", "data-s": "waiting" }, "paused") : null,
        h("span", { class: "cnb-chips", "data-key": "chips" }, chips),
        h(
          "span",
          { class: "cnb-acts", "data-key": "acts" },
          !over && action("pause", { "data-act": batch.paused ? "resume" : "pause" }, batch.paused ? "Resume" : "Pause", !this.live),
          !over && action("stop", { "data-act": "stop", class: "cnb-stop" }, this.stopping() ? "Stopping…" : "Stop", !this.live || this.stopping()),
          again && ended
            ? action("retry", { "data-act": "retry-all" }, `Retry ${which} (${count(again)})`, !this.live)
            : !over && stays("retry") && action("retry", {}, "Retrying…", true),
        ),
      ),
      this.progress(ended),
      this.figures(),
    );
    const notes = batch.notes.map((note) => h("p", { class: "cnb-note", dir: "auto" }, ...coded(note)));
    if (batch.dropped_calls)
      notes.push(h("p", { class: "cnb-note" }, `${plural(batch.dropped_calls, "call")} could not be stopped; the answers are dropped.`));
    if (!this.live && !this.store.final) notes.push(h("p", { class: this.board.wire.gone ? "cnb-note cnb-gone" : "cnb-note" }, ...coded(this.board.silence())));
    head.append(...notes);
    return head;
  }

  stopping() {
    const counts = this.store.batch?.counts ?? {};
    return Boolean(counts.cancelling) && !counts.running && !counts.queued && !counts.waiting;
  }

  /** @param {number} ended */
  progress(ended) {
    const batch = /** @type {Batch} */ (this.store.batch);
    const share = batch.total ? ended / batch.total : 1;
    const bar = h("div", {
      class: "cnb-progress",
      role: "progressbar",
      "aria-valuemin": 0,
      "aria-valuemax": batch.total,
      "aria-valuenow": ended,
      "aria-valuetext": `${ended} of ${batch.total} ended`,
      "aria-label": "Runs that have ended",
    });
    // What has ended stands first, in full colour; what is under way comes after it, paler.
    for (const s of ["done", "failed", "cancelled", "unknown", "cancelling", "running", "waiting"])
      if (batch.counts[s])
        bar.append(h("span", { "data-key": s, "data-s": s, style: `width:${(100 * (batch.counts[s] ?? 0)) / batch.total}%` }));
    bar.dataset.share = String(Math.floor(share * 100));
    return bar;
  }

  figures() {
    const batch = /** @type {Batch} */ (this.store.batch);
    const { done = 0 } = batch.counts;
    const since = seconds() - this.store.heard;
    const final = this.store.over;
    const figure = (/** @type {Child} */ value, /** @type {Child} */ what, title = "") =>
      h("div", { class: "cnb-figure", title: title || null }, h("b", {}, value), h("span", {}, what));
    const row = h("div", { class: "cnb-figures" });
    row.append(
      figure(`${Math.floor((100 * done) / Math.max(1, batch.total))} %`, `${count(done)} of ${count(batch.total)} done`),
      figure(clock(batch.elapsed + (final || !this.live ? 0 : since)), "elapsed"),
    );
    if (!final)
      row.append(
        batch.eta === null
          ? figure("–", batch.paused ? "paused" : "left, not known yet")
          : figure(`~${clock(Math.max(0, batch.eta - since))}`, "left", "Learned from the runs that have finished"),
      );
    if (batch.speedup !== null && batch.speedup >= 1.05) {
      const title = "The time that the runs worked, their waits left out, by the time in which they did";
      row.append(
        h("div", { class: "cnb-figure cnb-fast", title }, h("b", {}, `${batch.speedup.toFixed(1)}×`), h("span", {}, "faster than one by one")),
      );
    }
    row.append(figure(count(batch.tokens), batch.saved ? "tokens spent" : "tokens"));
    if (batch.saved) {
      const from = batch.from_record ? `; ${plural(batch.from_record, "run")} from the record` : "";
      row.append(figure(count(batch.saved), "saved", `Tokens that were spent before, and not asked for again${from}`));
    }
    const unpriced = batch.unpriced_calls ? `${plural(batch.unpriced_calls, "call")} of unknown price` : "";
    if (batch.cost)
      row.append(
        figure(
          money(batch.cost) + (unpriced ? " +" : ""),
          batch.projected_cost !== null && !final ? `of ~${money(batch.projected_cost)}` : unpriced ? `and ${unpriced}` : "cost",
          unpriced && `and ${unpriced}`,
        ),
      );
    if (!final) {
      const flying = figure(
        count(batch.in_flight),
        batch.in_flight === 1 ? "call in flight" : "calls in flight",
        [batch.limit ? `at most ${plural(batch.limit, "run")} at once` : "", batch.limit_reason].filter(Boolean).join("; "),
      );
      flying.classList.add("cnb-flight");
      row.append(flying);
    }
    return row;
  }
}
