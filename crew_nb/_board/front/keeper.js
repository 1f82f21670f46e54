// @ts-check
/**
 * What a notebook's file keeps of a live output. The page shows the widget, and the file gets static HTML: a widget that
 * is saved is an error message where there is no kernel. When the page is loaded again while the kernel runs, the widget
 * is put back where the file says that it was.
 *
 * JupyterLab and Notebook 7 keep an output twice: what is shown (`cell.outputs`), and what is saved (`cell.sharedModel`).
 * Elsewhere nothing is done here.
 */

/**
 * @typedef {{output_type: string, data: Record<string, any>, metadata?: any}} Output
 * @typedef {{type: string, data?: Record<string, any>, metadata?: any, toJSON(): Output}} Shown
 * @typedef {{outputs?: {length: number, get(n: number): Shown, set(n: number, output: object): void}, sharedModel: any}} Cell
 * @typedef {{connect(slot: Function): void, disconnect(slot: Function): void}} Signal
 * @typedef {{saveState: Signal, ready: Promise<void>, isDisposed: boolean,
 *   model: {cells: Iterable<Cell>, dirty: boolean}}} Context
 * @typedef {{get(name: string): any, widget_manager?: any, on(name: string, callback: Function): void,
 *   off(name: string, callback: Function): void}} Model
 */

const WIDGET = "application/vnd.jupyter.widget-view+json";

/** Looks after the outputs of one live widget, in one page. */
export class Keeper {
  /** @param {Model} model @param {Context} context */
  constructor(model, context) {
    this.model = model;
    this.context = context;
    this.onSave = (/** @type {unknown} */ _, /** @type {string} */ state) => this.saving(state);
    this.onLive = () => this.settle();
    this.onData = () => {
      // It is worth saving again: an autosave leaves out what is not dirty.
      if (!this.outputs().next().done) this.context.model.dirty = true;
    };
    context.saveState.connect(this.onSave);
    model.on("change:live", this.onLive);
    model.on("change:data", this.onData);
    context.ready.then(() => this.settle());
  }

  /** The widget is gone with its kernel: what it showed stays. */
  close() {
    this.context.saveState.disconnect(this.onSave);
    this.model.off("change:live", this.onLive);
    this.model.off("change:data", this.onData);
    if (!this.context.isDisposed) this.retire();
  }

  /** Our outputs in the page, each with its cell and its place there. @returns {Generator<[Cell, number, Output]>} */
  *outputs() {
    const key = this.model.get("key");
    for (const cell of this.context.model?.cells ?? [])
      for (let n = 0; n < (cell.outputs?.length ?? 0); n++) {
        const shown = cell.outputs?.get(n);
        if (shown && shown.metadata?.crew_nb === key) yield [cell, n, shown.toJSON()];
      }
  }

  /** The output as it is to be saved. @param {Output} output @returns {Output} */
  still(output) {
    const data = { ...output.data, ...this.model.get("data") };
    delete data[WIDGET];
    return { ...output, data };
  }

  /** Live or static, as the kernel says. */
  settle() {
    if (!this.model.get("live")) return this.retire();
    const { dirty } = this.context.model;
    const widget = this.model.get("widget");
    for (const [cell, n, output] of this.outputs())
      if (!(WIDGET in output.data)) cell.outputs?.set(n, { ...output, data: { ...output.data, [WIDGET]: widget } });
    this.context.model.dirty = dirty;
  }

  /** Put static output in the place of the widget, in the page too. */
  retire() {
    for (const [cell, n, output] of this.outputs()) if (WIDGET in output.data) cell.outputs?.set(n, this.still(output));
  }

  /** Only what is saved is changed, and only while it is. @param {string} state */
  saving(state) {
    const { dirty } = this.context.model;
    for (const [cell, n, output] of this.outputs())
      if (WIDGET in output.data) {
        const saved = state === "started" ? this.still(output) : output;
        // The word keeps the change from being shown (CodeCellModel), and from being undone by Ctrl+Z.
        cell.sharedModel.transact(() => cell.sharedModel.updateOutputs(n, n + 1, [saved], "silent-change"), false, "silent-change");
      }
    this.context.model.dirty = dirty;
  }
}

export default {
  /** @param {{model: Model}} given */
  initialize({ model }) {
    const context = model.widget_manager?.context;
    if (!context?.ready) return; // VS Code's stand-in has no file that could be ready
    const keeper = new Keeper(model, context);
    return () => keeper.close();
  },
};
