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
import types
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

R = TypeVar("R", bound=Any)

_LEARNING = threading.Lock()  # two threads that learn at once would lose what one of them learnt

HIDDEN = "***"
SHORTEST = 8
"""Characters; shorter values are not looked for, since they are found in ordinary text."""
DEEPEST = 6
"""How far an object is searched for secrets."""
MOST = 20_000
"""How many objects are searched for secrets."""
NAME_LOOKED_AT = 100
"""Characters at the end of a name that are looked at: a client may send longer ones."""
FEW = 100
"""Values that are looked for one after the other; more are looked for all at once."""
PAST = 500
"""Values of environment variables that are still known when the variables are gone."""
WORD_HELD = 256
"""Characters of a stream's last word that wait for the rest of it; of a longer one, what follows its last quote."""
HELD = 16_000
"""Characters of a stream that wait at the most; no key is longer."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORDS = frozenset(
    {"apikey", "passwd", "password", "passphrase", "passcode", "pwd", "secret", "secrets", "token", "credential"}
    | {"credentials", "authorization", "cookie", "bearer"}
)
_ALSO_WORDS = frozenset({"token", "secret", "secrets", "cookie", "bearer"})  # they have a meaning of their own
_MAKES_SURE = frozenset({"api", "app", "access", "auth", "bearer", "bot", "client", "refresh", "session", "shared"})
_KEY_BEFORE = (
    frozenset({"api", "access", "secret", "private", "auth", "account", "signing", "encryption", "master"})
    # Whose keys they are.
    | {"openai", "anthropic", "azure", "google", "gemini", "groq", "mistral", "cohere", "deepseek", "openrouter", "xai"}
    | {"together", "fireworks", "cerebras", "nvidia", "perplexity", "replicate", "huggingface", "hf", "aws", "bedrock"}
    | {"voyage", "jina", "pinecone", "qdrant", "weaviate", "serper", "serpapi", "tavily", "exa", "brave", "firecrawl"}
    | {"langsmith", "langfuse", "elevenlabs", "github", "gitlab", "slack", "notion", "stripe", "twilio", "sendgrid"}
)
_COUNTED = frozenset(
    {"count", "counts", "limit", "limits", "usage", "budget", "type", "types", "length", "size", "max", "min", "ids"}
)
_ENV_WORDS = _SECRET_WORDS | {"key", "keys", "auth", "pat", "dsn"}
# What people give to clients that want a key and need none, and other words that are no secret.
_PLACEHOLDERS = frozenset(
    {"password", "changeme", "disabled", "required", "optional", "anonymous", "undefined", "placeholder", "lm-studio"}
    | {"not-needed", "not-required", "no-key-required", "no-api-key", "sk-no-key", "sk-no-key-required", "fake-key"}
)
_ORDINARY = re.compile(r"[A-Za-z]?[a-z]+|[A-Z]+")
_RUN = re.compile(r"[A-Za-z0-9]+")
RANDOM = 0.3
"""How often small letters, capitals and digits take turns in a key, at the least; in words they do more seldom."""


@functools.lru_cache(4096)
def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def is_secret_name(name: str) -> bool:
    """Whether a field, header or input of that name holds a secret: `api_key`, `Authorization`, `dbPassword`."""
    words = _words(name[-NAME_LOOKED_AT:])
    if not words or words[-1] in _COUNTED:
        return False
    return not _SECRET_WORDS.isdisjoint(words) or any(_is_key(*pair) for pair in pairwise(words))


def is_secret(name: str, value: object) -> bool:
    """Whether a value is a secret: told by its name where that has one meaning, and else by its looks, too.

    An `api_key` or a `db_password` is one whatever it says; a `key`, a `token` or a `token_style` only if it is as
    random as a key. No value at all, under a name that could hold a secret, counts as one that is not set yet.
    """
    if _is_surely_secret(name):
        return True
    if not is_secret_name(name) and _words(name[-NAME_LOOKED_AT:])[-1:] not in (("key",), ("keys",)):
        return False
    texts = _texts(value)
    return all(map(_looks_random, texts)) if texts else not value


def _is_surely_secret(name: str) -> bool:
    before, last = ("", "", *_words(name[-NAME_LOOKED_AT:]))[-2:]
    if last in _ALSO_WORDS:
        return before in _MAKES_SURE
    return last in _SECRET_WORDS or _is_key(before, last)


def _is_key(before: str, word: str) -> bool:
    return word in ("key", "keys") and before in _KEY_BEFORE


def _looks_random(text: str) -> bool:
    """Whether a text is one long string of letters and digits in no order, as keys are and slugs and words are not."""
    if any(shape.is_in(text) for shape in _SHAPES):
        return True
    run = max(_RUN.findall(text), key=len, default="")
    if len(run) < 2 * SHORTEST or len(text.split()) != 1 or run.isalpha() or run.isdigit():
        return False
    kinds = [(c.isdigit(), c.isupper()) for c in run]
    return sum(a != b for a, b in pairwise(kinds)) >= len(run) * RANDOM


def _looks_chosen(text: str) -> bool:
    """Whether a text has a word that no prose has: letters and digits in one, or signs among letters."""
    return any(_LETTER.search(word) and (_DIGIT.search(word) or _SIGN.search(word)) for word in text.split())


def _is_plain_word(text: str) -> bool:
    """Whether it may well be said in an answer: `postgres` as a password, `attention` as a token."""
    return len(text) < 2 * SHORTEST and _ORDINARY.fullmatch(text) is not None


def _is_secret_variable(name: str) -> bool:
    return not _ENV_WORDS.isdisjoint(_words(name)) or name.endswith("DATABASE_URL")


def _in_address(text: str) -> Iterator[str]:
    """The secrets in an address: its password, a key as its user, and what a secret name holds in its query."""
    if "://" not in text or not ("@" in text or "?" in text):
        return
    with suppress(ValueError):
        parts = urlsplit(text.strip())
        found = [parts.password or "", *(value for name, value in parse_qsl(parts.query) if is_secret_name(name))]
        if parts.username and _looks_random(parts.username):
            found.append(parts.username)
        for value in found:
            yield from dict.fromkeys((value, unquote(value)))


@dataclass(frozen=True, slots=True)
class _Shape:
    """How one kind of secret looks: where it stands, and what it is.

    The pattern takes all that might belong to it, so that nothing is looked at twice, and `judge` says then whether
    it is one.
    """

    hints: tuple[str, ...]
    """It is looked for only in texts that hold one of these: `in` is a hundred times faster than a search."""
    pattern: re.Pattern[str]
    """Its first group stays and its second one is the secret."""
    judge: Callable[[str], object]

    def is_in(self, text: str) -> bool:
        """Whether the text holds one."""
        if not any(hint in text for hint in self.hints):
            return False
        return any(self.judge(found[2]) for found in self.pattern.finditer(text))

    def hide(self, text: str) -> str:
        """The text without them."""
        if not any(hint in text for hint in self.hints):
            return text
        return self.pattern.sub(lambda found: found[1] + HIDDEN if self.judge(found[2]) else found[0], text)


def _long(least: int) -> Callable[[str], object]:
    """The judge of what a key is if it is so long and has a digit."""
    return lambda body: len(body) >= least and _DIGIT.search(body)


def _is_token(body: str) -> bool:
    """The judge of JSON Web Tokens: three parts, of which the last may be empty."""
    parts = body.split(".")
    return len(parts) == 3 and all(len(part) >= 10 for part in parts[:2])


_DIGIT = re.compile(r"\d")
_LETTER = re.compile(r"[A-Za-z]")
_SIGN = re.compile(r"[@#$%^&*+=~|\\/<>{}\[\]]")
_PREFIXES = (
    "sk-",
    "gsk_",
    "hf_",
    "glpat-",
    "pplx-",
    "tvly-",
    "xai-",
    "nvapi-",
    "r8_",
    "lsv2_",
    "npm_",
    "pypi-",
    "dapi",
)
_NAMED = r"(?:api[-_]?key|access[-_]?key|token|secret|password|passwd)"
_SHAPES = tuple(
    _Shape(hints, re.compile(pattern), judge)
    for hints, pattern, judge in (
        (_PREFIXES, rf"(?<![A-Za-z0-9])()(?:{'|'.join(_PREFIXES)})([A-Za-z0-9_-]*+)", _long(20)),
        (("AIza",), r"(?<![A-Za-z0-9])()(AIza[A-Za-z0-9_-]{35})", bool),
        (("ya29.",), r"(?<![A-Za-z0-9])()(ya29\.[A-Za-z0-9_-]{20,}+)", bool),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?<![A-Za-z0-9])()(gh[pousr]_[A-Za-z0-9]{30,}+)", bool),
        (("github_pat_",), r"()(github_pat_[A-Za-z0-9_]{22,}+)", bool),
        (("AKIA", "ASIA"), r"(?<![A-Za-z0-9])()(A[KS]IA[A-Z0-9]{16})(?![A-Za-z0-9])", bool),
        (("xox",), r"(?<![A-Za-z0-9])()xox[abeoprs]-([A-Za-z0-9-]*+)", _long(10)),
        (("eyJ",), r"(?<![A-Za-z0-9])()eyJ([\w-]*+(?:\.[\w-]*+){0,2}+)", _is_token),
        (("earer", "EARER"), r"(\b[bB](?i:earer)\s{1,8})([A-Za-z0-9._~+/=-]{16,}+)", _DIGIT.search),
        (
            ("asic", "ASIC"),
            r"(?i)(authorization['\"]?\s{0,8}[:=]\s{0,8}['\"]?basic\s{1,8})([A-Za-z0-9+/=]{8,}+)",
            bool,
        ),
        (("://",), r"(://[^\s/:@'\"<>]*+:)([^\s/@'\"<>]++)(?=@)", bool),
        (
            ("PRIVATE KEY",),
            r"(?s)()(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z))",
            bool,
        ),
        (
            ("?", "&"),
            r"([?&](?:api[-_]?key|key|access[-_]?token|token|sig|signature|secret|password)=)([^\s&#'\"<>]{8,}+)",
            bool,
        ),
        (
            ("key", "KEY", "Key", "oken", "OKEN", "ecret", "ECRET", "assw", "ASSW"),
            # The set of first letters lets `re` skip what cannot begin a match: five times faster than alternatives.
            r"((?=[aAtTsSpP])(?i:" + _NAMED + r")['\"]?\s{0,8}[:=]\s{0,8}['\"])([^\s'\"]*+)(?=['\"])",
            lambda body: len(body) >= SHORTEST and _DIGIT.search(body) and _LETTER.search(body),
        ),
        (
            ("word=", "WORD=", "pwd=", "PWD=", "ecret=", "ECRET=", "key=", "KEY="),
            r"((?<![A-Za-z])(?i:password|pwd|secret|api[-_]?key)=)([^\s'\",;&)]*+)",
            _long(SHORTEST),
        ),
    )
)
_OPENED = re.compile(
    r"(?i)(?:\bbearer\s{1,8}|authorization['\"]?\s{0,8}(?:[:=]\s{0,8}['\"]?(?:basic\s{1,8})?)?"
    rf"|{_NAMED}['\"]?\s{{0,8}}(?:[:=]\s{{0,8}}['\"]?)?)\Z"
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
        return {value for value in self.all if _ORDINARY.fullmatch(value)}

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
            for leaf in _leaves(given, 0):
                _search(leaf, found, set(), 1, MOST)  # an LLM, a client, an address
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
        spans = sorted(span for values in self._levels() for span in values.spans(text))
        if spans:
            parts, end = [], 0
            for start, stop in spans:
                if start >= end:
                    parts += [text[end:start], HIDDEN]
                end = max(end, stop)
            text = "".join([*parts, text[end:]])
        for shape in _SHAPES:
            text = shape.hide(text)
        return text

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

    def scrub_fields(self, record: R) -> R:
        """The frozen dataclass with its texts scrubbed, and those of the records in it; itself where nothing was."""
        changed: dict[str, Any] = {}
        for field in fields(record):
            value = getattr(record, field.name)
            clean: Any = value
            if isinstance(value, str):
                clean = self.scrub(value)
            elif is_dataclass(value) and not isinstance(value, type):
                clean = self.scrub_fields(value)
            elif isinstance(value, tuple) and value and is_dataclass(value[0]):
                clean = tuple(self.scrub_fields(item) for item in value)
            if clean != value:
                changed[field.name] = clean
        return replace(record, **changed) if changed else record

    def scrub_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with those hidden whose name says that they are secret, at any depth; texts are scrubbed.

        The hidden values are learnt if they look like secrets (an input `token` may be a word).
        """
        hidden: list[tuple[str, str]] = []
        left = _without_secrets(dict(inputs), hidden, 0)
        self.learn(
            text for name, text in hidden if _looks_random(text) or (_is_surely_secret(name) and _looks_chosen(text))
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
        _search(thing, found, set(), 0, most)
        if self._given is None:
            leaves = _leaves(self._inputs, 0)
            self._given = (*(text for leaf in leaves for text in _texts(leaf)), *self._values.all)
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
            for value in (*(_of_variable(name, text)), *_in_address(text))
        )
        self._past = {**{value: None for value in self._past if value not in found}, **found}
        for value in list(self._past)[: max(0, len(self._past) - max(PAST, len(found)))]:
            del self._past[value]
        known = _forms(self._past)
        if known != self._values.all:
            self._values = _Values(known)


def _of_variable(name: str, text: str) -> Iterator[str]:
    if len(text) < SHORTEST or not _is_secret_variable(name) or text.startswith(("/", "~", "./")):
        return
    if not _is_plain_word(text) and (_is_surely_secret(name) or len(text.split()) == 1):
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


def texts_in(inputs: Mapping[str, Any] | None) -> Iterator[str]:
    """The texts in inputs that are long enough to be a secret, at any depth."""
    return (text for leaf in _leaves(inputs or {}, 0) for text in _texts(leaf) if len(text) >= SHORTEST)


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    """What is in containers, but is none."""
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        yield value
    elif depth <= DEEPEST:
        for item in list(value.values()) if isinstance(value, Mapping) else value:
            yield from _leaves(item, depth + 1)


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
        secrets = _texts(item) if is_secret_name(str(name)) or is_secret(within, item) else []
        hidden += [(within, text) for text in secrets]
        left[name] = HIDDEN if secrets else _without_secrets(item, hidden, depth + 1, str(name))
    return left


def _texts(value: Any) -> list[str]:
    """The texts in a value that a secret name holds."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, bytes):
        return [value.decode("utf-8", "ignore")]
    if hasattr(value, "get_secret_value"):
        return _texts(value.get_secret_value())
    if isinstance(value, Mapping):
        value = list(value.values())
    return [text for item in value for text in _texts(item)] if isinstance(value, list | tuple | set) else []


def _search(thing: Any, found: list[str], seen: set[int], depth: int, most: int) -> None:
    if isinstance(thing, str):
        found.extend(_in_address(thing))
        return
    if isinstance(thing, bytes | int | float | None) or depth > DEEPEST or len(seen) >= most or id(thing) in seen:
        return
    seen.add(id(thing))
    if hasattr(type(thing), "get_secret_value"):
        with suppress(Exception):  # a class of the user's
            found.extend(_texts(thing))
        return
    try:
        entries = _entries(thing)
    except Exception:  # the methods of a user's class
        return
    for name, value in entries:
        if isinstance(name, str) and (is_secret_name(name) or is_secret(name, value)):
            sure = _is_surely_secret(name)
            texts = [text for text in _texts(value) if not _is_plain_word(text)]
            found.extend(text for text in texts if sure or (len(text.split()) == 1 and _looks_chosen(text)))
        _search(value, found, seen, depth + 1, most)


def _entries(thing: Any) -> list[tuple[Any, Any]]:
    """What an object holds, with its names: attributes, private ones and slots too, and what its class says."""
    if isinstance(thing, Mapping):
        return list(thing.items())
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return list(zip(thing._fields, thing, strict=False))
    if isinstance(thing, list | tuple | set | frozenset):
        return [("", item) for item in list(thing)]
    if isinstance(thing, types.MethodType):
        return [("", thing.__self__), ("", thing.__func__)]
    if isinstance(thing, types.FunctionType):
        return _of_function(thing)
    if isinstance(thing, functools.partial):
        return [("", thing.func), ("", thing.args), ("", thing.keywords)]
    if isinstance(thing, type):
        return _of_class(thing)
    if type(thing).__module__ in ("builtins", "_thread", "threading", "logging"):
        return []
    entries: list[tuple[Any, Any]] = []
    for place in ("__dict__", "__pydantic_private__", "__pydantic_extra__"):
        with suppress(Exception):
            entries += list((object.__getattribute__(thing, place) or {}).items())
    for kind in type(thing).__mro__:
        for name, member in list(vars(kind).items()):
            if isinstance(member, types.MemberDescriptorType) and not name.startswith("__"):
                with suppress(Exception):  # it is not set
                    entries.append((name, member.__get__(thing)))
    return entries + _of_class(type(thing))


def _of_class(kind: type) -> list[tuple[Any, Any]]:
    """The plain values that a class and its bases hold."""
    return [
        (name, value)
        for base in kind.__mro__
        if base.__module__ != "builtins"
        for name, value in list(vars(base).items())
        if not name.startswith("__") and isinstance(value, str | bytes | dict | list | tuple)
    ]


def _of_function(function: types.FunctionType) -> list[tuple[Any, Any]]:
    """What a function has at hand: the variables around it, its defaults, and the globals that it names."""
    code = function.__code__
    entries: list[tuple[Any, Any]] = [("", function.__defaults__), ("", function.__kwdefaults__)]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # it is empty yet
            entries.append((name, cell.cell_contents))
    names = [name for name in code.co_names if name in function.__globals__]
    values = [(name, function.__globals__[name]) for name in names]
    return entries + [(name, value) for name, value in values if isinstance(value, str | bytes | dict | list | tuple)]
