"""The keyword options of the verbs, checked before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

from crew_nb._state.errors import OptionError

DEFAULT_CONCURRENCY = 32
"""Runs at once where `max_concurrency` is None: many providers' first tiers bear it, and 2 cores do."""

DEFAULT_RETRIES = 3

KICKOFF = ("input_files", "response_format")
"""Options that are arguments of CrewAI's own kickoffs."""


class RunOptions(TypedDict, total=False):
    """The options that say how runs are run, in a cell or in a server; `Options` says what they mean."""

    max_concurrency: int | Literal["auto"] | None
    timeout: float | None
    idle_timeout: float | None
    max_retries: int
    max_rpm: int | None
    max_tpm: int | None
    fail_fast: bool
    max_errors: int | float | None
    max_total_tokens: int | None
    max_cost: float | None
    stream: bool | None
    name: str | None
    resume: bool | str
    on: Any
    input_files: Mapping[str, Any] | None
    response_format: type[Any] | None
    answers: str | os.PathLike[str] | None
    answers_missing: Literal["ask", "error"] | None
    answers_speed: float
    answers_tools: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a batch was asked to keep to; the same for `kickoff`, `gather` and `kickoff_for_each`.

    Raises:
        OptionError: When a value cannot be meant, with what to write instead.
    """

    max_concurrency: int | Literal["auto"] | None = None
    timeout: float | None = None
    idle_timeout: float | None = None
    max_retries: int = DEFAULT_RETRIES
    max_rpm: int | None = None
    max_tpm: int | None = None
    fail_fast: bool = False
    max_errors: int | float | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    stream: bool | None = None
    show: bool = True
    name: str | None = None
    resume: bool | str = False
    on: Any = None
    keep_replay: bool = False
    input_files: Mapping[str, Any] | None = None
    response_format: type[Any] | None = None
    answers: str | os.PathLike[str] | None = None
    answers_missing: Literal["ask", "error"] | None = None
    answers_speed: float = 1.0
    answers_tools: bool = False

    def __post_init__(self) -> None:
        if self.max_concurrency is not None and self.max_concurrency != "auto":
            _whole(self, "max_concurrency", 1, 'how many runs at once, "auto" to adapt to the provider, or None for 32')
        _seconds(self, "timeout")
        _seconds(self, "idle_timeout")
        _whole(self, "max_retries", 0, "how often an LLM call is tried again")
        for option, meaning in (
            ("max_rpm", "LLM requests a minute"),
            ("max_tpm", "tokens a minute"),
            ("max_total_tokens", "tokens in all"),
        ):
            if getattr(self, option) is not None:
                _whole(self, option, 1, meaning)
        if self.max_cost is not None and not _positive(self.max_cost):
            raise OptionError(f"max_cost is {self.max_cost!r}. Write an amount in US dollars, such as max_cost=1.50.")
        if self.max_errors is not None:
            share = isinstance(self.max_errors, float) and 0 < self.max_errors < 1
            count = isinstance(self.max_errors, int) and not isinstance(self.max_errors, bool) and self.max_errors > 0
            if not share and not count:
                raise OptionError(
                    f"max_errors is {self.max_errors!r}. "
                    "Write a count from 1 (max_errors=5), a fraction of the runs (max_errors=0.1), "
                    "or fail_fast=True to stop everything at the first."
                )
        for option in ("fail_fast", "show", "keep_replay", "answers_tools"):
            if not isinstance(getattr(self, option), bool):
                raise OptionError(f"{option} is {getattr(self, option)!r}. Write {option}=True or {option}=False.")
        if self.input_files is not None and not isinstance(self.input_files, Mapping):
            raise OptionError(f'input_files is {self.input_files!r}. Write {{"report": File(source="report.pdf")}}.')
        if self.response_format is not None and not isinstance(self.response_format, type):
            raise OptionError(
                f"response_format is {self.response_format!r}. Write the class of a pydantic model, for an Agent."
            )
        if self.stream is not None and not isinstance(self.stream, bool):
            raise OptionError(
                f"stream is {self.stream!r}. Write True, False, or None to stream whenever a board is shown."
            )
        if self.name is not None and (not isinstance(self.name, str) or not self.name.strip()):
            raise OptionError(f'name is {self.name!r}. Write a short text, such as name="research sweep".')
        if not isinstance(self.resume, bool | str) or (isinstance(self.resume, str) and not self.resume.strip()):
            raise OptionError(f'resume is {self.resume!r}. Write resume=True, or resume="name of an earlier batch".')

        _answers(self)

    @property
    def how(self) -> dict[str, Any]:
        """Arguments of CrewAI's own kickoffs, those that were given."""
        return {name: getattr(self, name) for name in KICKOFF if getattr(self, name) is not None}

    @property
    def concurrency(self) -> int:
        """Runs at once, with the default filled in; the ceiling where it adapts."""
        if self.max_concurrency is None:
            return DEFAULT_CONCURRENCY
        return 100 if self.max_concurrency == "auto" else self.max_concurrency

    @property
    def title(self) -> str:
        """What the batch is called: who resumes one by its name goes on under that name."""
        return self.name or (self.resume if isinstance(self.resume, str) else "")

    def shown(self) -> dict[str, Any]:
        """Those that are not at their default, for the record."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("on", "show", *KICKOFF)}
        plain["answers"] = None if self.answers is None else os.fspath(self.answers)
        return {name: value for name, value in plain.items() if value != Options.__dataclass_fields__[name].default}


def options(**given: Any) -> Options:
    """Options by keyword.

    Raises:
        OptionError: When a name is unknown, with the nearest known one, or a value cannot be meant.
    """
    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            raise OptionError(f"{name} is not an option. {_did_you_mean(name, known)}")
    return Options(**given)


def _did_you_mean(name: str, known: list[str]) -> str:
    import difflib

    aliases = {"n_jobs": "max_concurrency", "max_workers": "max_concurrency", "concurrency": "max_concurrency"}
    near = [aliases[name]] if name in aliases else difflib.get_close_matches(name, known, 1)
    return f"Did you mean {near[0]}?" if near else f"The options are {', '.join(known)}."


def _whole(options: Options, name: str, least: int, meaning: str) -> None:
    check_whole(name, getattr(options, name), least, words=f": {meaning}")


def check_whole(name: str, value: Any, least: int, most: float = math.inf, words: str = "") -> None:
    """Refuse what is no whole number in these bounds.

    Raises:
        OptionError: With what to write instead; `words` go on after the least number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OptionError(f"{name} is {value!r}. Write a whole number from {least}{words}.")


def _answers(options: Options) -> None:
    where, speed = options.answers, options.answers_speed
    if where is not None and (not isinstance(where, str | os.PathLike) or not os.fspath(where)):
        raise OptionError(f'answers is {where!r}. Write the path of a file, such as answers="lesson.jsonl".')
    if options.answers_missing not in (None, "ask", "error"):
        raise OptionError(
            f'answers_missing is {options.answers_missing!r}. Write "ask" to ask the LLM what the file does not have, '
            'or "error"; None asks where the file is a new one.'
        )
    if speed != 0 and not _positive(speed):
        raise OptionError(f"answers_speed is {speed!r}. Write how many times faster than recorded, or 0 for at once.")
    given = [f.name for f in fields(options) if f.name.startswith("answers_") and getattr(options, f.name) != f.default]
    if given and where is None:
        raise OptionError(f'{given[0]} says how recorded answers are used. Write answers="lesson.jsonl" too.')


def _seconds(options: Options, name: str) -> None:
    value = getattr(options, name)
    if value is not None and not _positive(value):
        raise OptionError(f"{name} is {value!r}. Write seconds, such as {name}=60, or None for no limit.")


def _positive(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and value > 0 and math.isfinite(value)
