// @ts-check
import { h } from "../shared/elements.js";
import { morph } from "./morph.js";

/** Rows of which only those in sight are in the document. */
export class Scroller {
  /**
   * @param {HTMLElement} view the element that scrolls
   * @param {{height: (key: number) => number, build: (key: number) => HTMLElement, stamp: (key: number) => string}} of
   */
  constructor(view, of) {
    this.view = view;
    this.of = of;
    this.space = h("div", { class: "cnb-space", role: "presentation" });
    view.append(this.space);
    /** @type {number[]} */
    this.keys = [];
    /** @type {Map<number, {node: HTMLElement, stamp: string}>} */
    this.drawn = new Map();
    /** @type {Map<number, number>} heights of rows that are taller than usual, as measured */
    this.measured = new Map();
    /** @type {number[]} */
    this.tops = [0];
    /** @type {number[]} keys in sight */
    this.inSight = [];
    this.watcher = new ResizeObserver((entries) => {
      let moved = false;
      for (const entry of entries) {
        const key = Number(/** @type {HTMLElement} */ (entry.target).dataset.item);
        const tall = entry.borderBoxSize[0]?.blockSize ?? 0;
        if (tall && Math.abs(tall - this.tall(key)) > 0.5) {
          this.measured.set(key, tall);
          moved = true;
        }
      }
      if (!moved) return;
      this.draw(this.keys);
      if (this.measured.has(this.opened)) this.unfold();
    });
    /** The row that has just been opened, until it is in sight as far as it fits; -1 for none. */
    this.opened = -1;
  }

  /** Scroll as little as shows the row that was opened, its head first. */
  unfold() {
    const at = this.keys.indexOf(this.opened);
    this.opened = -1;
    const [top, bottom] = [this.tops[at] ?? 0, this.tops[at + 1] ?? 0];
    const scrolled = Math.min(top, bottom - this.view.clientHeight);
    if (at < 0 || scrolled <= this.view.scrollTop) return;
    this.view.scrollTop = scrolled;
    this.draw(this.keys);
  }

  /** @param {number} key */
  tall(key) {
    return this.measured.get(key) ?? this.of.height(key);
  }

  /** @param {number[]} keys */
  draw(keys) {
    this.keys = keys;
    // Hidden (another tab of the front end, a theme that is loading) nothing has a height; what is drawn stays right.
    if (this.view.checkVisibility?.() === false && this.drawn.size) return;
    const anchor = this.view.scrollTop;
    this.tops = [0];
    for (const key of keys) this.tops.push((this.tops[this.tops.length - 1] ?? 0) + this.tall(key));
    const total = this.tops[keys.length] ?? 0;
    if (this.space.style.height !== `${total}px`) this.space.style.height = `${total}px`;
    const [top, bottom] = [anchor - 120, anchor + (this.view.clientHeight || 400) + 120];
    let first = this.find(top);
    this.inSight = [];
    /** @type {Set<number>} */
    const kept = new Set();
    for (; first < keys.length && (this.tops[first] ?? 0) < bottom; first++) {
      const key = /** @type {number} */ (keys[first]);
      this.inSight.push(key);
      kept.add(key);
      this.place(key, this.tops[first] ?? 0);
    }
    const focused = this.view.ownerDocument.activeElement;
    for (const [key, { node }] of this.drawn)
      if (!kept.has(key)) {
        // The row with the focus stays in the document, or the keyboard would be lost when it scrolls out of sight.
        const at = keys.indexOf(key);
        if (at >= 0 && node.contains(focused)) this.place(key, this.tops[at] ?? 0);
        else {
          this.watcher.unobserve(node);
          node.remove();
          this.drawn.delete(key);
        }
      }
  }

  /** The first row that reaches below `y`. @param {number} y */
  find(y) {
    let [low, high] = [0, this.keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.tops[middle + 1] ?? 0) < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @param {number} key @param {number} top */
  place(key, top) {
    const stamp = this.of.stamp(key);
    let known = this.drawn.get(key);
    if (!known || known.stamp !== stamp) {
      const node = this.of.build(key);
      node.dataset.item = String(key);
      if (known) {
        node.style.transform = known.node.style.transform;
        morph(known.node, node);
        known.stamp = stamp;
      } else {
        this.space.append(node);
        known = { node, stamp };
        this.drawn.set(key, known);
        this.watcher.observe(node);
      }
    }
    const moved = `translateY(${top}px)`;
    if (known.node.style.transform !== moved) known.node.style.transform = moved;
  }

  /** Bring a row into sight. @param {number} key */
  reveal(key) {
    const at = this.keys.indexOf(key);
    if (at < 0) return;
    const [top, bottom] = [this.tops[at] ?? 0, (this.tops[at] ?? 0) + Math.min(this.tall(key), 60)];
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (bottom > this.view.scrollTop + this.view.clientHeight) this.view.scrollTop = bottom - this.view.clientHeight;
    this.draw(this.keys);
  }

  /** What stands where no row does. @param {string} words */
  sayEmpty(words) {
    if (this.space.dataset.empty !== words) this.space.dataset.empty = words;
  }

  close() {
    this.watcher.disconnect();
  }
}
