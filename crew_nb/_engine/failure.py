"""What went wrong in a run, as people read it: the user's error out of CrewAI's wrappers, and its story."""

from __future__ import annotations

import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from crew_nb._crewai import names as _crewai
from crew_nb._engine import retry as _retry
from crew_nb._state import events as ev
from crew_nb._state.secret_looks import is_secret
from crew_nb._state.secrets import Secrets, learn_environment

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LOOKED_AT = 1_000
"""How many objects in the hands of a failed function are searched for keys: the engine's loop waits for it."""

_HERE = str(Path(__file__).parents[1])
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")} | {"<frozen"})


def _story(error: BaseException) -> str:
    """The traceback as text, the lines of the user's own code first."""
    whole = "".join(traceback.format_exception(error))
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_HERE, *_LIBRARIES))
    ]
    if not own:
        return whole
    last = "".join(traceback.format_exception_only(error))
    return f"In your code:\n{''.join(traceback.format_list(own))}{last}\nThe whole of it:\n{whole}"


def _bare_story(error: BaseException) -> str:
    """Where it was raised, for an error that cannot be formatted (its notes raise, say)."""
    return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(error.__traceback__), said(error)])


def _learn_secrets(error: BaseException, secrets: Secrets) -> None:
    """Learns what the code that failed had in its hands, so that it is hidden where the error tells of it.

    That is how a key is known that a factory gave to an LLM, or put into the environment, before it failed.
    """
    learn_environment()
    told: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in told:
        told.add(id(following))
        for frame, _ in traceback.walk_tb(following.__traceback__):
            with suppress(Exception):  # the user's objects are looked at
                named = [frame.f_locals]
                if not frame.f_code.co_filename.startswith((_HERE, *_LIBRARIES)):
                    secrets.learn_from(dict(frame.f_locals), most=LOOKED_AT)
                    named.append(frame.f_globals)
                texts = [item for names in named for item in list(names.items()) if isinstance(item[1], str)]
                secrets.learn(text for name, text in texts if is_secret(name, text) and not text.isalpha())
        following = following.__cause__ or following.__context__


def said(error: BaseException) -> str:
    """The error's own words; it may not even have these."""
    try:
        return str.__str__(str(error))  # a subclass of `str` has methods of its own
    except BaseException as trouble:  # whatever it raises, a SystemExit too
        return f"its text cannot be shown: {type_name(trouble)} in {type_name(error)}.__str__"


def type_name(error: BaseException) -> str:
    """The name of its class, without asking the class, which may have a say in it."""
    name: str = vars(type)["__name__"].__get__(type(error))
    return name


def is_a(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Whether it is one of these; `isinstance` asks the error itself, which may raise."""
    return issubclass(type(error), kinds)


def cause(error: BaseException) -> BaseException:
    """The user's error in what came out of CrewAI."""
    try:
        if _crewai.is_abort(error) and error.__cause__ is not None:
            return error.__cause__
    except BaseException:  # noqa: S110 - it may raise wherever it is looked at
        pass
    return error


def info(error: BaseException, secrets: Secrets) -> ev.ErrorInfo:
    """The error as text, with what to do about it; `secrets` learns what it may give away.

    What it does not tell, since its own methods raise, is left out.
    """
    known = _tried(lambda: vars(error).get("crew_nb_info"))
    if type(known) is ev.ErrorInfo:  # it happened on another machine
        return known
    _tried(lambda: _learn_secrets(error, secrets))
    verdict = _retry.classify(error)
    return ev.ErrorInfo(
        type=type_name(error),
        message=said(error),
        traceback=_tried(lambda: _story(error)) or _tried(lambda: _bare_story(error)) or "",
        hint=verdict.hint,
        retryable=verdict.retryable,
    )


def own(error: BaseException) -> ev.ErrorInfo:
    """The same of an error of ours that nobody has raised: there is nothing of the user's in it."""
    kind, words = type(error), said(error)
    return ev.ErrorInfo(
        type=kind.__name__,
        message=words,
        traceback=f"{kind.__module__}.{kind.__qualname__}: {words}\n",
        hint="",
        retryable=False,
    )


def bare(error: BaseException) -> ev.ErrorInfo:
    """The last resort: nothing of the error's own is called."""
    return ev.ErrorInfo(type=type_name(error), message="the error cannot be looked at: its own methods raise, or hang")


def _tried(look: Callable[[], T]) -> T | None:
    """What a look at a user's object gives; None where it raises, whatever that is."""
    try:
        return look()
    except BaseException:
        return None
