"""What rows are called: by the inputs that tell them apart, or by what is run."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai.factories import defaults, name_of
from crew_nb._crewai.inputs import one_line
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.placeholders import filled
from crew_nb._state import labels
from crew_nb._state.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crew_nb._state.events import TaskSpec

STEP_KEPT = 80
"""Characters of a task's text in a label."""


class Name(NamedTuple):
    """What a row is called."""

    label: str
    parts: tuple[labels.Part, ...]
    """What the label is made of, where that is inputs."""
    columns: tuple[labels.Column, ...]
    """What tells it from the other rows."""


def names(given: Sequence[tuple[Any, Mapping[str, Any] | None]]) -> list[Name]:
    """What tells each pair of what is run and its inputs from the others: inputs, or what is run."""
    sources = [source for source, _ in given]
    rows = [row_of(inputs or {}) for _, inputs in given]
    bound = {n: row_of(_bound(source)) for n, source in enumerate(sources) if not rows[n]}
    first = labels.telling(bound.values())
    kind = _kind_of_all(sources)
    for n, row in bound.items():
        rows[n] = {name: row[name] for name in first if name in row}
    parts = labels.parts(rows)
    telling = labels.telling(rows)
    words = [
        labels.label(part, row) if row else _title(source)
        for source, part, row in zip(sources, parts, rows, strict=True)
    ]
    columns = [
        labels.columns(part, row, telling) if row else (labels.Column(kind, word),)
        for part, row, word in zip(parts, rows, words, strict=True)
    ]
    # The same inputs, or none, for different crews: what is run tells the rows apart.
    for name, title in ((kind, _title), ("task", _first_task)):
        alike = {word for word, count in Counter(words).items() if count > 1}
        titles = [title(source) if word in alike else "" for source, word in zip(sources, words, strict=True)]
        if len(set(titles) - {""}) > 1:
            words = [_with(title, word) for title, word in zip(titles, words, strict=True)]
            columns = [
                (labels.Column(name, title), *column) if title else column
                for title, column in zip(titles, columns, strict=True)
            ]
    return [
        Name(word, () if n in bound else parts[n], column)
        for n, (word, column) in enumerate(zip(words, columns, strict=True))
    ]


def _kind_of_all(sources: Iterable[Any]) -> str:
    """What people call what is run; of several kinds a word for all of them."""
    kinds = {kind.name if (kind := _kinds.find(source)) else "function" for source in sources}
    return kinds.pop() if len(kinds) == 1 else "what is run"


def _with(title: str, word: str) -> str:
    return _cut(word if word.startswith(title) else f"{title}: {word}", labels.LABEL_KEPT)


def _cut(text: str, kept: int) -> str:
    return text if len(text) <= kept else f"{text[: kept - 1]}…"


def row_of(inputs: Mapping[str, Any], secrets: Secrets | None = None) -> dict[str, str]:
    """Inputs as people read them, a line each, without secrets."""
    known = secrets if secrets is not None else Secrets(given=inputs)
    return {str(name): one_line(value, known) for name, value in known.scrub_inputs(inputs).items()}


def _title(source: Any) -> str:
    kind = _kinds.find(source)
    return _cut(kind.label(source) if kind else name_of(source), labels.LABEL_KEPT)


def _first_task(source: Any) -> str:
    """What the first task of a crew is; empty for anything else."""
    tasks = getattr(source, "tasks", None) or [None]
    text = getattr(tasks[0], "name", "") or getattr(tasks[0], "description", "")
    return _cut(one_line(text, Secrets(given={})), STEP_KEPT)


def _bound(source: Any) -> dict[str, Any]:
    """The values that a factory brings with it: its defaults (`lambda t=topic: ...`), a partial's, an object's."""
    if _kinds.find(source):
        return {}
    function = getattr(source, "func", source)
    function = getattr(function, "__func__", function)
    found: dict[str, Any] = dict(getattr(getattr(source, "__self__", None), "__dict__", {}))
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # no function, or a cell that is not filled yet
        found |= inspect.getclosurevars(function).nonlocals
    with contextlib.suppress(TypeError, ValueError):  # builtins tell no signature
        found |= zip(inspect.signature(function).parameters, getattr(source, "args", ()), strict=False)
    return {n: v for n, v in {**found, **defaults(source)}.items() if isinstance(v, str | int | float)}


def named(step: TaskSpec, inputs: Mapping[str, Any], secrets: Secrets) -> TaskSpec:
    """A step whose name says with which inputs: a task without a name is called by its text."""
    return replace(step, name=filled(step.name, row_of(inputs, secrets))) if "{" in step.name else step


def roles(crew: Any, inputs: Mapping[str, Any]) -> set[str]:
    """The roles of a crew's agents, filled in."""
    row = row_of(inputs)
    return {filled(agent.role, row) for agent in agents_of(crew)}
