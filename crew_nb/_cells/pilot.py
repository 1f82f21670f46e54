"""`estimate`: what a batch will take, from a few of its runs, which are kept as done."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from crew_nb._cells import estimate as _estimate
from crew_nb._cells import form as _form
from crew_nb._cells.sweep import planned
from crew_nb._cells.verbs import BatchOptions, launch_in_cell, spelled_out
from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import startable as _startable
from crew_nb._state import words as _words
from crew_nb._state.errors import OptionError
from crew_nb._state.options import check_whole, options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from crew_nb._cells.estimate import Amount, Measured
    from crew_nb._crewai.startable import CrewLike
    from crew_nb._handles.batch import Batch
    from crew_nb._state.options import Options


@spelled_out
def estimate(
    crew: CrewLike,
    inputs: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    pilot: int = 5,
    over: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]] | None = None,
    repeats: int = 1,
    **given: Unpack[BatchOptions],
) -> Estimate:
    """Start a few runs of a batch and return an `Estimate` of all; `await estimate` until those are done.

    They count as done: the same call of `kickoff_for_each` or `sweep` with `resume=estimate.name` runs the others.

    Args:
        crew: What `kickoff_for_each` takes, or `sweep`.
        inputs: The inputs of all runs.
        pilot: How many runs to start, spread over the inputs; of a sweep, at least one of each variant. 0 runs nothing
            and tells what the crew alone does: how many runs, and LLM calls at the least.
        over: What `sweep` takes; None where it is no sweep.
        repeats: What `sweep` takes.
    """
    check_whole("pilot", pilot, 0, words=": how many runs to start, 0 for none")
    if over is None and repeats != 1:
        raise OptionError('repeats= is of a sweep. Write over={"tone": ["dry", "warm"]} with it.')
    chosen = options(**given)
    if over is None:
        plans, variants = _blueprint.plans_for_each(crew, inputs), None
    else:
        plans, cells = planned(crew, inputs, over, repeats)  # type: ignore[arg-type] # a dict is refused there
        variants = [tuple(map(str, cell.variant.values())) for cell in cells]
    title = _form.title(_startable.startable(crew))
    if not chosen.title:
        chosen = replace(chosen, name=f"{title}: pilot {uuid.uuid4().hex[:4]}")
    kinds = variants or [()] * len(plans)
    taken = _spread(kinds, pilot)
    least = None if taken else _form.shape(crew).calls
    batch = launch_in_cell([replace(plans[n], index=i) for i, n in enumerate(taken)], chosen) if taken else None
    return Estimate(kinds, taken, batch, chosen, least)


def _spread(kinds: Sequence[tuple[str, ...]], most: int) -> list[int]:
    """Places of so many runs, of each kind one at least, in turn, and spread over all that there are."""
    if not most:
        return []
    of: dict[tuple[str, ...], list[int]] = {}
    for place, kind in enumerate(kinds):
        of.setdefault(kind, []).append(place)
    wanted = min(max(most, len(of)), len(kinds))
    each, more = divmod(wanted, len(of))
    found = []
    for turn, places in enumerate(of.values()):
        count = min(each + (turn < more), len(places))
        shift = turn / len(of)  # so that the variants are tried on different inputs
        found += [places[int((n + shift) * len(places) / count)] for n in range(count)]
    return sorted(found)


class Estimate:
    """What a batch will take, by what some of its runs took; each look counts those that are done by then."""

    def __init__(
        self,
        kinds: Sequence[tuple[str, ...]],
        taken: Sequence[int],
        batch: Batch | None,
        options: Options,
        least: int | None,
    ) -> None:
        self.runs = len(kinds)
        """How many runs there are in all."""
        self.batch = batch
        """The runs that were started; None for `pilot=0`."""
        self.name = "" if batch is None else batch.name
        """What `resume=` takes them by."""
        self._kinds = Counter(kinds)
        self._kind_of = [kinds[place] for place in taken]
        self._options = options
        self._least = least

    @property
    def calls(self) -> Amount | None:
        """LLM calls of all runs, or what is known of them."""
        if self.batch is None:
            return None if self._least is None else _estimate.Amount(float(self._least * self.runs))
        return self._amount(lambda seen: seen.calls)

    @property
    def tokens(self) -> Amount | None:
        """Tokens of all runs; None before one is done."""
        return self._amount(lambda seen: seen.tokens)

    @property
    def cost(self) -> Amount | None:
        """US dollars of all runs; None before one is done, and where a price is unknown: `cnb.set_price` tells it."""
        return self._amount(lambda seen: seen.cost)

    @property
    def seconds(self) -> float | None:
        """How long the other runs will take, with the same options; None before one is done."""
        seen = self._seen()
        chosen = self._options
        left = self.runs - len(self._kind_of)
        if seen is None:
            return None
        return _estimate.seconds(left, seen, concurrency=chosen.concurrency, max_rpm=chosen.max_rpm)

    def wait(self, timeout: float | None = None) -> Estimate:
        """The same as `await`, in plain code."""
        if self.batch is not None:
            self.batch.wait(timeout)
        return self

    def __await__(self) -> Generator[Any, None, Estimate]:
        if self.batch is not None:
            yield from self.batch.__await__()
        return self

    def _seen(self, kind: tuple[str, ...] | None = None) -> Measured | None:
        if self.batch is None:
            return None
        return _estimate.measured(self.batch.state(), lambda index: kind in (None, self._kind_of[index]))

    def _amount(self, of: Callable[[Measured], tuple[float, ...] | None]) -> Amount | None:
        """Of all runs: what those that are done took, and for each variant what the others will."""
        every = self._seen()
        if every is None or of(every) is None:
            return None
        groups: list[tuple[tuple[float, ...], int]] = []
        for kind, count in self._kinds.items():
            seen = self._seen(kind)
            values = () if seen is None else of(seen) or ()
            groups.append((values, count - len(values)))
        return _estimate.amount(groups).plus(sum(sum(values) for values, _ in groups))

    def __repr__(self) -> str:
        head = f"{self.runs:,} run{'' if self.runs == 1 else 's'}"
        calls = self.calls
        if self.batch is None:
            return f"{head}, at least {calls.about:,.0f} calls." if calls else f"{head}."
        seen, tried = self._seen(), len(self.batch)
        if seen is None:
            return f"{head}. None of the {tried:,} that were started is done: {self.batch!r}"
        lines = [f"{head}, from {seen.runs:,} of {tried:,} that were started:"]
        told = (("calls", calls, _estimate.rounded), ("tokens", self.tokens, _estimate.rounded))
        for what, found, words in (*told, ("dollars", self.cost, _words.money)):
            lines.append(f"  {what:8} {'unknown' if found is None else found.told(words)}")
        if tried < self.runs:
            lines.append(f"  {'time':8} {_estimate.spell(self.seconds or 0)} for the other {self.runs - tried:,}")
            lines.append(f"resume={self.name!r} in the real call takes these as done.")
        return "\n".join(lines)
