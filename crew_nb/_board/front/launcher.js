// @ts-check
/**
 * The launcher's form in the browser. It holds words: what they mean, whether they can be run, and what that takes is
 * said by Python. Text is only ever set as text.
 */

/** @import {Model} from "./shared/model.js" */
import { Form } from "./launcher/form.js";
import { Words } from "./launcher/words.js";
import { h } from "./shared/elements.js";

/** Milliseconds after which a kernel that does not answer is asked again. */
const AGAIN = 5_000;

export default {
  /** @param {{model: Model, el: HTMLElement}} given */
  render({ model, el }) {
    const wait = h("p", { class: "cnb-quiet", role: "status" }, "Waiting for the kernel…");
    el.append(wait);
    /** @type {Form | null} */
    let form = null;
    const words = new Words(model, () => {
      wait.remove();
      form = new Form(words, el);
    });
    words.hello();
    // The kernel may have been away when it was asked.
    const timer = setInterval(() => (words.known ? clearInterval(timer) : words.hello()), AGAIN);
    return () => {
      clearInterval(timer);
      form?.close();
      words.close();
      wait.remove();
    };
  },
};
