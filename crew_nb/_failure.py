"""What went wrong in a run, as people read it: the user's error out of CrewAI's wrappers, and its story."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from crew_nb import _crewai, _retry
from crew_nb import _events as ev

_HERE = str(Path(__file__).parent)
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


def info(error: BaseException) -> ev.ErrorInfo:
    """The error as text, with what to do about it."""
    known: ev.ErrorInfo | None = vars(error).get("crew_nb_info")
    if known is not None:  # it happened on another machine
        return known
    verdict = _retry.classify(error)
    return ev.ErrorInfo(
        type=type(error).__name__,
        message=said(error),
        traceback=_story(error),
        hint=verdict.hint,
        retryable=verdict.retryable,
    )
