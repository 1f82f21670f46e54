"""`cnb.benchmark`: the user's own crews, one after another and at once, with the two timelines side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crew_nb._board import static as _static
from crew_nb._cells import verbs as _notebook
from crew_nb._crewai import startable as _startable
from crew_nb._state.errors import OptionError
from crew_nb._state.html import el

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crew_nb._crewai.startable import CrewLike
    from crew_nb._handles.results import Results
    from crew_nb._state.state import BatchState


@dataclass(frozen=True, slots=True, repr=False)
class Benchmark:
    """Both ways of running the same crews; draws itself in a cell."""

    one_by_one: Results
    at_once: Results

    @property
    def seconds(self) -> tuple[float, float]:
        """Seconds from the first start to the last end: one by one, and at once."""
        return _span(self.one_by_one.state), _span(self.at_once.state)

    @property
    def speedup(self) -> float:
        """How many times faster at once is."""
        apart, together = self.seconds
        return apart / together

    def __str__(self) -> str:
        apart, together = self.seconds
        n = len(self.at_once)
        return f"{n} crews one by one: {apart:.1f} s. At once: {together:.1f} s. {self.speedup:.1f}x faster."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        apart, together = self.seconds
        return str(
            el(
                "div",
                el("p", el("strong", str(self))),
                el("p", f"One by one, {apart:.1f} s:"),
                _static.timeline(self.one_by_one.state),
                el("p", f"At once, {together:.1f} s:"),
                _static.timeline(self.at_once.state),
            )
        )


def benchmark(crew: CrewLike, n: int = 4, *, inputs: Mapping[str, Any] | None = None, **options: Any) -> Benchmark:
    """Run the same crew `n` times one after another, then `n` times at once; blocks until both are done.

    Every LLM call is made twice as often as one batch would make it, and costs that much.

    Args:
        crew: A `Crew`, or a function that returns one.
        n: How many crews.
        inputs: The inputs of each.
        **options: As for `kickoff_for_each`, without `max_concurrency`, which is 1 and then `n`, and `resume`.

    Raises:
        OptionError: When `n` or an option has a value that cannot be meant, or that leaves nothing to compare.
        ExceptionGroup: When a run failed: nothing was measured then.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise OptionError(f"n is {n!r}. Write a whole number from 1: how many crews.")
    if options.get("max_concurrency") is not None:
        raise OptionError(
            f"max_concurrency is {options['max_concurrency']!r}, but a benchmark compares 1 at once with all n. "
            "Write n=... for how many, and leave max_concurrency out."
        )
    if options.get("resume"):
        raise OptionError(
            f"resume is {options['resume']!r}, but what comes from the record takes no time that could be measured. "
            "Leave it out."
        )
    crew = _startable.startable(crew)
    pairs = [(crew, inputs)] * n
    show = {"show": False, **options}
    warm = _notebook.gather(pairs[0], **show).wait()  # imports and connections are no part of what is compared
    warm.raise_for_errors()
    apart = _notebook.gather(*pairs, **{**show, "max_concurrency": 1}).wait().raise_for_errors()
    together = _notebook.gather(*pairs, **{**show, "max_concurrency": n}).wait().raise_for_errors()
    return Benchmark(apart, together)


def _span(state: BatchState) -> float:
    return max(r.finished or 0.0 for r in state.runs) - min(r.started or 0.0 for r in state.runs)
