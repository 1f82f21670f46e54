"""What must never be written, and its removal from texts: known secrets by value, others by their shape.

Ordinary text is left alone: a shape has to be one that prose, code and hashes do not have.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import quote

R = TypeVar("R", bound=Any)

HIDDEN = "***"
SHORTEST = 8
"""Characters; shorter values are not looked for, since they are found in ordinary text."""
DEEPEST = 6
"""How far an object is searched for secrets."""
MOST = 20_000
"""How many objects are searched for secrets."""

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


@lru_cache(4096)
def is_secret_name(name: str) -> bool:
    """Whether a field, header or input of that name holds a secret: `api_key`, `Authorization`, `dbPassword`."""
    words = [word.lower() for word in _WORD.findall(name)]
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
    words = [word.lower() for word in _WORD.findall(name)]
    if not is_secret_name(name) and words[-1:] not in (["key"], ["keys"]):
        return False
    texts = _texts(value)
    return all(map(_looks_random, texts)) if texts else not value


@lru_cache(4096)
def _is_surely_secret(name: str) -> bool:
    before, last = ["", "", *(word.lower() for word in _WORD.findall(name))][-2:]
    if last in _ALSO_WORDS:
        return before in _MAKES_SURE
    return last in _SECRET_WORDS or _is_key(before, last)


def _is_key(before: str, word: str) -> bool:
    return word in ("key", "keys") and before in _KEY_BEFORE


def _looks_random(text: str) -> bool:
    """Whether a text is one long string of letters and digits in no order, as keys are and slugs and words are not."""
    if any(hint in text and shape.search(text) for hints, shape, _ in _SHAPES for hint in hints):
        return True
    run = max(_RUN.findall(text), key=len, default="")
    if len(run) < 2 * SHORTEST or len(text.split()) != 1 or run.isalpha() or run.isdigit():
        return False
    kinds = [(c.isdigit(), c.isupper()) for c in run]
    return sum(a != b for a, b in pairwise(kinds)) >= len(run) * RANDOM


def _is_learnt(name: str, text: str) -> bool:
    """Whether a text that a secret name holds is hidden elsewhere, too: an ordinary word or sentence is not."""
    return _is_surely_secret(name) or len(text.split()) == 1


def _is_secret_variable(name: str) -> bool:
    return not _ENV_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name)) or name.endswith("DATABASE_URL")


# Each shape is tried only in texts that hold one of its hints: `in` is a hundred times faster than a search.
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...] = tuple(
    (hints, re.compile(pattern), put)
    for hints, pattern, put in (
        (("sk-",), r"(?<![A-Za-z0-9])sk-(?=[\w-]*\d)[A-Za-z0-9_-]{20,}", HIDDEN),
        (
            ("gsk_", "hf_", "glpat-", "pplx-", "tvly-", "xai-", "nvapi-", "r8_", "lsv2_", "npm_", "pypi-", "dapi"),
            r"(?<![A-Za-z0-9])(?:gsk_|hf_|glpat-|pplx-|tvly-|xai-|nvapi-|r8_|lsv2_|npm_|pypi-|dapi)"
            r"(?=[\w-]*\d)[A-Za-z0-9_-]{20,}",
            HIDDEN,
        ),
        (("AIza",), r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{35}", HIDDEN),
        (("ya29.",), r"(?<![A-Za-z0-9])ya29\.[A-Za-z0-9_-]{20,}", HIDDEN),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{30,}", HIDDEN),
        (("github_pat_",), r"github_pat_[A-Za-z0-9_]{22,}", HIDDEN),
        (("AKIA", "ASIA"), r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])", HIDDEN),
        (("xox",), r"(?<![A-Za-z0-9])xox[abeoprs]-(?=[\w-]*\d)[A-Za-z0-9-]{10,}", HIDDEN),
        (("eyJ",), r"(?<![A-Za-z0-9])eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*", HIDDEN),
        (("earer ", "EARER "), r"(?i)(\bbearer\s+)(?=\S*\d)[A-Za-z0-9._~+/=-]{16,}", rf"\1{HIDDEN}"),
        (("asic ", "ASIC "), r"(?i)(authorization['\"]?\s*[:=]\s*['\"]?basic\s+)[A-Za-z0-9+/=]{8,}", rf"\1{HIDDEN}"),
        (("://",), r"(://[^\s/:@'\"<>]*:)[^\s/@'\"<>]+(?=@)", rf"\1{HIDDEN}"),
        (("PRIVATE KEY",), r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", HIDDEN),
        (
            ("?", "&"),
            r"([?&](?:api[-_]?key|key|access[-_]?token|token|sig|signature|secret|password)=)[^\s&#'\"<>]{8,}",
            rf"\1{HIDDEN}",
        ),
        (
            ("key", "KEY", "Key", "oken", "OKEN", "ecret", "ECRET", "assw", "ASSW"),
            # The set of first letters lets `re` skip what cannot begin a match: five times faster than alternatives.
            r"([aAtTsSpP](?i:pi[-_]?key|ccess[-_]?key|oken|ecret|assword|asswd)['\"]?\s*[:=]\s*['\"])"
            r"(?=[^\s'\"]*\d)(?=[^\s'\"]*[A-Za-z])[^\s'\"]{8,}(?=['\"])",
            rf"\1{HIDDEN}",
        ),
        (
            ("word=", "WORD=", "pwd=", "PWD=", "ecret=", "ECRET=", "key=", "KEY="),
            r"((?<![A-Za-z])(?i:password|pwd|secret|api[-_]?key)=)(?=[^\s'\",;&)]*\d)[^\s'\",;&)]{8,}",
            rf"\1{HIDDEN}",
        ),
    )
)


class Scrubber:
    """Replaces secrets in texts by `***`; what it has once learnt it never forgets.

    It may be used from any thread.
    """

    def __init__(self) -> None:
        self._known: tuple[tuple[str, re.Pattern[str] | None], ...] = ()
        self._seen: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._environment: dict[Any, Any] = {}
        self._learning = threading.Lock()  # two threads that learn at once would lose what one of them learnt

    def scrub(self, text: str) -> str:
        """The text without secrets."""
        if len(text) < SHORTEST:
            return text
        for value, whole_word in self._known:
            if value in text:
                text = whole_word.sub(HIDDEN, text) if whole_word else text.replace(value, HIDDEN)
        for hints, shape, put in _SHAPES:
            if any(hint in text for hint in hints):
                text = shape.sub(put, text)
        return text

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

        The hidden values are learnt, unless they look like an ordinary word (an input `token` may be one).
        """
        hidden: list[str] = []
        left = _without_secrets(dict(inputs), hidden, 0)
        self.learn(text for text in hidden if not _ORDINARY.fullmatch(text))
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

    @property
    def learnt(self) -> int:
        """How much it knows; more than before, once it has learnt something new."""
        return len(self._known)

    def learn(self, values: Iterable[str]) -> None:
        """From now on these are secrets, also where they stand URL-quoted or escaped as in JSON and in reprs."""
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
        with self._learning:
            new = forms.difference(value for value, _ in self._known)
            if new:
                both = [*self._known, *((value, _as_word(value)) for value in new)]
                self._known = tuple(sorted(both, key=lambda known: -len(known[0])))

    def learn_environment(self) -> None:
        """Learns the values of environment variables whose name looks secret; where nothing has changed, at once."""
        now = getattr(os.environ, "_data", None)  # as the system has it: to decode all of it takes 0.1 ms
        if now is not None and now == self._environment:
            return
        self._environment = dict(now or {})
        self.learn(
            value
            for name, value in os.environ.items()
            if len(value) >= SHORTEST and _is_secret_variable(name) and not value.startswith(("/", "~", "./"))
        )

    def learn_from(self, thing: object, most: int = MOST) -> None:
        """Learns the secrets that a crew, an agent, an LLM, a tool or any other object carries.

        They are the values of fields and mapping entries (headers, client parameters) with a secret name.

        Args:
            thing: The object.
            most: How many objects in it are looked at.
        """
        found: list[str] = []
        _search(thing, found, set(), 0, most)
        self.learn(found)

    def learn_once(self, things: Iterable[object]) -> None:
        """`learn_from` each of them that was not seen before: crews of one batch mostly share LLMs and tools."""
        for thing in things:
            if self._seen.get(id(thing)) is not thing:
                self.learn_from(thing)
                with suppress(TypeError):  # some objects cannot be referred to weakly
                    self._seen[id(thing)] = thing


def _without_secrets(value: Any, hidden: list[str], depth: int) -> Any:
    """The value with what a secret name holds hidden; that is added to `hidden`."""
    if depth > DEEPEST or type(value) not in (dict, list, tuple):
        return value
    if type(value) is not dict:
        return type(value)(_without_secrets(item, hidden, depth + 1) for item in value)
    left = {}
    for name, item in value.items():
        secrets = _texts(item) if is_secret_name(str(name)) or is_secret(str(name), item) else []
        hidden += secrets
        left[name] = HIDDEN if secrets else _without_secrets(item, hidden, depth + 1)
    return left


def _as_word(value: str) -> re.Pattern[str] | None:
    """A pattern for a secret that looks like a word: it is found on its own only, not within other words."""
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)") if _ORDINARY.fullmatch(value) else None


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
    if isinstance(thing, str | bytes | int | float | type | None):
        return
    if depth > DEEPEST or len(seen) >= most or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Mapping):
        entries: Iterable[tuple[Any, Any]] = list(thing.items())
    elif isinstance(thing, list | tuple | set | frozenset):
        entries = [("", item) for item in list(thing)]
    elif type(thing).__module__ in ("builtins", "_thread", "threading", "logging"):
        return
    else:
        entries = list(getattr(thing, "__dict__", {}).items())
        if hasattr(thing, "get_secret_value"):
            found.extend(_texts(thing))
            return
    for name, value in entries:
        if isinstance(name, str) and (is_secret_name(name) or is_secret(name, value)):
            found.extend(text for text in _texts(value) if _is_learnt(name, text))
        _search(value, found, seen, depth + 1, most)


SCRUBBER = Scrubber()
"""The one that the record, the board and the saved notebook share: what one learns, all hide."""
