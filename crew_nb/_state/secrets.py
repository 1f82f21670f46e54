"""What must never be written, and its removal from texts: known secrets by value, others by their shape.

Ordinary text is left alone: a shape has to be one that prose, code and hashes do not have, and what is learnt has to
look like a secret, whatever it stands under. It is learnt for the run or the batch that it came with, and forgotten
with it. Looking through a text takes time in proportion to its length.
"""

from __future__ import annotations

import functools
import json
import os
import re
import threading
import weakref
from bisect import bisect_left
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from crew_nb._state.secret_looks import (
    HIDDEN,
    NAME_LOOKED_AT,
    NAMED,
    ORDINARY,
    SHORTEST,
    in_address,
    is_plain_word,
    is_secret,
    is_secret_name,
    is_secret_variable,
    is_surely_secret,
    looks_chosen,
    looks_random,
    shaped,
    texts_of,
)
from crew_nb._state.secret_search import DEEPEST, MOST, leaves, search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

R = TypeVar("R", bound=Any)
_LEARNING = threading.Lock()  # two threads that learn at once would lose what one of them learnt
FEW = 100
"""Values that are looked for one after the other; more are looked for all at once."""
PAST = 500
"""Values of environment variables that are still known when the variables are gone."""
WORD_HELD = 256
"""Characters of a stream's last word that wait for the rest of it; of a longer one, what follows its last quote."""
HELD = 16_000
"""Characters of a stream that wait at the most; no key is longer."""

# What people give to clients that want a key and need none, and other words that are no secret.
_PLACEHOLDERS = frozenset(
    {"password", "changeme", "disabled", "required", "optional", "anonymous", "undefined", "placeholder", "lm-studio"}
    | {"not-needed", "not-required", "no-key-required", "no-api-key", "sk-no-key", "sk-no-key-required", "fake-key"}
)

_OPENED = re.compile(
    r"(?i)(?:\bbearer\s{1,8}|authorization['\"]?\s{0,8}(?:[:=]\s{0,8}['\"]?(?:basic\s{1,8})?)?"
    rf"|{NAMED}['\"]?\s{{0,8}}(?:[:=]\s{{0,8}}['\"]?)?)\Z"
)
"""What stands before a secret, where that follows after white space or a quote."""
_INK = "".join(map(chr, range(33, 127)))
_BODY = "".join(sorted(set(_INK) - set("\"',;(){}[]<>`")))
_BLOCK = re.compile(
    r"(?s)-----BEGIN [A-Z ]{0,40}(?:-{0,4}\Z|PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z))"
)
"""A private key, or its beginning at the end of the text."""


class _Values:
    """Texts that are looked for in others; how long that takes does not depend on how many they are."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self.all = frozenset(values)

    @functools.cached_property
    def _in_order(self) -> list[str]:
        return sorted(self.all)

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self.all))

    @functools.cached_property
    def _firsts(self) -> set[str]:
        return {value[0] for value in self.all}

    @functools.cached_property
    def _words(self) -> set[str]:
        return {value for value in self.all if ORDINARY.fullmatch(value)}

    @functools.cached_property
    def _by_beginning(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for value in self.all:
            found.setdefault(value[:SHORTEST], []).append(value)
        return found

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where they stand. One that looks like a word is found on its own only, not within other words."""
        found: list[tuple[int, int]] = []
        if len(self.all) > FEW:
            beginnings = self._by_beginning
            for start in range(len(text) - SHORTEST + 1):
                if (begin := text[start : start + SHORTEST]) in beginnings:
                    at = (value for value in beginnings[begin] if text.startswith(value, start))
                    found += [(start, start + len(value)) for value in at]
        else:
            for value in self.all:
                start = text.find(value)
                while start >= 0:
                    found.append((start, start + len(value)))
                    start = text.find(value, start + len(value))
        if self._words:
            found = [(i, j) for i, j in found if text[i:j] not in self._words or _stands_alone(text, i, j)]
        return found

    def begins(self, text: str, until: int) -> int:
        """Where, before `until`, the end of the text may be the beginning of one of them; else `until`."""
        for start in range(max(0, len(text) - self._longest), until):
            if text[start] in self._firsts:
                rest = text[start:]
                place = bisect_left(self._in_order, rest)
                if place < len(self.all) and self._in_order[place].startswith(rest):
                    return start
        return until


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with what is there hidden; spans in their order, of which some may overlap."""
    if not spans:
        return text
    parts, end = [], 0
    for start, stop in spans:
        if start >= end:
            parts += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _stands_alone(text: str, start: int, end: int) -> bool:
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    return not any(c.isalnum() or c == "_" for c in around)


class Secrets:
    """What is known to be secret here, and above; replaces it in texts by `***`.

    A run has its own, under its batch's, under those of the environment: what one run's inputs say changes no other
    run. It may be used from any thread.
    """

    def __init__(self, above: Secrets | None = None, given: Mapping[str, Any] | None = None) -> None:
        """Take `given`, the inputs of a run, as its own: what stands in them is not made known to other runs."""
        self._above: Secrets | None = above if above is not None else ENVIRONMENT
        self._values = _Values()
        self._inputs = given
        self._given: tuple[str, ...] | None = None
        """The texts in them, once they are asked for."""
        self._seen: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.on_learnt: Callable[[], object] = lambda: None
        """Called when something new has been learnt, from any thread."""
        if given is not None:
            found: list[str] = []
            for leaf in leaves(given, 0):
                search(leaf, found, set(), 1, MOST)  # an LLM, a client, an address
            self.learn(found)
            self.scrub_inputs(given)

    def _levels(self) -> Iterator[_Values]:
        at: Secrets | None = self
        while at is not None:
            if at._values.all:
                yield at._values
            at = at._above

    def scrub(self, text: str) -> str:
        """The text without secrets."""
        if len(text) < SHORTEST:
            return text
        text = _without(text, sorted(span for values in self._levels() for span in values.spans(text)))
        return _without(text, shaped(text))

    def unfinished(self, text: str) -> int:
        """Where a text that goes on may have the beginning of a secret; its length where nothing is to wait."""
        at = len(text.rstrip(_INK))
        if len(text) - at > WORD_HELD:
            at = len(text.rstrip(_BODY))
        opened = _OPENED.search(text, max(0, at - 80), at)
        if opened is not None:
            at = opened.start()
        begin = text.rfind("-----BEGIN ", 0, at)
        block = _BLOCK.match(text, begin) if begin >= 0 else None
        if block is not None and block.end() >= at:
            at = begin
        for values in self._levels():
            at = values.begins(text, at)
            at = min([start for start, end in values.spans(text) if start < at < end], default=at)
        return max(at, len(text) - HELD)

    def cut_short(self, text: str) -> str:
        """The end of a text that was cut off, as far as it was said: without what may be the beginning of a secret."""
        at = self.unfinished(text)
        rest = text[at:].split()
        known = min([values.begins(text, len(text)) for values in self._levels()], default=len(text))
        is_word = len(rest) == 1 and rest[0].strip(".,;:!?").isalpha() and len(text) - known < SHORTEST // 2
        return self.scrub(text) if is_word or not rest else self.scrub(text[:at]) + HIDDEN

    def said_in(self, text: str) -> set[str]:
        """Those of the secrets that stand in the text."""
        return {text[start:end] for values in self._levels() for start, end in values.spans(text)}

    def known(self) -> frozenset[str]:
        """All of them, those above too: for another process, where they are to be hidden as here."""
        return frozenset(value for values in self._levels() for value in values.all)

    def scrub_fields(self, record: R) -> R:
        """The frozen dataclass with its texts scrubbed, and those of the records in it; itself where nothing was."""
        changed: dict[str, Any] = {}
        kind: Any = type(record)
        for name in _field_names(kind):
            value = getattr(record, name)
            clean: Any = value
            if isinstance(value, str):
                clean = self.scrub(value)
            elif is_dataclass(value) and not isinstance(value, type):
                clean = self.scrub_fields(value)
            elif isinstance(value, tuple) and value and is_dataclass(value[0]):
                clean = tuple(self.scrub_fields(item) for item in value)
            if clean != value:
                changed[name] = clean
        return replace(record, **changed) if changed else record

    def scrub_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with those hidden whose name says that they are secret, at any depth; texts are scrubbed.

        The hidden values are learnt if they look like secrets (an input `token` may be a word).
        """
        hidden: list[tuple[str, str]] = []
        left = _without_secrets(dict(inputs), hidden, 0)
        self.learn(
            text for name, text in hidden if looks_random(text) or (is_surely_secret(name) and looks_chosen(text))
        )
        scrubbed: dict[str, Any] = self.scrub_values(left)  # what is learnt from one input may stand in another
        return scrubbed

    def scrub_values(self, value: Any, depth: int = 0) -> Any:
        """The value with the texts in it scrubbed, at any depth of dicts, lists and tuples."""
        if isinstance(value, str):
            return self.scrub(value)
        if depth > DEEPEST or type(value) not in (dict, list, tuple):
            return value
        if type(value) is dict:
            return {name: self.scrub_values(item, depth + 1) for name, item in value.items()}
        return type(value)(self.scrub_values(item, depth + 1) for item in value)

    def learn(self, values: Iterable[str]) -> None:
        """From now on these are secrets, also where they stand URL-quoted or escaped as in JSON and in reprs."""
        forms = _forms(values)
        with _LEARNING:
            known = self._values.all
            news = not forms <= known
            if news:
                self._values = _Values(known | forms)
        if news:
            self.on_learnt()

    def learn_from(self, thing: object, most: int = MOST) -> None:
        """Learns the secrets that a crew, an agent, an LLM, a tool or any other object carries.

        They are the values of fields and mapping entries (headers, client parameters) with a secret name, and the
        passwords in addresses. What came with the inputs of this run stays with it; all else is known to the batch.

        Args:
            thing: The object.
            most: How many objects in it are looked at.
        """
        found: list[str] = []
        search(thing, found, set(), 0, most)
        if self._given is None:
            given = leaves(self._inputs, 0)
            self._given = (*(text for leaf in given for text in texts_of(leaf)), *self._values.all)
        own = [text for text in found if any(text in given for given in self._given)]
        self.learn(own)
        self._shared.learn(set(found).difference(own))

    @property
    def _shared(self) -> Secrets:
        """What its batch's runs share; itself where it is no run's."""
        return self if self._inputs is None or self._above is None else self._above

    def learn_once(self, things: Iterable[object]) -> None:
        """`learn_from` each of them that was not seen before: crews of one batch mostly share LLMs and tools."""
        seen = self._shared._seen
        for thing in things:
            if seen.get(id(thing)) is not thing:
                self.learn_from(thing)
                with suppress(TypeError):  # some objects cannot be referred to weakly
                    seen[id(thing)] = thing


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def together(many: Iterable[Secrets]) -> Secrets:
    """All that any of them knows, for what is said of several runs."""
    whole = Secrets()
    whole._values = _Values(value for values in {v for each in many for v in each._levels()} for value in values.all)
    return whole


class _Environment(Secrets):
    """What the variables of this process hold: the user's own, and so known to every run."""

    def __init__(self) -> None:
        super().__init__(self)
        self._above = None
        self._past: dict[str, None] = {}
        self._variables: dict[Any, Any] = {}

    @property
    def version(self) -> object:
        """Another one when something has been learnt."""
        return self._values

    def refresh(self) -> None:
        now = getattr(os.environ, "_data", None)  # as the system has it: to decode all of it takes 0.1 ms
        if now is not None and now == self._variables:
            return
        self._variables = dict(now or {})
        found = dict.fromkeys(
            value
            for name, text in list(os.environ.items())
            for value in (*(_of_variable(name, text)), *in_address(text))
        )
        self._past = {**{value: None for value in self._past if value not in found}, **found}
        for value in list(self._past)[: max(0, len(self._past) - max(PAST, len(found)))]:
            del self._past[value]
        known = _forms(self._past)
        if known != self._values.all:
            self._values = _Values(known)


def _of_variable(name: str, text: str) -> Iterator[str]:
    if len(text) < SHORTEST or not is_secret_variable(name) or text.startswith(("/", "~", "./")):
        return
    if not is_plain_word(text) and (is_surely_secret(name) or len(text.split()) == 1):
        yield text


ENVIRONMENT = _Environment()


def learn_environment() -> None:
    """Learns the values of environment variables whose name looks secret; where nothing has changed, at once."""
    ENVIRONMENT.refresh()


def _forms(values: Iterable[str]) -> set[str]:
    """Each value as it may stand in a text; none that is too short, or a word for `none`."""
    forms: set[str] = set()
    for value in values:
        value = value.strip()
        scheme, _, rest = value.partition(" ")
        parts = [value, *(line.strip() for line in value.splitlines()[1:] if len(line.strip()) >= 2 * SHORTEST)]
        if scheme.lower() in ("bearer", "basic", "token"):
            parts.append(rest.strip())
        for part in parts:
            if len(part) >= SHORTEST and part.lower() not in _PLACEHOLDERS:
                forms |= {part, quote(part), quote(part, safe=""), json.dumps(part)[1:-1], repr(part)[1:-1]}
                forms.add(json.dumps(part, ensure_ascii=False)[1:-1])
    return forms


def _without_secrets(value: Any, hidden: list[tuple[str, str]], depth: int, above: str = "") -> Any:
    """The value with what a secret name holds hidden; that is added to `hidden`, with its name.

    `{"auth": {"token": ...}}` is an `auth token`.
    """
    if depth > DEEPEST or type(value) not in (dict, list, tuple):
        return value
    if type(value) is not dict:
        return type(value)(_without_secrets(item, hidden, depth + 1, above) for item in value)
    left = {}
    for name, item in value.items():
        within = f"{above[-NAME_LOOKED_AT:]} {name}"
        secrets = texts_of(item) if is_secret_name(str(name)) or is_secret(within, item) else []
        hidden += [(within, text) for text in secrets]
        left[name] = HIDDEN if secrets else _without_secrets(item, hidden, depth + 1, str(name))
    return left
