"""Which braces in a crew's texts are placeholders, and their filling, once.

Braces that came in with a value are data, and so is what a factory left in a text beside the value that it wrote there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from crewai import Crew

_NAME = r"[A-Za-z_][A-Za-z0-9_\-]*"  # what CrewAI's interpolation takes for a name
_WORD = re.compile(r"\w")
_BRACES = re.compile(rf"\{{\{{{_NAME}}}}}|\{{({_NAME})}}")  # {{name}} is none
# Characters that no text has: Unicode keeps them for uses such as this.
_HIDE, _SHOW = str.maketrans("{}", "\ufdd0\ufdd1"), str.maketrans("\ufdd0\ufdd1", "{}")

_AS_TEXT = frozenset({"crew_chat_messages"})
"""Inputs that CrewAI reads in another way than by their placeholder."""


def names_in(text: str | None) -> list[str]:
    """The names of the placeholders in a text."""
    return [found[1] for found in _BRACES.finditer(text or "") if found[1]]


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with those placeholders filled in that have a value."""
    return _BRACES.sub(lambda found: values.get(found[1], found[0]), text)


def _texts(crew: Crew) -> Iterator[tuple[Any, str]]:
    """The texts that a kickoff fills, as parts and the names of their fields."""
    yield from ((task, text) for task in crew.tasks for text in ("description", "expected_output", "output_file"))
    yield from ((agent, text) for agent in crew.agents for text in ("role", "goal", "backstory"))


@dataclass(frozen=True)
class Data:
    """What a factory was given, and the parts into whose texts it may have written that."""

    values: Mapping[str, Any]
    """What it took by name, in the types that a prompt can show."""
    written: frozenset[int] | None = None
    """Ids of parts that it made; None for all."""

    def names(self, crew: Crew) -> set[str]:
        """The names of the placeholders that inputs are to fill."""
        return {name for part, text in _texts(crew) for name in names_in(self.hidden(part, getattr(part, text)))}

    def words_in_braces(self, crew: Crew) -> list[str]:
        """What stands in braces and is no data, braces and all."""
        texts = (self.hidden(part, getattr(part, text)) for part, text in _texts(crew))
        return sorted({found[0] for text in texts for found in _BRACES.finditer(text)})

    def hidden(self, part: Any, text: str | None) -> str:
        """The part's text with those braces hidden that are data."""
        if not text or "{" not in text or not (self.written is None or id(part) in self.written):
            return text or ""
        elsewhere: set[str] = set()
        for value in sorted({s for v in self.values.values() for s in _strings(v) if "{" in s}, key=len, reverse=True):
            if value in text:
                text = text.replace(value, value.translate(_HIDE))
            else:  # it may have come in otherwise: indented, in another case, as JSON
                elsewhere.update(names_in(value))
        beside = _BRACES.sub("", text)

        def is_data(name: str) -> bool:
            return name in elsewhere or (name in self.values and _has(beside, self.values[name]))

        return _hide(text, is_data, doubled=False)


NO_DATA = Data({})


def _has(text: str, value: Any) -> bool:
    """Whether the value stands in the text, as a word of its own."""
    words = str(value).translate(_HIDE)
    if not words.strip():
        return False
    place = text.find(words)
    while place >= 0:
        end = place + len(words)
        if not _WORD.fullmatch(text[max(0, place - 1) : place]) and not _WORD.fullmatch(text[end : end + 1]):
            return True
        place = text.find(words, place + 1)
    return False


def _hide(text: str, is_data: Callable[[str], bool], *, doubled: bool) -> str:
    """The text with the braces hidden around such names, and the doubled ones, which are no placeholders."""

    def hide(found: re.Match[str]) -> str:
        hidden = doubled if found[1] is None else is_data(found[1])
        return found[0].translate(_HIDE) if hidden else found[0]

    return _BRACES.sub(hide, text)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _strings(item)


def _hidden_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {_hidden_value(key): _hidden_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden_value(item) for item in value]
    return value.translate(_HIDE) if isinstance(value, str) else value


def fill_once(crew: Crew, data: Data, *, leave_unknown: bool, also: Iterable[Any] = ()) -> None:
    """Let the kickoff of this crew, which is ours, fill each placeholder once, and nothing that is data.

    CrewAI replaces one name after the other, so that a value that has the next name in braces is filled in, too.

    Args:
        crew: Its texts are filled in place at the kickoff, after its callbacks.
        data: What its factory was given.
        leave_unknown: Whether names that are no inputs stay in braces; CrewAI's error otherwise.
        also: Agents of its tasks that the crew does not list, to be filled like those that it does.
    """
    stock = crew._interpolate_inputs

    def interpolate(inputs: dict[str, Any]) -> None:
        texts = [*_texts(crew), *((agent, text) for agent in also for text in ("role", "goal", "backstory"))]
        for part, text in texts:
            for name in (text, f"_original_{text}"):
                if shown := getattr(part, name, None):
                    hidden = _hide(data.hidden(part, shown), lambda n: leave_unknown and n not in inputs, doubled=True)
                    _set(part, name, hidden)
        try:
            hidden_inputs = {k: v if k in _AS_TEXT else _hidden_value(v) for k, v in inputs.items()}
            stock(hidden_inputs)
            for agent in also:
                agent.interpolate_inputs(hidden_inputs)
        finally:
            for part, text in texts:
                for name in (text, f"_original_{text}"):
                    if filled := getattr(part, name, None):
                        _set(part, name, filled.translate(_SHOW))

    interpolate._crew_nb = "a run"  # type: ignore[attr-defined]
    object.__setattr__(crew, "_interpolate_inputs", interpolate)


def _set(part: Any, name: str, text: str) -> None:
    """In place, whatever the part's class checks."""
    (part.__pydantic_private__ if name.startswith("_") else vars(part))[name] = text
