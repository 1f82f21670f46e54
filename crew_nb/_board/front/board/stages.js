// @ts-check
/** A crew's tasks in the order in which they start. */

/** @import {Spec} from "./messages.js" */

/**
 * The tasks of a crew in the steps in which they start: neighbours that are asynchronous start together.
 * @param {Spec[]} specs @returns {number[][]}
 */
export function stages(specs) {
  /** @type {number[][]} */
  const steps = [];
  specs.forEach((spec, i) => {
    const before = specs[i - 1];
    if (spec.is_async && before?.is_async) steps[steps.length - 1]?.push(i);
    else steps.push([i]);
  });
  return steps;
}
