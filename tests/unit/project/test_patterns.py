"""No text that others write makes a pattern slow: every one in the package is fed its own worst."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
import warnings
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crew_nb

if TYPE_CHECKING:
    from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import sre_constants as sre
    import sre_parse

SIZE = 6_000
"""Characters of an attack. A quadratic search of them takes 40 ms and more, a linear one a millisecond."""
SECONDS = 0.02
"""Of the thread's own processor time: what takes longer is asked how it grows. A slow machine makes more of them."""
GROWTH = 9
"""Times as long for a text four times as long: a linear search takes 4, a quadratic one 16."""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages(crew_nb.__path__, "crew_nb."):
        yield importlib.import_module(found.name)


def patterns() -> dict[str, re.Pattern[str]]:
    """Every compiled pattern that a module of the package holds, by itself or in a table."""
    found: dict[str, re.Pattern[str]] = {}

    def look(value: Any, where: str) -> None:
        if isinstance(value, re.Pattern):
            found[f"{where}: {value.pattern!r:.40}"] = value
        elif isinstance(value, tuple | list | dict):
            for item in value.values() if isinstance(value, dict) else value:
                look(item, where)

    for module in modules():
        for name, value in vars(module).items():
            look(value, f"{module.__name__}.{name}")
    return found


def samples(tree: Any, *, long: bool) -> str:
    """A text that fits: each repetition as often as it must, or a few times."""
    text = ""
    for op, arg in tree:
        if op is sre.LITERAL:
            text += chr(arg)
        elif op is sre.NOT_LITERAL:
            text += "a" if arg != ord("a") else "b"
        elif op is sre.ANY:
            text += "a"
        elif op is sre.IN:
            text += member(arg)
        elif op is sre.BRANCH:
            text += samples(arg[1][0], long=long)
        elif op is sre.SUBPATTERN:
            text += samples(arg[3], long=long)
        elif op is getattr(sre, "ATOMIC_GROUP", None):
            text += samples(arg, long=long)
        elif op in REPEATS:
            text += samples(arg[2], long=long) * (min(max(arg[0], 3), arg[1]) if long else arg[0])
    return text


REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None)}


def member(choices: Any) -> str:
    """A character of a set."""
    tried = "a1 A_-\n\t.,:;\"'<>#*x\x1b\u202e\ud800\xe9="
    inside = re.compile(rebuilt(choices), re.DOTALL)
    return next((c for c in tried if inside.match(c)), chr(choices[0][1] if choices[0][0] is sre.LITERAL else 97))


def rebuilt(choices: Any) -> str:
    kinds = {
        sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_SPACE: r"\s",
        sre.CATEGORY_NOT_SPACE: r"\S", sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
    }  # fmt: skip
    parts = ""
    for op, arg in choices:
        if op is sre.NEGATE:
            parts += "^"
        elif op is sre.LITERAL:
            parts += re.escape(chr(arg))
        elif op is sre.RANGE:
            parts += f"{re.escape(chr(arg[0]))}-{re.escape(chr(arg[1]))}"
        else:
            parts += kinds[arg]
    return f"[{parts}]"


def units(tree: Any) -> set[str]:
    """What may be said over and over: what every part of the pattern fits, and every beginning of it."""
    found = set()
    items = list(tree)
    for end in range(1, len(items) + 1):
        for start in {0, end - 1}:
            found |= {samples(items[start:end], long=long) for long in (False, True)}
    for op, arg in items:
        inner = (
            arg[1] if op is sre.BRANCH
            else [arg[3]] if op is sre.SUBPATTERN
            else [arg[2]] if op in REPEATS
            else [arg[1]] if op in (sre.ASSERT, sre.ASSERT_NOT)
            else []
        )  # fmt: skip
        for part in inner:
            found |= units(part)
    return {spaced for unit in found if unit for spaced in ((unit, f"{unit} ") if unit[-1:].isalnum() else (unit,))}


def attacks(pattern: re.Pattern[str], size: int) -> Iterator[str]:
    tree = sre_parse.parse(pattern.pattern, pattern.flags)
    heads = ["", samples(tree, long=False)]
    for unit in sorted(units(tree)):
        many = unit * (size // len(unit))
        yield from (head + many + end for head in heads for end in ("", "\x00"))
        yield heads[1][: len(heads[1]) // 2] + many


def cost(pattern: re.Pattern[str], text: str, times: int = 1) -> float:
    """Seconds; the least of some times, since the collector may come in between."""
    found = []
    for _ in range(times):
        begun = time.thread_time()
        pattern.sub("", text)
        pattern.fullmatch(text)
        found.append(time.thread_time() - begun)
    return min(found)


def slow(pattern: re.Pattern[str]) -> tuple[float, str] | None:
    """How an attack's time grows when it is four times as long, and the attack, where it grows faster than the text."""
    for text, quarter in islice(zip(attacks(pattern, SIZE), attacks(pattern, SIZE // 4), strict=True), 2_000):
        if cost(pattern, text) > SECONDS:
            growth = cost(pattern, text, 3) / cost(pattern, quarter, 9)
            if growth > GROWTH:
                return growth, text[:40]
    return None


def test_a_pattern_takes_time_in_proportion_to_the_text() -> None:
    """Texts made from the pattern itself: its beginnings and its parts, repeated, with an end that does not fit."""
    found = {name: slow(pattern) for name, pattern in patterns().items()}
    assert len(found) > 30
    assert {name: attack for name, attack in found.items() if attack} == {}


def test_the_attacks_find_what_is_slow() -> None:
    """Patterns that were in the package once, and one that everybody knows."""
    for text in (
        r"(?<![A-Za-z0-9])sk-(?=[\w-]*\d)[A-Za-z0-9_-]{20,}",
        r"[ +|]*Traceback",
        r"\d+\.?\d*",
        r"(?s)\A\s*# [^\n]*\n+(?=.*\S)",
        r"\b[A-Z]+_KEY\b[^.]*\bmissing\b",
        r"(?:ab*)*c",
    ):
        assert slow(re.compile(text)), text


def test_every_pattern_is_one_of_a_module() -> None:
    """A pattern that is written where it is used would not be looked at above."""
    loose = []
    for path in Path(crew_nb.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in {inner for function in functions for inner in ast.walk(function)}:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "re":
                loose += [f"{path.name}:{node.lineno}"] * (node.attr not in ("Pattern", "Match", "escape"))
    assert not loose
