"""Differences between two texts, word by word; pure and bounded in time."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORDS = 20_000
"""Words of each text that are compared; the rest stands as one change."""
_LINE = re.compile(r"[^\n]*\n+|[^\n]+")
_WORD = re.compile(r"\S+\s*|\s+")
_PAIRS = 100_000
"""Pairs of equal words that are tried in all; passages after that stand as one change."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that is the same in both, stands in one only, or says what was folded."""

    kind: Literal["same", "removed", "added", "folded"]
    text: str

    @property
    def words(self) -> int:
        """How many words it has."""
        return len(self.text.split())


def words(a: str, b: str) -> tuple[Piece, ...]:
    """The pieces that lead from `a` to `b`; white space alone is no difference.

    Lines are compared first and words within the lines that changed, so that long texts stay quick.
    """
    pieces: list[Piece] = []
    left = _PAIRS
    lines = _split(a, _LINE), _split(b, _LINE)
    left -= _pairs(*lines)
    for kind, old, new in _steps(*lines) if left >= 0 else [("changed", [a], [b])]:
        if kind == "same":
            _add(pieces, "same", "".join(new))
            continue
        old_words, new_words = _split("".join(old), _WORD), _split("".join(new), _WORD)
        left -= _pairs(old_words, new_words)
        if left < 0:
            _change(pieces, "".join(old_words), "".join(new_words))
            continue
        for inner, gone, come in _steps(old_words, new_words):
            if inner == "same":
                _add(pieces, "same", "".join(come))
            else:
                _change(pieces, "".join(gone), "".join(come))
    return tuple(pieces)


def _pairs(a: Sequence[str], b: Sequence[str]) -> int:
    """How many pairs are equal: what the comparison costs, and what words said over and over make explode."""
    there = Counter(x.strip() for x in b)
    return sum(count * there[x] for x, count in Counter(x.strip() for x in a).items())


def _change(pieces: list[Piece], gone: str, come: str) -> None:
    """The white space after a change stands outside of it, so that no line is struck out for one word."""
    _add(pieces, "removed", gone.rstrip())
    if gone.strip() and come.strip():
        _add(pieces, "same", " ")
    _add(pieces, "added", come.rstrip())
    after = come or gone
    _add(pieces, "same", after[len(after.rstrip()) :])


def folded(pieces: Sequence[Piece], near: int = 6) -> tuple[Piece, ...]:
    """The changes with `near` words around each; what lies between is counted."""
    kept: list[Piece] = []
    for place, piece in enumerate(pieces):
        parts = _split(piece.text, _WORD)
        before = near if place else 0
        after = near if place < len(pieces) - 1 else 0
        count = len(parts) - before - after
        if piece.kind != "same" or count <= near:
            kept.append(piece)
            continue
        kept.append(Piece("same", "".join(parts[:before])))
        kept.append(Piece("folded", f"[… {count:,} words the same …] "))
        kept.append(Piece("same", "".join(parts[len(parts) - after :])))
    return tuple(p for p in kept if p.text)


def share(pieces: Sequence[Piece]) -> str:
    """`61 words the same (94%), 2 removed, 4 added`."""
    same, removed, added = (sum(p.words for p in pieces if p.kind == k) for k in ("same", "removed", "added"))
    if not removed and not added:
        return "the same words"
    ratio = same / (same + max(removed, added))
    return f"{same:,} words the same ({ratio:.0%}), {removed:,} removed, {added:,} added"


def _split(text: str, pattern: re.Pattern[str]) -> list[str]:
    parts = pattern.findall(text)
    return parts if len(parts) <= WORDS else [*parts[:WORDS], "".join(parts[WORDS:])]


def _steps(a: Sequence[str], b: Sequence[str]) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    matcher = SequenceMatcher(None, [" ".join(x.split()) for x in a], [" ".join(x.split()) for x in b], autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        yield ("same" if tag == "equal" else "changed"), a[i:j], b[k:m]


def _add(pieces: list[Piece], kind: Literal["same", "removed", "added"], text: str) -> None:
    if not text:
        return
    if pieces and pieces[-1].kind == kind:
        pieces[-1] = Piece(kind, pieces[-1].text + text)
    else:
        pieces.append(Piece(kind, text))
