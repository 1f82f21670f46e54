"""What tells the rows of a batch apart: which inputs do, and how each row is labelled by them; pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LABEL_KEPT = 200
"""Characters of a row's label."""
CONTEXT = 12
"""Characters that are kept before those in which values differ."""
NEAR = 24
"""Values that differ within so many characters are shown from their beginning: the narrowest column has them."""
LEAST = 12
"""Characters that each input of a row may take at the least, however many there are."""


@dataclass(frozen=True, slots=True)
class Part:
    """How one input stands in a label."""

    name: str
    skip: int = 0
    """Characters at its beginning that say nothing: other rows have them, too."""
    room: int = LABEL_KEPT

    def shown(self, value: str) -> str:
        """The value as the label has it."""
        text = f"…{value[self.skip :]}" if self.skip else value
        return text if len(text) <= self.room else f"{text[: self.room - 1]}…"


@dataclass(frozen=True, slots=True)
class Column:
    """What a row has in one of the columns that tell rows apart."""

    name: str
    value: str


_BOUNDARY = re.compile(r"\s+|(?=[/?&=#])")


def telling(rows: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """Names of the inputs that tell the rows apart, in the order given; none where all rows are alike."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return tuple(name for name in names if len({row.get(name) for row in rows}) > 1)


def parts(rows: Sequence[Mapping[str, str]]) -> list[tuple[Part, ...]]:
    """For each row what its label is made of: the inputs that tell it from others, then those that all have.

    Args:
        rows: The inputs of each run as one line of text each, whole.
    """
    first = telling(rows)
    skips = {name: _skips({row[name] for row in rows if name in row}, NEAR - len(name) - 1) for name in first}
    made = []
    for row in rows:
        names = [*(name for name in first if name in row), *(name for name in row if name not in skips)]
        told = [Part(name, skips[name][row[name]] if name in skips else 0) for name in names]
        lengths = [len(part.shown(row[part.name])) for part in told]
        left = LABEL_KEPT - sum(len(f"{name}=, ") for name in names)
        varying = sum(name in skips for name in names)
        rooms = _shared(lengths[:varying], left)
        rooms += _shared(lengths[varying:], left - sum(rooms))
        made.append(tuple(Part(p.name, p.skip, room) for p, room in zip(told, rooms, strict=True)))
    return made


def label(parts: Iterable[Part], row: Mapping[str, str]) -> str:
    """A row's label: `topic=AI, words=200`."""
    text = ", ".join(f"{part.name}={part.shown(row[part.name])}" for part in parts)
    return text if len(text) <= LABEL_KEPT else f"{text[: LABEL_KEPT - 1]}…"


def columns(parts: Iterable[Part], row: Mapping[str, str], telling: Sequence[str]) -> tuple[Column, ...]:
    """What a row has in each column: of the inputs that tell rows apart, or of all where none does."""
    return tuple(Column(p.name, p.shown(row[p.name])) for p in parts if not telling or p.name in telling)


def called(columns: Iterable[Column], label: str) -> str:
    """A row's name where there is no room for the names of its inputs: `Lamp · 5`."""
    return " · ".join(column.value for column in columns) or label


def _skips(values: set[str], near: int) -> dict[str, int]:
    """How much of each value's beginning can be left out, so that what tells it from the others is seen."""
    order = sorted(values)
    shared = common(order[0], order[-1])
    beside = [0, *starmap(common, pairwise(order)), 0]
    skips = {value: _skip(value, max(beside[n : n + 2]), near) for n, value in enumerate(order)}
    # Two that only differ in what each of them leaves out.
    rests = Counter(value[skip:] for value, skip in skips.items())
    return {v: skip if rests[v[skip:]] == 1 else _skip(v, shared, near) for v, skip in skips.items()}


def _skip(value: str, common: int, near: int) -> int:
    if common < near:
        return 0
    skip = max(0, common - CONTEXT)
    boundary = _BOUNDARY.search(value[skip : common - 4])
    return skip + boundary.end() if boundary else skip


def common(a: Sequence[str], b: Sequence[str]) -> int:
    """How many characters, or words, both begin with."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _shared(lengths: Sequence[int], room: int) -> list[int]:
    """The room of each, where short ones leave theirs to long ones."""
    given = [0] * len(lengths)
    for n, place in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        given[place] = min(lengths[place], max(LEAST, room // (len(lengths) - n)))
        room -= given[place]
    return given
