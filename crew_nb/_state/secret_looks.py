"""What a secret looks like: the name that it stands under, and its shape.

A shape has to be one that prose, code and hashes do not have. Looking through a text takes time in proportion to its
length.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
STEP = 64_000
"""Characters of a text that are looked through in one go."""
AHEAD = 16_000
"""Characters after them that belong to what begins in them; no key is longer."""
LONG = 100_000
"""Characters; what longer texts look like is remembered, as an answer is met as a call's, a task's and a run's."""
REMEMBERED = 100
"""Texts of which that is known."""
SHORTEST = 8
"""Characters; shorter values are not looked for, since they are found in ordinary text."""
NAME_LOOKED_AT = 100
"""Characters at the end of a name that are looked at: a client may send longer ones."""
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
ORDINARY = re.compile(r"[A-Za-z]?[a-z]+|[A-Z]+")
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
    if is_surely_secret(name):
        return True
    if not is_secret_name(name) and _words(name[-NAME_LOOKED_AT:])[-1:] not in (("key",), ("keys",)):
        return False
    texts = texts_of(value)
    return all(map(looks_random, texts)) if texts else not value


def is_surely_secret(name: str) -> bool:
    before, last = ("", "", *_words(name[-NAME_LOOKED_AT:]))[-2:]
    if last in _ALSO_WORDS:
        return before in _MAKES_SURE
    return last in _SECRET_WORDS or _is_key(before, last)


def _is_key(before: str, word: str) -> bool:
    return word in ("key", "keys") and before in _KEY_BEFORE


def looks_random(text: str) -> bool:
    """Whether a text is one long string of letters and digits in no order, as keys are and slugs and words are not."""
    if any(shape.is_in(text) for shape in SHAPES):
        return True
    run = max(_RUN.findall(text), key=len, default="")
    if len(run) < 2 * SHORTEST or len(text.split()) != 1 or run.isalpha() or run.isdigit():
        return False
    kinds = [(c.isdigit(), c.isupper()) for c in run]
    return sum(a != b for a, b in pairwise(kinds)) >= len(run) * RANDOM


def looks_chosen(text: str) -> bool:
    """Whether a text has a word that no prose has: letters and digits in one, or signs among letters."""
    return any(_LETTER.search(word) and (_DIGIT.search(word) or _SIGN.search(word)) for word in text.split())


def is_plain_word(text: str) -> bool:
    """Whether it may well be said in an answer: `postgres` as a password, `attention` as a token."""
    return len(text) < 2 * SHORTEST and ORDINARY.fullmatch(text) is not None


def is_secret_variable(name: str) -> bool:
    return not _ENV_WORDS.isdisjoint(_words(name)) or name.endswith("DATABASE_URL")


def in_address(text: str) -> Iterator[str]:
    """The secrets in an address: its password, a key as its user, and what a secret name holds in its query."""
    if "://" not in text or not ("@" in text or "?" in text):
        return
    with suppress(ValueError):
        parts = urlsplit(text.strip())
        found = [parts.password or "", *(value for name, value in parse_qsl(parts.query) if is_secret_name(name))]
        if parts.username and looks_random(parts.username):
            found.append(parts.username)
        for value in found:
            yield from dict.fromkeys((value, unquote(value)))


@dataclass(frozen=True, slots=True, eq=False)
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
        return any(hint in text for hint in self.hints) and any(True for _ in self.spans(text))

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they stand in the text, which is looked through in steps, as no other thread runs within one."""
        at = 0
        for step in range(0, len(text), STEP):
            begin, end, until = max(at, step), step + STEP, step + STEP + AHEAD
            if begin >= end or not any(text.find(hint, begin, until) >= 0 for hint in self.hints):
                continue
            for found in self.pattern.finditer(text, begin, until):
                if found.start() >= end:
                    break
                if found.end() == until:  # and on
                    found = self.pattern.match(text, found.start()) or found
                at = found.end()
                if self.judge(found[2]):
                    yield found.end(1), at


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

NAMED = r"(?:api[-_]?key|access[-_]?key|token|secret|password|passwd)"
SHAPES = tuple(
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
            r"((?=[aAtTsSpP])(?i:" + NAMED + r")['\"]?\s{0,8}[:=]\s{0,8}['\"])([^\s'\"]*+)(?=['\"])",
            lambda body: len(body) >= SHORTEST and _DIGIT.search(body) and _LETTER.search(body),
        ),
        (
            ("word=", "WORD=", "pwd=", "PWD=", "ecret=", "ECRET=", "key=", "KEY="),
            r"((?<![A-Za-z])(?i:password|pwd|secret|api[-_]?key)=)([^\s'\",;&)]*+)",
            _long(SHORTEST),
        ),
    )
)


def _by_sign() -> dict[str, list[tuple[str, _Shape]]]:
    found: dict[str, list[tuple[str, _Shape]]] = {}
    for shape in SHAPES:
        for hint in shape.hints:
            found.setdefault(next((c for c in hint if not c.islower()), hint), []).append((hint, shape))
    return found


_HINTS = _by_sign()
"""The hints by a character that few texts have, where they hold one: most texts are met by the dozen in every run."""
_remembered: dict[tuple[int, int], list[tuple[int, int]]] = {}


def shaped(text: str) -> list[tuple[int, int]]:
    """Where what looks like a secret stands in a text, in order."""
    if len(text) <= LONG:
        return _found(text)
    spans = _remembered.get(_key(text))
    if spans is None:
        spans = _found(text)
        while len(_remembered) >= REMEMBERED:
            _remembered.pop(next(iter(_remembered)), None)
        _remembered[_key(text)] = spans
    return spans


def _found(text: str) -> list[tuple[int, int]]:
    hinted = [shape for sign, hints in _HINTS.items() if sign in text for hint, shape in hints if hint in text]
    return sorted({span for shape in dict.fromkeys(hinted) for span in shape.spans(text)}) if hinted else []


def is_new(text: str) -> bool:
    """Whether to look through the text takes long, which is not for the engine's loop."""
    return len(text) > LONG and _key(text) not in _remembered


def _key(text: str) -> tuple[int, int]:
    return len(text), hash(text)


def texts_of(value: Any) -> list[str]:
    """The texts in a value that a secret name holds."""
    kind = type(value)  # not `isinstance` or `hasattr`: what a user's object says of itself may raise
    if issubclass(kind, str):
        return [value]
    if issubclass(kind, bytes):
        return [value.decode("utf-8", "ignore")]
    if hasattr(kind, "get_secret_value"):
        return texts_of(value.get_secret_value())
    if issubclass(kind, Mapping):
        return texts_of(list(value.values()))
    return [text for item in value for text in texts_of(item)] if issubclass(kind, list | tuple | set) else []
