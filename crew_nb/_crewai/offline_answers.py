"""What the offline LLM says: prompt in, answer out; pure, seeded, and free of CrewAI."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

LABEL = "*(offline answer)*"
"""Ends every generated answer, so that nobody takes it for an LLM's."""

Message = Mapping[str, Any]
ToolCall = dict[str, Any]
"""`{"name": "search", "arguments": {"query": "AI"}}`"""

_SCHEMA = re.compile(r"OpenAPI schema: (?=\{)")
_TOOL = re.compile(r"^Tool Name: (?P<name>.+)\nTool Arguments: (?=\{)", re.MULTILINE)
_ROLE = re.compile(r"^You are (?P<role>[^\n]{1,80}?)\. ")
_TASK = "Current Task: "
_EXPECTED = "\nThis is the expected criteria for your final answer: "
_TASK_ENDS = ("\nProvide your complete response", "\nBegin! ")
_EXPECTED_ENDS = ("you MUST return the actual", *_TASK_ENDS)
_CONTEXT = re.compile(
    r"This is the context you're working with:\n(?P<context>.*?)(?:\n\nProvide your complete|\Z)", re.DOTALL
)
_ABOUT = re.compile(
    r"\b(?:topic\s*[:=]\s*|(?:about|on|of|into|regarding|in|for)\s+(?:the\s+)?(?:topic\s*[:=]\s*)?)"
    r"(?P<topic>[^.,;:!?\n()]{2,80})",
    re.I,
)
_TOPIC_END = re.compile(
    r" (?:for|with|to|that|which|using|so|as|and (?:report|list|write|give|sum|explain|return|find|describe))\b.*",
    re.I,
)
_COUNT = re.compile(r"\b(\d{1,2})\b[^.\n]{0,30}?\b(?:bullet|point|item|fact|idea|trend|line|step|sentence)", re.I)
_COWORKERS = re.compile(r"following coworkers: (?P<names>[^\n]+)")
_OBSERVATION = re.compile(r"\nObservation: (?P<result>.*)", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{4,}")
_TOKEN = re.compile(r"\s*\S{1,12}|\s+")

_PLAIN_WORDS = """
about actual also answer best brief complete content description each expected final find five four from give into list
make must note over please report result return short should some state task tell text that their them then there these
they this three what when where which will with word words write your summary summarise summarize topic bullet bullets
point points line lines paragraph sentence sentences facts fact research
"""
_PLAIN = frozenset(_PLAIN_WORDS.split())
"""Words of a task that no point of an answer is made about."""

_ASPECTS = ("scope", "timing", "cost", "people", "evidence", "risk", "quality", "pace")
"""What else can be said of anything."""

_OPENINGS = (
    "{role} looked at {topic} from the side of what changes in practice.",
    "A short view of {topic}, as {role} would put it.",
    "{topic} is easier to judge once cost, people and timing are kept apart.",
    "What follows sums up {topic} for a reader with five minutes.",
    "The question of {topic} has moved from whether to how.",
)
_POINTS = (
    "**{word}** comes first: {share} % of the cases turn on it.",
    "**{word}** pays back within {months} months when it starts small.",
    "**{word}** is where early users differ most from late ones.",
    "**{word}** needs an owner, or it slips after the first quarter.",
    "**{word}** is cheaper to measure than to argue about.",
    "**{word}** grew by {share} % over {months} months in the sample.",
    "**{word}** carries the main risk, and the risk is one of pace.",
    "**{word}** rewards those who share what they learn.",
)
_CLOSINGS = (
    "Next step: try it on one small case of {topic} and keep the numbers.",
    "In short, {topic} rewards steady work over big announcements.",
    "The open question is who will pay for the last mile of {topic}.",
    "If one thing is kept from this: start {topic} narrow, and widen it on evidence.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What can be read out of the messages of one LLM call."""

    text: str
    """All contents, one after the other."""
    role: str
    task: str
    expected: str
    context: str
    tool_results: tuple[str, ...]
    schema: dict[str, Any] | None
    """JSON schema that the answer is asked to follow."""
    text_tools: tuple[dict[str, Any], ...]
    """Tools offered in the prompt's text (ReAct), as function definitions."""
    turn: int
    """How often the LLM has answered in this conversation."""

    @property
    def topic(self) -> str:
        """The words that the task is about."""
        found = _ABOUT.search(self.task)
        # Without a preposition the first word is a verb, as in "Describe Mars".
        words = found["topic"] if found else self.task.split("\n")[0].split(".")[0].partition(" ")[2] or self.task
        return " ".join(_TOPIC_END.sub("", " ".join(words.split())).split()[:7]).strip(" `'\"*#") or "the task"


def read(messages: Sequence[Message]) -> Prompt:
    """The parts of a prompt, found by the phrases that CrewAI writes around them."""
    contents = [_text(m.get("content")) for m in messages]
    said = [t for m, t in zip(messages, contents, strict=True) if m.get("role") == "assistant"]
    asked = "\n".join(t for m, t in zip(messages, contents, strict=True) if m.get("role") in ("system", "user"))
    results = [t for m, t in zip(messages, contents, strict=True) if m.get("role") == "tool"]
    results += [found["result"].strip() for t in said if (found := _OBSERVATION.search(t))]
    last = next((t for m, t in zip(messages, contents, strict=True) if m.get("role") == "user"), "")
    _, told, given = asked.partition(_TASK)
    task, expected = _until(given, _TASK_ENDS).partition(_EXPECTED)[::2]
    context, role = _CONTEXT.search(asked), _ROLE.search(asked)
    schema = _SCHEMA.search(asked)
    return Prompt(
        text="\n".join(contents),
        role=role["role"].strip() if role else "",
        task=_CONTEXT.sub("", task if told else last).strip(),
        expected=_until(expected, _EXPECTED_ENDS).strip(),
        context=context["context"].strip() if context else "",
        tool_results=tuple(results),
        schema=_bare(_json_at(asked, schema.end())) if schema else None,
        text_tools=tuple(_text_tools(asked)),
        turn=len(said),
    )


def _until(text: str, ends: Sequence[str]) -> str:
    """The text before the first of these that is in it."""
    return text[: min((place for end in ends if (place := text.find(end)) >= 0), default=len(text))]


def tokens(text: str) -> list[str]:
    """The text in pieces that join back to it: a token is a word, or twelve characters of a longer one."""
    return _TOKEN.findall(text)


def write(prompt: Prompt, rng: random.Random) -> str:
    """A short Markdown text about the prompt's task, labelled as offline."""
    topic = prompt.topic
    role = f"the {prompt.role}" if prompt.role else "one reader"
    named = [w.lower() for w in _WORD.findall(f"{topic} {prompt.task.partition(' ')[2]} {prompt.expected}")]
    words = [w.capitalize() for w in dict.fromkeys([*named, *_ASPECTS]) if w not in _PLAIN]
    asked = _COUNT.search(f"{prompt.expected}\n{prompt.task}")
    count = min(int(asked[1]), 8) if asked and int(asked[1]) else 3
    lines = [f"## {_capital(topic)}", "", _capital(rng.choice(_OPENINGS).format(role=role, topic=topic)), ""]
    for word, point in zip(words, rng.sample(_POINTS, count), strict=False):
        lines.append(f"- {point.format(word=word, share=rng.randrange(12, 88), months=rng.randrange(3, 24))}")
    if prompt.context:
        heads = [line.lstrip("# ").strip() for line in prompt.context.splitlines() if line.startswith("#")]
        sources = heads or [prompt.context.splitlines()[0][:80]]
        lines += ["", f"It builds on: {'; '.join(dict.fromkeys(sources))}."]
    if prompt.tool_results:
        said = [line for line in prompt.tool_results[-1].splitlines() if line and not line.startswith("#")]
        lines += ["", f"The tool answered: {said[0][:200] if said else 'nothing'}"]
    lines += ["", f"{_capital(rng.choice(_CLOSINGS).format(topic=topic))} {LABEL}"]
    return "\n".join(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def choose_tool(tools: Sequence[Mapping[str, Any]], prompt: Prompt, rng: random.Random) -> ToolCall:
    """A call of the tool that shares most words with the task, the first of equals; delegation comes last.

    Args:
        tools: Function definitions in OpenAI's form; at least one.
        prompt: What was asked.
        rng: Source of the arguments that the prompt does not give.
    """
    task_words = {w.lower() for w in _WORD.findall(prompt.task)}

    def fitness(function: Mapping[str, Any]) -> tuple[bool, int]:
        about = f"{function['name'].replace('_', ' ')} {function.get('description') or ''}"
        return "coworker" not in function["name"], len(task_words & {w.lower() for w in _WORD.findall(about)})

    function = max((t.get("function", t) for t in tools), key=fitness)
    arguments = example(function.get("parameters") or {}, rng, prompt.topic)
    if isinstance(arguments, dict) and "coworker" in arguments:
        names = _COWORKERS.search(function.get("description") or "")
        arguments["coworker"] = names["names"].split(",")[0].strip() if names else ""
        arguments["task" if "task" in arguments else "question"] = prompt.task
    return {"name": function["name"], "arguments": arguments if isinstance(arguments, dict) else {}}


def as_react(call: ToolCall) -> str:
    """The tool call in the text form of agents that work without native tools."""
    return (
        f"Thought: I should use {call['name']} for this.\nAction: {call['name']}\n"
        f"Action Input: {json.dumps(call['arguments'], ensure_ascii=False)}"
    )


def example(schema: Mapping[str, Any], rng: random.Random, topic: str) -> Any:
    """A value that the JSON schema accepts; texts speak of the topic, and a flag without a default is true.

    A flag is true because `valid`, `ready` and `success` are what such flags are called.
    """
    return _value(schema, schema.get("$defs") or schema.get("definitions") or {}, rng, topic, "", 0)


def _value(
    schema: Mapping[str, Any], defs: Mapping[str, Any], rng: random.Random, topic: str, name: str, depth: int
) -> Any:
    if "$ref" in schema:
        target = defs.get(schema["$ref"].rsplit("/", 1)[-1], {})
        return _value(target, defs, rng, topic, name, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = [s for s in schema[key] if s.get("type") != "null"]
            nullable = len(options) < len(schema[key])
            # A schema that refers to itself ends here.
            return None if nullable and depth > 4 else _value(options[0], defs, rng, topic, name, depth)
    if schema.get("allOf"):
        merged = {k: v for part in schema["allOf"] for k, v in part.items()}
        return _value(merged, defs, rng, topic, name, depth)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind == "object" or "properties" in schema:
        return {k: _value(s, defs, rng, topic, k, depth + 1) for k, s in (schema.get("properties") or {}).items()}
    if kind == "array":
        if "prefixItems" in schema:
            return [_value(s, defs, rng, topic, name, depth + 1) for s in schema["prefixItems"]]
        count = max(int(schema.get("minItems") or 0), min(int(schema.get("maxItems", 2)), 0 if depth > 4 else 2))
        items = schema.get("items") or {}
        return [_value(items, defs, rng, topic, f"{name} {n + 1}", depth + 1) for n in range(count)]
    if kind == "boolean":
        return schema.get("default", True)
    if kind in ("integer", "number"):
        return _number(schema, rng, whole=kind == "integer")
    return None if kind == "null" else _string(schema, rng, topic, name)


def _number(schema: Mapping[str, Any], rng: random.Random, *, whole: bool) -> float:
    step = schema.get("multipleOf") or (1 if whole else 0.01)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if high is None and "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    if low is None:
        low = 1 if high is None or high >= 1 else high - 10 * step
    low = math.ceil(low / step) * step if "multipleOf" in schema else low
    if high is None:
        high = low + 10 * step if "multipleOf" in schema else low + 10
    value = low + rng.randrange(int((high - low) / step) + 1) * step
    return round(value) if whole else round(value, 6)


def _string(schema: Mapping[str, Any], rng: random.Random, topic: str, name: str) -> str:
    day = f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
    formats = {
        "date": day,
        "date-time": f"{day}T09:00:00Z",
        "time": "09:00:00Z",
        "email": "offline@example.org",
        "uri": "https://example.org/offline",
        "uuid": f"{rng.getrandbits(32):08x}-0000-4000-8000-{rng.getrandbits(48):012x}",
    }
    kind = schema.get("format", "")
    if kind in formats:
        return formats[kind]
    plain = {"query", "search_query", "q", "topic", "title", "name", "subject", "keyword", "question"}
    text = topic if name in plain else f"{name.replace('_', ' ').capitalize() or 'Text'} for {topic}"
    text = text.ljust(int(schema.get("minLength") or 0), ".")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _text_tools(asked: str) -> Iterator[dict[str, Any]]:
    # The prompt explains the ReAct form only where the agent may use it.
    if "Action Input:" not in asked:
        return
    for found in _TOOL.finditer(asked):
        arguments = _json_at(asked, found.end()) or {}
        parameters = arguments if "properties" in arguments else {"type": "object", "properties": arguments}
        end = asked.find("\nTool Name: ", found.end())
        rest = asked[found.end() : end if end >= 0 else None]
        about = rest.partition("Tool Description: ")[2].partition("\n\nIMPORTANT:")[0]
        yield {"name": found["name"].strip(), "description": about, "parameters": parameters}


def _json_at(text: str, start: int) -> dict[str, Any] | None:
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _bare(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """The schema itself, out of the wrapping that `response_format` has."""
    wrapped = (schema or {}).get("json_schema")
    return wrapped["schema"] if isinstance(wrapped, dict) and "schema" in wrapped else schema


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, Mapping))
    return "" if content is None else str(content)
