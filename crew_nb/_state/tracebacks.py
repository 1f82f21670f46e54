"""One of our errors as a cell shows it: the user's own lines and the sentence; what lies between is behind a fold."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from crew_nb._state.html import el

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = str(Path(__file__).parents[1])
_NOT_THE_USERS = (_OURS, *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))
_folded = (0, 0)
"""Which error was folded last, and in which cell: IPython asks for what it shows, and again for what it stores."""
WHOLE_KEPT = 20_000
"""Characters of the whole traceback that the fold has, its end."""


def rendered(error: BaseException) -> list[str]:
    """The traceback for IPython; with `%xmode Verbose` the whole."""
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    formatter = shell.InteractiveTB

    def written() -> list[str]:
        return list(formatter.structured_traceback(type(error), error, error.__traceback__))

    links = list(_chain(error))
    before = [link.__traceback__ for link in links]
    after = [_short(step) for step in before]
    left_out = sum(map(_count, before)) - sum(map(_count, after))
    if not left_out or formatter.mode == "Verbose":
        return written()
    global _folded
    folded = (id(error), shell.execution_count)
    if hasattr(shell, "kernel") and folded != _folded:
        _folded = folded
        _fold(formatter.stb2text(written()), left_out)
    try:
        for link, step in zip(links, after, strict=True):
            link.__traceback__ = step
        return written()
    finally:
        for link, step in zip(links, before, strict=True):
            link.__traceback__ = step


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that Python shows above it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _short(step: TracebackType | None) -> TracebackType | None:
    """The frames of the user's code, and where the error was raised if that is not here."""
    kept: list[TracebackType] = []
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        last = step.tb_next is None and not file.startswith(_OURS)
        if last or not (file.startswith(_NOT_THE_USERS) or file.startswith("<frozen")):
            kept.append(step)
        step = step.tb_next
    made: TracebackType | None = None
    for step in reversed(kept):
        made = TracebackType(made, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return made


def _count(step: TracebackType | None) -> int:
    count = 0
    while step is not None:
        count, step = count + 1, step.tb_next
    return count


def _fold(whole: str, left_out: int) -> None:
    from IPython.display import display

    head = f"{left_out} frames of the libraries between are left out below"
    lines = el("pre", whole[-WHOLE_KEPT:])
    html = el("div", el("details", el("summary", f"{head}: the whole traceback"), lines), class_="crew-nb")
    display({"text/plain": f"{head}; %xmode Verbose shows them.", "text/html": html}, raw=True)  # type: ignore[no-untyped-call]
