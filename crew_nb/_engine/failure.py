"""What went wrong in a run, as people read it: the user's error out of CrewAI's wrappers, and its story."""

from __future__ import annotations

import sysconfig
import traceback
from contextlib import suppress
from pathlib import Path

from crew_nb._crewai import names as _crewai
from crew_nb._engine import retry as _retry
from crew_nb._state import events as ev
from crew_nb._state.secrets import Secrets, is_secret, learn_environment

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
        return str(error)
    except Exception as trouble:
        return f"its text cannot be shown: {type(trouble).__name__} in {type(error).__name__}.__str__"


def cause(error: BaseException) -> BaseException:
    """The user's error in what came out of CrewAI."""
    if _crewai.is_abort(error) and error.__cause__ is not None:
        return error.__cause__
    return error


def info(error: BaseException, secrets: Secrets) -> ev.ErrorInfo:
    """The error as text, with what to do about it; `secrets` learns what it may give away."""
    known: ev.ErrorInfo | None = vars(error).get("crew_nb_info")
    if known is not None:  # it happened on another machine
        return known
    _learn_secrets(error, secrets)
    verdict = _retry.classify(error)
    return ev.ErrorInfo(
        type=type(error).__name__,
        message=said(error),
        traceback=_story(error),
        hint=verdict.hint,
        retryable=verdict.retryable,
    )
