// Made from crew_nb/_board/front by `npm run build`: edit it there.

// keeper.js
var WIDGET = "application/vnd.jupyter.widget-view+json";
var Keeper = class {
  /** @param {Model} model @param {Context} context */
  constructor(model, context) {
    this.model = model;
    this.context = context;
    this.onSave = (_, state) => this.saving(state);
    this.onLive = () => this.settle();
    this.onData = () => {
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
        cell.sharedModel.transact(() => cell.sharedModel.updateOutputs(n, n + 1, [saved], "silent-change"), false, "silent-change");
      }
    this.context.model.dirty = dirty;
  }
};
var keeper_default = {
  /** @param {{model: Model}} given */
  initialize({ model }) {
    const context = model.widget_manager?.context;
    if (!context?.ready) return;
    const keeper = new Keeper(model, context);
    return () => keeper.close();
  }
};
export {
  Keeper,
  keeper_default as default
};
