// @ts-check
/** @import {Model} from "../shared/model.js" */

/**
 * What the form holds. It comes in messages and is no state of the widget, which some front ends save with the notebook.
 * To a view it is what a widget's model is.
 */
export class Words {
  /** @param {Model} model @param {() => void} ready called once, when everything is here */
  constructor(model, ready) {
    this.model = model;
    this.view = `${Math.random().toString(36).slice(2)}`;
    /** @type {Record<string, any> | null} */
    this.known = null;
    /** What was set here and Python has not been told yet. @type {Record<string, any>} */
    this.fresh = {};
    /** @type {[string, Function][]} */
    this.listeners = [];
    this.onMessage = (/** @type {any} */ content) => {
      if (content?.t !== "words" || content.but === this.view) return;
      if (content.view === undefined) {
        for (const [name, value] of Object.entries(content.words)) this.put(name, value);
      } else if (content.view === this.view && !this.known) {
        this.known = content.words;
        ready();
      }
    };
    model.on("msg:custom", this.onMessage);
  }

  /** Ask for everything. */
  hello() {
    this.send({ t: "hello" });
  }

  /** @param {string} name */
  get(name) {
    return this.known && name in this.known ? this.known[name] : this.model.get(name);
  }

  /** @param {string} name @param {any} value */
  put(name, value) {
    if (!this.known || JSON.stringify(this.known[name]) === JSON.stringify(value)) return;
    this.known[name] = value;
    for (const [event, callback] of [...this.listeners]) if (event === `change:${name}`) callback();
  }

  /** @param {string} name @param {any} value */
  set(name, value) {
    if (JSON.stringify(this.get(name)) === JSON.stringify(value)) return;
    this.fresh[name] = value;
    this.put(name, value);
  }

  save_changes() {
    if (Object.keys(this.fresh).length) this.send({ t: "typed", words: this.fresh });
    this.fresh = {};
  }

  /** @param {object} content */
  send(content) {
    try {
      this.model.send({ ...content, view: this.view });
    } catch {
      // Without a kernel there is nobody to hear it.
    }
  }

  /** @param {string} name @param {Function} callback */
  on(name, callback) {
    this.listeners.push([name, callback]);
  }

  /** @param {string} name @param {Function} callback */
  off(name, callback) {
    this.listeners = this.listeners.filter(([known, f]) => known !== name || f !== callback);
  }

  close() {
    this.model.off("msg:custom", this.onMessage);
  }
}
