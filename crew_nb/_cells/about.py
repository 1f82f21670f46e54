"""`cnb.environment()` and `cnb.load()`: what the parts know of themselves, put together for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crew_nb._crewai import names as _crewai
from crew_nb._handles.results import Results
from crew_nb._record import record as _record
from crew_nb._state import loop as _loop

if TYPE_CHECKING:
    import os

    from crew_nb._record.listed import BatchInfo
    from crew_nb._state.loop import Environment


def environment() -> Environment:
    """Which kernel, front end and loop this is, whether it is nested or patched, and how runs are joined here."""
    from crew_nb._crewai import fast as _fast

    path = "direct, where a crew qualifies"
    if not _crewai.loaded():
        path += " and CrewAI's source is one that was checked (it is loaded with the first crew)"
    elif why := _fast.unfamiliar():
        path = f"CrewAI's own executor: {why}"
    return _loop.environment({"engine's path": path, "record": _record.describe()})


def load(which: str | os.PathLike[str] | BatchInfo) -> Results:
    """A batch that is kept (by key, or the newest of a name), or one that `results.save` wrote, as `Results`.

    Raises:
        RecordError: When there is no such batch or file, or it cannot be read.
    """
    return Results.loaded(_record.load(which))
