"""What the server says where its answers are drawn: a function of the conversation alone, whoever asks, and when.

So two runs that ask the same are told the same, and one difference is seen in all that follows.
"""

from __future__ import annotations

import json
import random
import re
from hashlib import blake2b
from typing import Any

from crew_nb._crewai import offline_answers as answers

FORMS = (
    "{about} {tag} is what was found",
    "Thought: I now know\nFinal Answer: {about} {tag}",
    "{about} {tag} with {{braces}} and {{{{more}}}} – naïve, 数据 🙂",
    "# {about}\n\n* {tag}\n* a second point\n",
    '{{"title": "{about}", "score": 3, "tags": ["{tag}"]}}',
    '```json\n{{"title": "{about}", "score": 4, "tags": []}}\n```',
)
_OF_THE_MOMENT = re.compile(
    r"tool-result-[\w-]+|0x[0-9a-f]{6,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+"
)
REFUSED = "[refused]"
"""A prompt with this in it is answered with an error that no second try helps."""

Reply = int | str | list[dict[str, Any]]
"""An HTTP status, a text, or tool calls as OpenAI writes them."""


def reply(request: dict[str, Any], prompt: answers.Prompt, about: str) -> Reply:
    """The answer that belongs to this conversation.

    Args:
        request: The body; `stream` and its options change nothing.
        prompt: What can be read out of its messages.
        about: The topic, which is in every text.
    """
    tag = blake2b(asked(request).encode(), digest_size=6).hexdigest()
    rng = random.Random(tag)
    if REFUSED in prompt.text:
        return 400
    if isinstance(request.get("tool_choice"), dict):
        (tool,) = (t["function"] for t in request["tools"])
        value = json.dumps(answers.example(tool["parameters"], rng, f"topic={about}"))
        return [{"id": f"call_{tag}", "type": "function", "function": {"name": tool["name"], "arguments": value}}]
    used = len(prompt.tool_results)
    tools = [t.get("function", t) for t in request.get("tools") or ()]
    if tools and rng.random() < (0.85, 0.4, 0.2, 0.0)[min(used, 3)]:
        # Never one tool, or two coworkers, twice at once: what comes of that is left to threads.
        alone = [t for t in tools if "coworker" not in t["name"]]
        chosen = rng.sample(alone, 2) if len(alone) > 1 and rng.random() < 0.25 else [rng.choice(tools)]
        return [_call(tool, prompt, rng, f"call_{tag}_{n}") for n, tool in enumerate(chosen)]
    if prompt.text_tools and rng.random() < (0.85, 0.4, 0.2, 0.0)[min(used, 3)]:
        return answers.as_react(_chosen(rng.choice(prompt.text_tools), prompt, rng))
    wanted = (request.get("response_format") or {}).get("json_schema")
    if schema := wanted["schema"] if wanted else prompt.schema:
        value = answers.example(schema, rng, f"topic={about}")
        if isinstance(value, dict) and {"valid", "feedback"} <= set(value):
            value["valid"] = rng.random() < 0.6
        return json.dumps(value)
    return rng.choice(FORMS).format(about=f"topic={about}", tag=tag)


def asked(request: dict[str, Any]) -> str:
    """What a body asks for: whether as a stream is the board's wish, or what its model cannot.

    A model's fields are asked for as a schema, or (by `instructor`, past the gate) as a tool that has to be called.
    """
    left_out = {"stream", "stream_options"}
    fills = (request.get("response_format") or {}).get("json_schema", {})
    fields = {fills["name"]: fills["schema"].get("properties")} if fills else {}
    if isinstance(request.get("tool_choice"), dict):
        fields = {t["function"]["name"]: t["function"]["parameters"]["properties"] for t in request["tools"]}
        left_out |= {"tools", "tool_choice"}
    kept = {k: v for k, v in request.items() if k not in left_out | {"response_format"}}
    return settled(json.dumps({**kept, "fields": fields}, sort_keys=True))


def settled(text: str) -> str:
    """Without names and times that are made at the moment."""
    return _OF_THE_MOMENT.sub("<>", text)


def _call(function: Any, prompt: answers.Prompt, rng: random.Random, call_id: str) -> dict[str, Any]:
    call = _chosen(function, prompt, rng)
    arguments = json.dumps(call["arguments"])
    if rng.random() < 0.08:
        arguments = arguments[: len(arguments) // 2]
    name = "no_such_tool" if rng.random() < 0.05 else call["name"]
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _chosen(function: Any, prompt: answers.Prompt, rng: random.Random) -> answers.ToolCall:
    return answers.choose_tool([function], prompt, rng)
