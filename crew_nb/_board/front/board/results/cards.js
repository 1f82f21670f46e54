// @ts-check
/** Results as cards, in lines of as many as there is room for. */

/** @import {Child} from "../../shared/elements.js" */
/** @import {Row} from "../messages.js" */
/** @import {Results} from "./results.js" */
import { coded, h } from "../../shared/elements.js";
import { plural, span } from "../../shared/numbers.js";
import { leftOut, stopped } from "../cut.js";
import { fieldsOf, fieldTable } from "../fields.js";
import { happening } from "../happening.js";
import { sanitized } from "../markdown.js";
import { took } from "../rows.js";
import { FINAL, SIGNS } from "../statuses.js";
import { versionOf } from "../versions.js";
import { View } from "../view.js";

export class Cards extends View {
  /** @override */
  static key = "cards";

  /** @param {Results} results */
  constructor(results) {
    super(results.board);
    this.results = results;
    this.body = h("div");
  }

  /** How many stand side by side. */
  get wide() {
    return Math.max(1, Math.floor((this.body.clientWidth || 800) / 300));
  }

  /** The runs of a line. @param {number} line */
  runsOf(line) {
    return this.places.slice(line * this.wide, (line + 1) * this.wide);
  }

  /** @override */
  look() {
    const seen = (this.scroller?.inSight ?? []).flatMap((line) => this.runsOf(line));
    return { row: seen, card: seen };
  }

  /** @override @param {HTMLElement} body */
  enter(body) {
    this.body = body;
    const view = h("div", { class: "cnb-scroll cnb-cards", role: "list", "aria-label": "Results" });
    body.append(view);
    this.scroll(view, { height: () => 212, build: (line) => this.line(line), stamp: (line) => this.stamp(line) });
  }

  /** @override */
  draw() {
    const lines = Math.ceil(this.places.length / this.wide);
    this.scroller?.draw(Array.from({ length: lines }, (_, line) => line));
    this.sayEmpty();
  }

  /** What a line is drawn from. @param {number} line */
  stamp(line) {
    const { rows, cards } = this.store;
    const shown = this.runsOf(line);
    const ticking = shown.some((i) => !FINAL.has(rows.get(i)?.status ?? "done")) ? Math.floor(this.now) : 0;
    return [this.wide, ticking, ...shown.map((i) => `${i}:${versionOf(rows.get(i))}:${versionOf(cards.get(i))}:${this.results.picked.indexOf(i)}`)].join();
  }

  /** @param {number} line */
  line(line) {
    const columns = `grid-template-columns:repeat(${this.wide},minmax(0,1fr))`;
    return h("div", { class: "cnb-cardline", role: "presentation", style: columns }, this.runsOf(line).map((i) => this.card(i)));
  }

  /** @param {number} i */
  card(i) {
    const row = this.store.rows.get(i);
    const card = this.store.cards.get(i);
    const status = row?.status ?? "queued";
    const name = this.board.named(i);
    const ended = FINAL.has(status);
    const structured = fieldsOf(card);
    const time = row ? took(row, this.now) : undefined;
    return h(
      "article",
      { class: "cnb-card", role: "listitem", "data-key": `card${i}`, "data-s": status, "aria-label": `Run ${i}, ${name}` },
      h(
        "header",
        {},
        h("label", {}, h("input", { type: "checkbox", "data-in": "pick", "data-run": i, checked: this.results.picked.includes(i), "aria-label": `Compare run ${i}` }), h("i", { "data-s": status, title: status }, SIGNS[status] ?? ""), h("small", {}, String(i)), h("bdi", { title: row?.label ?? name }, name)),
      ),
      h(
        "div",
        { class: "cnb-cardbody", tabindex: 0, role: "region", "aria-label": `Output of run ${i}` },
        structured ? fieldTable(structured) : card?.html ? sanitized(card.html) : null,
        card?.left_out ? leftOut(card) : null,
        card?.error ? h("p", { class: "cnb-bad" }, card.error) : null,
        status === "cancelled" ? h("p", { class: "cnb-quiet" }, stopped(card?.stopped)) : null,
        card?.hint ? h("p", { class: "cnb-quiet" }, ...coded(card.hint)) : null,
        !ended && row ? this.speech(row) : null,
        ended && status !== "cancelled" && !card?.text && !card?.error ? h("p", { class: "cnb-quiet" }, this.live && !card ? "…" : status) : null,
      ),
      h(
        "footer",
        {},
        h("span", {}, [time === undefined ? "" : span(time), row?.tokens ? plural(row.tokens, "token") : ""].filter(Boolean).join(" · ")),
        card?.text ? h("button", { type: "button", "data-act": "copy", "data-run": i, "aria-label": `Copy the output of run ${i}` }, "Copy") : null,
        h("button", { type: "button", "data-act": "show", "data-run": i, "aria-label": `Open run ${i}` }, "Open"),
      ),
    );
  }

  /** What a run that has not ended has to say, task by task: the end of its words. @param {Row} row @returns {Child[]} */
  speech(row) {
    const specs = this.store.specsOf(row);
    const speaking = (row.tasks ?? []).flatMap((task, i) => (task.text && (task.status === "running" || task.status === "waiting") ? [{ text: task.text, i }] : []));
    if (row.status !== "running" || !speaking.length) {
      const said = row.status === "queued" ? ["queued"] : happening(row, specs, this.now);
      return [h("p", { class: "cnb-quiet cnb-doing" }, ...said)];
    }
    return speaking.map(({ text, i }) => h("p", { class: "cnb-tail", "data-key": `tail${i}` }, h("small", {}, h("bdi", {}, specs[i]?.name ?? "")), " ", h("bdi", { class: "cnb-caret" }, text)));
  }
}
