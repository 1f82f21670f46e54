// @ts-check
/** What comes in parts: whole outputs, and files. */

/** @import {FilePart, Row, WholePart} from "./messages.js" */
/** @import {Store} from "./store.js" */
/** @import {Wire} from "./wire.js" */
import { h } from "../shared/elements.js";
import { put } from "./clipboard.js";

export class Parcels {
  /** @param {Store} store @param {Wire} wire @param {() => void} changed called when a whole output has come */
  constructor(store, wire, changed) {
    this.store = store;
    this.wire = wire;
    this.changed = changed;
    /** @type {Map<string, string[]>} parts that have come of what is on its way */
    this.parts = new Map();
    /** @type {Map<string, {row: Row | undefined, text: string | null}>} whole outputs that were asked for; null until they are here */
    this.wholes = new Map();
    /** @type {{run: number, button: HTMLElement} | null} what is put on the clipboard once it is here */
    this.copying = null;
  }

  /** What was on its way went with the one who sent it. */
  reset() {
    for (const [key, { text }] of this.wholes) if (text === null) this.wholes.delete(key);
  }

  /** A whole output; undefined while it is not here. @param {number} run @param {"text"|"html"} form */
  ask(run, form) {
    const key = `${run}:${form}`;
    const row = this.store.rows.get(run);
    const known = this.wholes.get(key);
    if (known?.row === row && known) return known.text ?? undefined;
    if (!this.wire.live) return undefined;
    this.wholes.delete(key);
    this.wholes.set(key, { row, text: null });
    // The oldest go: they may be large.
    for (const old of [...this.wholes.keys()].slice(0, -8)) this.wholes.delete(old);
    this.wire.send({ t: "whole", run, form });
    return undefined;
  }

  /** Put the output of a run on the clipboard, once it is here whole. @param {HTMLElement} el the button @param {number} run @param {boolean} current whether its card is up to date */
  copy(el, run, current) {
    const card = this.store.cards.get(run);
    const here = current && card && !card.left_out ? card.text : this.ask(run, "text");
    if (here === undefined && this.wire.live) {
      this.copying = { run, button: el };
      el.textContent = "Fetching…";
      return;
    }
    const shown = card?.text ?? el.closest(".cnb-output")?.querySelector(".cnb-md")?.textContent ?? "";
    put(el, here ?? shown, here === undefined && (card ?? this.store.details.get(run)?.output)?.left_out ? "Copied in part" : "Copied");
  }

  /** @param {FilePart | WholePart} part */
  came(part) {
    if (part.view !== this.wire.view) return;
    if (part.t === "file") this.file(part);
    else this.whole(part);
  }

  /** Put a part to those that came before; the text, once it is whole, and null where a part of it was lost. @param {string} key @param {FilePart | WholePart} part */
  join(key, part) {
    const parts = part.part === 0 ? [] : (this.parts.get(key) ?? []);
    parts[part.part] = part.text;
    this.parts.set(key, parts);
    if (part.part !== part.parts - 1) return undefined;
    this.parts.delete(key);
    return Object.keys(parts).length === part.parts ? parts.join("") : null;
  }

  /** @param {WholePart} part */
  whole(part) {
    const key = `${part.run}:${part.form}`;
    const text = this.join(key, part);
    const wanted = this.wholes.get(key);
    if (text === null) this.wholes.delete(key); // it is asked for again when it is drawn
    if (text === undefined || text === null || !wanted) return;
    wanted.text = text;
    if (part.form === "text" && this.copying?.run === part.run) {
      put(this.copying.button, text);
      this.copying = null;
    }
    this.changed();
  }

  /** @param {FilePart} part */
  file(part) {
    const text = this.join(part.format, part);
    if (text === null) this.wire.send({ t: "file", format: part.format });
    if (text === undefined || text === null) return;
    const kind = { md: "text/markdown", json: "application/json", csv: "text/csv" }[part.format];
    const url = URL.createObjectURL(new Blob([text], { type: `${kind};charset=utf-8` }));
    const name = (this.store.batch?.name || "results").replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 60);
    h("a", { href: url, download: `${name}.${part.format}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}
