// @ts-check
/** The calls of a task, each with what was asked and answered. */

/** @import {Call} from "../messages.js" */
import { h } from "../../shared/elements.js";
import { money, plural, span } from "../../shared/numbers.js";
import { leftOut } from "../cut.js";

/** @param {Call[] | undefined} calls @param {number} left how many are left out @param {number} now */
export function callList(calls, left, now) {
  if (!calls?.length) return null;
  const list = h("div", { class: "cnb-calls", "data-key": "calls" });
  if (left) list.append(h("p", { class: "cnb-quiet" }, `${plural(left, "earlier call")} not shown`));
  calls.forEach((call, n) => {
    const time = span((call.finished ?? now) - call.started);
    const what = { llm: "LLM", tool: "tool", wait: "waited for" }[call.kind];
    const head = [
      h("span", { class: "cnb-kind", "data-k": call.kind === "wait" ? call.name : call.kind }, what),
      h("bdi", {}, call.name),
      call.status !== "done" ? h("span", { class: "cnb-word", "data-s": call.status }, call.status) : null,
      call.kind === "tool" && call.detail ? h("bdi", { class: "cnb-args" }, call.detail.text ?? "") : null,
      call.kind === "wait" && call.detail ? h("bdi", { class: "cnb-args" }, call.detail.text ?? "") : null,
      (call.attempt ?? 1) > 1 ? h("span", { class: "cnb-quiet" }, `attempt ${call.attempt}`) : null,
      h("span", { class: "cnb-sum" }, [time, call.tokens ? plural(call.tokens, "token") : "", call.cost ? money(call.cost) : ""].filter(Boolean).join(" · ")),
    ];
    const key = `${left + n}`;
    if (call.kind === "wait" || (!call.detail && !call.output)) list.append(h("div", { class: "cnb-call", "data-key": key }, head));
    else
      list.append(
        h(
          "details",
          { class: "cnb-call", "data-key": key },
          h("summary", {}, head),
          call.detail ? h("div", { class: "cnb-said" }, h("small", {}, call.kind === "tool" ? "arguments" : "asked"), h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, call.detail.text, leftOut(call.detail))) : null,
          call.output ? h("div", { class: "cnb-said" }, h("small", {}, call.status === "failed" ? "error" : "answered"), h("pre", { class: "cnb-pre", dir: "auto", tabindex: 0 }, call.output.text, leftOut(call.output))) : null,
        ),
      );
  });
  return list;
}
