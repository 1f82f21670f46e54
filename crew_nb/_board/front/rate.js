// @ts-check
/** What a person rates, in the browser: one output or two at a time, with a key for each thing that can be said. */

/** @import {Model} from "./shared/model.js" */
import { Rate } from "./rate/rate.js";

export default {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const rate = new Rate(model, el);
    return () => rate.close();
  },
};
