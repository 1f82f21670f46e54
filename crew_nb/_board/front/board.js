// @ts-check
/**
 * The board in the browser: one view of a batch, drawn from the messages that Python sends.
 *
 * Nothing here decides anything: rows come as they are, and a click goes back as a command. Text is only ever set as
 * text; the one exception is `sanitized`, which takes HTML that Python has rendered and cleaned.
 */

/** @import {Model} from "./shared/model.js" */
import { Board } from "./board/board.js";

export default {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const board = new Board(model, el);
    return () => board.close();
  },
};
