"""`cnb.environment()` and `cnb.load()`: what the parts know of themselves, put together for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crew_nb import _crewai, _loop, _record
from crew_nb._results import Results

if TYPE_CHECKING:
    import os

    from crew_nb._kept import BatchInfo
    from crew_nb._loop import Environment


def environment() -> Environment:
    """Which kernel, front end and loop this is, whether it is nested or patched, and how runs are joined here."""
    from crew_nb import _fast

    known = _crewai.version() in _crewai.CHECKED
    why = _fast.unfamiliar() if _crewai.loaded() or not known else ""
    path = f"CrewAI's own executor: {why}" if why else "direct, where a crew qualifies"
    return _loop.environment({"engine's path": path, "record": _record.describe()})


def load(which: str | os.PathLike[str] | BatchInfo) -> Results:
    """A batch that is kept (by key, or the newest of a name), or one that `results.save` wrote, as `Results`.

    Raises:
        RecordError: When there is no such batch or file, or it cannot be read.
    """
    return Results.loaded(_record.load(which))
