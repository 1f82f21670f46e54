"""Long texts of one row, stored once: an answer is in a run's state, in its events and in its output, several times."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from crew_nb._state.plain import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = 10_000
"""Characters from which it is worth it."""
TEXTS = "texts"
"""The key of the state under which they stand."""


def folded(state: Any, events: Any, output: str | None) -> tuple[str, str, str | None]:
    """State and events as JSON, and the output that is JSON already, each long text in the first of them only."""
    parts = [dumps(state), dumps(events), output or ""]
    texts: dict[str, str] = {}
    for text in sorted({*_long(state), *_long(events)}, key=len, reverse=True):
        whole, mark = dumps(text), uuid.uuid4().hex  # nobody can have said it
        if any(whole in part for part in parts):
            texts[mark] = text
            parts = [part.replace(whole, f'"{mark}"') for part in parts]
    if texts:
        parts[0] = f'{parts[0][:-1]},"{TEXTS}":{dumps(texts)}}}'
    return parts[0], parts[1], output if output is None else parts[2]


def unfolded(state: str, events: str, output: str | None) -> tuple[Any, str, str | None]:
    """The same, whole: the state as a tree, the others as JSON.

    Raises:
        ValueError: The state is no JSON.
    """
    tree = json.loads(state)
    texts = tree.pop(TEXTS, None) if isinstance(tree, dict) else None
    if not isinstance(texts, dict):
        return tree, events, output
    body = dumps(tree)
    for mark, text in texts.items():
        short, whole = f'"{mark}"', dumps(text)
        body, events = body.replace(short, whole), events.replace(short, whole)
        output = output if output is None else output.replace(short, whole)
    return json.loads(body), events, output


def _long(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        if len(tree) >= LONG:
            yield tree
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from _long(part)
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _long(part)
