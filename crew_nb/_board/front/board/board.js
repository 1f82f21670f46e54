// @ts-check
/** The frame of a board: its head, its tabs, and in the body the view that was chosen. */

/** @import {Model} from "../shared/model.js" */
/** @import {By} from "./rows.js" */
/** @import {View} from "./view.js" */
import { coded, h } from "../shared/elements.js";
import { takeKeys } from "../shared/keys.js";
import { followTheme } from "../shared/theme.js";
import { seconds } from "./clock.js";
import { Head } from "./head.js";
import { Parcels } from "./parcels.js";
import { called, INPUT, order } from "./rows.js";
import { Store } from "./store.js";
import { Tabs } from "./tabs.js";
import { Tip } from "./tip.js";
import { VIEWS } from "./views.js";
import { Voice } from "./voice.js";
import { PATIENCE, Wire } from "./wire.js";

let boards = 0;

/** One board in the page; it holds what its views have in common. */
export class Board {
  /** @param {Model} model @param {HTMLElement} el */
  constructor(model, el) {
    this.id = `cnb${++boards}-${Math.random().toString(36).slice(2, 10)}`;
    this.store = new Store();
    this.wire = new Wire(model, this.store, this.id, {
      look: () => this.view.look(),
      changed: () => this.schedule(),
      told: () => this.voice.speak(this.store),
      gone: () => (this.voice.el.textContent = "The kernel has gone"),
      beat: () => this.theme(),
      came: (part) => this.parcels.came(part),
      reset: () => this.parcels.reset(),
    });
    this.parcels = new Parcels(this.store, this.wire, () => this.schedule());
    /** @type {By} */
    this.by = { sort: "#", down: false, filter: "", problems: false };
    /** @type {Set<number>} runs that are open */
    this.open = new Set();
    /** The run that the keys are at. */
    this.active = -1;
    /** @type {number[]} */
    this.places = [];
    this.now = 0;
    this.frame = 0;
    this.stale = true;

    this.stop = new AbortController();
    const { signal } = this.stop;
    this.root = h("section", { class: "crew-nb cnb-board", "aria-label": "crew_nb board" });
    this.body = h("div", { class: "cnb-body", role: "tabpanel", id: `${this.id}-panel` });
    this.head = new Head(this);
    this.tabs = new Tabs(this);
    this.tip = new Tip(this.root, signal);
    this.voice = new Voice();
    /** @type {Record<string, View>} */
    this.views = Object.fromEntries(VIEWS.map((kind) => [kind.key, new kind(this)]));
    this.tab = VIEWS[0]?.key ?? "";
    /** What the buttons outside of the views do, and those that several views have. @type {import("./view.js").Acts} */
    this.acts = {
      tab: (_, el) => this.go(el.dataset.tab ?? this.tab),
      pause: () => this.wire.command("pause"),
      resume: () => this.wire.command("resume"),
      stop: () => this.wire.command("cancel"),
      "retry-all": () => this.wire.command("retry"),
      copy: (run, el) => this.parcels.copy(el, run, this.view.look().card?.includes(run) ?? false),
      show: (run) => this.show(run),
    };
    this.body.setAttribute("aria-labelledby", this.tabs.id(this.tab));
    this.root.append(this.head.el, this.tabs.el, this.body, this.tip.el, this.voice.el);
    el.append(this.root);

    const on = (/** @type {string} */ name, /** @type {(e: any) => void} */ does) => this.root.addEventListener(name, does, { signal });
    on("click", (e) => this.clicked(e));
    on("input", (e) => this.typed(e));
    on("change", (e) => this.typed(e));
    on("pointermove", () => (this.wire.used = seconds()));
    on("focusin", (e) => this.focused(e));
    on("focusout", (e) => this.head.el.contains(e.target) && this.schedule());
    takeKeys(this.root, signal, (e) => this.key(e));
    this.theme = followTheme(this.root, signal, () => this.schedule());
    const frozen = model.get("frozen");
    if (frozen?.batch) this.store.apply(frozen, seconds());
    this.wire.hello();
    this.schedule();
  }

  close() {
    this.wire.close();
    this.stop.abort();
    this.view.leave();
    cancelAnimationFrame(this.frame);
    this.root.remove();
  }

  /** The view that is shown. */
  get view() {
    return /** @type {View} */ (this.views[this.tab]);
  }

  // ------------------------------------------------------------------------------------------------------------- drawing

  /** Draw with the next frame. @param {boolean} [scrolled] nothing but the place that is looked at has changed */
  schedule(scrolled = false) {
    if (!scrolled) this.stale = true;
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    this.now = this.store.now(seconds());
    if (!this.stale && this.view.scrolled()) {
      this.wire.tell();
      return;
    }
    this.stale = false;
    const held = this.held;
    const { tab } = this.body.dataset;
    const item = /** @type {HTMLElement | null | undefined} */ (held?.closest("[data-item]"))?.dataset.item;
    this.drawAll();
    if (held && !held.isConnected) this.refocus(held, tab === this.tab ? item : undefined);
  }

  /** What has the focus, if it is in the board. @returns {HTMLElement | null} */
  get held() {
    const focused = /** @type {Document | ShadowRoot} */ (this.root.getRootNode()).activeElement;
    return focused && this.root.contains(focused) ? /** @type {HTMLElement} */ (focused) : null;
  }

  /** What had the focus has gone: on to the same elsewhere, its row, or the tab. @param {HTMLElement} held @param {string | undefined} item */
  refocus(held, item) {
    const { act = "", run } = held.dataset;
    const name = { compare: "compare-end", "compare-end": "compare" }[act] ?? act;
    const same = name && this.root.querySelector(`[data-act="${name}"]:not(:disabled)${run === undefined ? "" : `[data-run="${run}"]`}`);
    const row = item === undefined ? null : this.root.querySelector(`[data-item="${item}"] .cnb-row`);
    const next = /** @type {HTMLElement | null} */ (same || row);
    if (next) next.focus({ preventScroll: true });
    else this.tabs.focus();
  }

  drawAll() {
    const { batch, rows } = this.store;
    this.head.draw();
    // Before the tabs, which say how many are shown.
    if (batch) this.places = order(batch.total, rows, this.view.ordered(this.by), this.now);
    this.tabs.draw();
    if (!batch) {
      this.body.replaceChildren(h("p", { class: "cnb-empty" }, ...coded(this.silence())));
      return;
    }
    this.body.setAttribute("aria-labelledby", this.tabs.id(this.tab));
    if (this.body.dataset.tab !== this.view.form) this.enter();
    this.view.draw();
    this.wire.tell();
  }

  /** Build the frame of a view, once it is shown. */
  enter() {
    for (const view of Object.values(this.views)) view.leave();
    this.body.replaceChildren();
    this.body.dataset.tab = this.view.form;
    this.wire.looked = "";
    this.view.enter(this.body);
  }

  /** What is said while Python says nothing. */
  silence() {
    const { wire } = this;
    if (wire.gone) return `The kernel has gone; what finished is in the record: \`cnb.load(${JSON.stringify(this.store.batch?.name || this.store.batch?.key || "…")})\` or \`resume=True\`.`;
    return seconds() - wire.since > PATIENCE ? "No answer from the kernel yet. The board comes back when it answers." : "Connecting…";
  }

  /** Whether it is at most so wide. @param {number} pixels */
  within(pixels) {
    return this.root.clientWidth > 0 && this.root.clientWidth <= pixels;
  }

  /** What a run is called. @param {number} run */
  named(run) {
    return called(this.store.rows.get(run)) || `run ${run}`;
  }

  /** What the runs are sorted by. */
  get sorted() {
    const { sort } = this.by;
    return sort.startsWith(INPUT) ? sort.slice(INPUT.length) : sort;
  }

  // ------------------------------------------------------------------------------------------------------------ what people do

  /** @param {MouseEvent} e */
  clicked(e) {
    const target = /** @type {HTMLElement} */ (e.target);
    const el = /** @type {HTMLElement | null} */ (target.closest("[data-act]"));
    if (!el || el.hasAttribute("disabled") || el.getAttribute("aria-disabled") === "true") return;
    const act = el.dataset.act ?? "";
    (this.acts[act] ?? this.view.acts[act])?.(Number(el.dataset.run), el);
  }

  /** To the view of a tab. @param {string} tab */
  go(tab) {
    this.tab = tab;
    this.view.chosen();
    this.stale = true;
    this.tip.hide();
    this.draw();
  }

  /** Lay runs side by side, in the view for that. @param {number[]} runs */
  compare(runs) {
    this.go("results");
    this.view.compare(runs);
  }

  /** Open a run in the first view, whose rows can be opened. @param {number} run */
  show(run) {
    this.open.add(run);
    this.active = run;
    this.go(VIEWS[0]?.key ?? this.tab);
    this.view.reveal(run);
  }

  /** @param {Event} e */
  typed(e) {
    const el = /** @type {HTMLInputElement} */ (e.target);
    const field = el.dataset.in;
    if (!field) return;
    if (field === "filter") this.by = { ...this.by, filter: el.value };
    else if (field === "problems") this.by = { ...this.by, problems: el.checked };
    else this.view.typed(field, el, e.type);
    this.schedule();
  }

  /** Whether Escape did something. @param {KeyboardEvent} e */
  key(e) {
    this.wire.used = seconds();
    const target = /** @type {HTMLElement} */ (e.composedPath()[0]);
    if (target.matches("input, textarea, select") || e.altKey || (e.ctrlKey && e.key !== "Enter") || e.metaKey) {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey) && target.matches("textarea")) this.view.sent(target);
      // What is searched for is emptied by it first.
      return target.matches("[type=search]") && /** @type {HTMLInputElement} */ (target).value !== "";
    }
    const tipped = e.key === "Escape" && this.tip.hide();
    if (target.getAttribute("role") !== "tab") return this.view.key(e, target) || tipped;
    this.tabs.key(e);
    return tipped;
  }

  /** @param {FocusEvent} e */
  focused(e) {
    const row = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (e.target).closest("[role=row][data-run], .cnb-lane[data-run]"));
    if (!row || this.active === Number(row.dataset.run)) return;
    this.active = Number(row.dataset.run);
    this.schedule();
  }
}
