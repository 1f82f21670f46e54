"""What one LLM call asks, or one lookup, as plain JSON that is the same in every kernel; pure.

It holds what can change the answer: model, messages, tools, the model to fill, settings. Left out are keys, addresses,
ids (calls of tools are known by their order), whether the answer streams, and the day that `inject_date` adds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crew_nb._state.labels import common
from crew_nb._state.plain import Json, Scrub, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._state.call import Asked, Lookup

_IDS = frozenset({"id", "tool_call_id", "call_id", "tool_use_id", "toolUseId", "item_id"})
_LEFT_OUT = frozenset({"raw_tool_call_parts", "cache_breakpoint"})
"""What CrewAI keeps in messages for a provider's client."""
_ADDRESS = frozenset({"base_url", "stop"})
"""Settings that are another endpoint's, or are taken from the call itself."""
_DAY = re.compile(r"(\n\nCurrent Date: )[^\n]*")
"""How CrewAI writes the day into a prompt (`inject_date`)."""
WORDS_SHOWN = 12
"""Words on either side of a difference."""


def question(asked: Asked, scrub: Scrub) -> dict[str, Json]:
    """What the call asks; never raises.

    Args:
        asked: The call.
        scrub: Applied to every text in it.
    """
    messages = asked.messages
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    ids: dict[str, str] = {}
    settings = {name: value for name, value in asked.settings.items() if name not in _ADDRESS}
    stop = getattr(asked.llm, "stop_sequences", None)
    whole = {
        "model": asked.model,
        "settings": {**settings, **({"stop": list(stop)} if stop else {})},
        "tools": [_in_words(tool) for tool in asked.tools or ()],
        "fills": _schema(asked.response_model),
        "messages": [_without_ids(message, ids) for message in messages or ()],
    }
    return {name: plain(value, scrub) for name, value in whole.items() if value}


def lookup(asked: Lookup, scrub: Scrub) -> dict[str, Json]:
    """What a tool, or an embedder, is asked; never raises.

    Args:
        asked: The lookup.
        scrub: Applied to every text in it.
    """
    names = {"tool": "arguments", "embedder": "text"}
    return {asked.kind: plain(asked.name, scrub), names[asked.kind]: plain(asked.asks, scrub)}


def _without_ids(value: Any, ids: dict[str, str]) -> Any:
    """A message, or a part of one, with ids by the order in which they are met."""
    if isinstance(value, str):
        return _DAY.sub(r"\1…", value) if "Current Date: " in value else value
    if isinstance(value, Mapping):
        kept: dict[Any, Any] = {}
        for name, part in value.items():
            if name in _LEFT_OUT or part is None:
                continue
            if name in _IDS and isinstance(part, str):
                kept[name] = ids.setdefault(part, str(len(ids) + 1))
            elif name == "files" and isinstance(part, Mapping):
                kept[name] = {title: _content(file) for title, file in part.items()}
            else:
                kept[name] = _without_ids(part, ids)
        return kept
    if isinstance(value, list | tuple):
        return [_without_ids(part, ids) for part in value]
    return value


def _content(file: Any) -> str:
    """A file by what is in it, as it may lie elsewhere; one of the web by its address: it is not fetched for this."""
    try:
        if url := getattr(file.source, "url", ""):
            return str(url)
        return hashlib.sha256(file.read()).hexdigest()
    except Exception:  # a class of CrewAI's or the user's
        return type(file).__name__


def _schema(model: Any) -> Any:
    if model is None:
        return None
    try:
        return {"name": model.__name__, "schema": _in_words(model.model_json_schema())}
    except Exception:  # a class of the user's
        return {"name": getattr(model, "__name__", str(model))}


def _in_words(schema: Any) -> str:
    """A schema as one text: it is the same in many calls."""
    return json.dumps(plain(schema), sort_keys=True, ensure_ascii=False)


def digest(tree: Json) -> str:
    """What the tree is known by."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def nearness(asked: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[int, int]:
    """How alike two questions are: whether they are of one model, and how many characters their prompts share."""
    names = ("model", "tool", "embedder")
    pair = [json.dumps([v for k, v in each.items() if k not in names], ensure_ascii=False) for each in (asked, known)]
    alike = common(*pair) + common(*(text[::-1] for text in pair))
    return int(all(asked.get(name) == known.get(name) for name in names)), alike


_PARTS = {
    **{"model": "the model", "fills": "the model to fill", "tools": "the tools"},
    **{"tool": "the tool", "arguments": "its arguments", "embedder": "the embedder", "text": "the text"},
}


def difference(asked: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """The first thing in which a question differs from one that is known, in words."""
    for part, words in _PARTS.items():
        if asked.get(part) != known.get(part):
            return f"{words} differ{'s' * (words[-1] != 's')}: {_pair(asked.get(part), known.get(part))}"
    if asked.get("settings") != known.get("settings"):
        one, other = asked.get("settings") or {}, known.get("settings") or {}
        name = next(name for name in sorted({*one, *other}) if one.get(name) != other.get(name))
        return f"the setting {name} differs: {_pair(one.get(name), other.get(name))}"
    ours, theirs = asked.get("messages") or [], known.get("messages") or []
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other:
            role = mine.get("role", "") if isinstance(mine, Mapping) else ""
            return f"message {place + 1} ({role}) differs: {_pair(_content_of(mine), _content_of(other))}"
    if len(ours) != len(theirs):
        return f"there are {len(ours)} messages, and not {len(theirs)}"
    return "it is asked once more than it was"


def _content_of(message: Any) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else message
    return content if isinstance(content, str) and set(message) <= {"role", "content"} else message


def _pair(one: Any, other: Any) -> str:
    texts = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in (one, other)]
    mine, known = (text.split() for text in texts)
    at = common(mine, known)
    return f"“{_around(mine, at)}”, and not “{_around(known, at)}”"


def _around(words: Sequence[str], at: int) -> str:
    start, end = max(0, at - WORDS_SHOWN // 2), at + WORDS_SHOWN
    return f"{'…' * (start > 0)}{' '.join(words[start:end])}{'…' * (end < len(words))}"
