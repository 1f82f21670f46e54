"""Several batches as one: what a cell shows that launches more than once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from crew_nb._state.state import BatchState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._board.sweep import Sweep
    from crew_nb._state.state import RunState


class Source(Protocol):
    """What a board is drawn from: a batch."""

    def state(self) -> BatchState:
        """A frozen snapshot; a run that changed is another object than before."""

    def table(self) -> list[dict[str, Any]]:
        """A row per run with everything, for a file; called in a thread of its own, as it may take long."""

    @property
    def sweep(self) -> Sweep | None:
        """What is shown of a sweep besides its runs; None for any other batch."""

    def command(self, name: str, **args: Any) -> None:
        """Do what a person asked for; called on any thread, comes back at once.

        Args:
            name: `cancel` [run], `pause`, `resume`, `retry` [run], or `answer` (run, key, text, approve).
            **args: The arguments of the command.
        """


class Shown(Source, Protocol):
    """A batch, as a cell that shows it sees it."""

    @property
    def open_runs(self) -> int:
        """Runs that have not ended."""

    @property
    def joined(self) -> int:
        """How many wait for it now."""


class Together:
    """Batches in the order of their launch; their runs are counted through."""

    sweep = None
    """Several have no grid in common."""

    def __init__(self, *batches: Shown) -> None:
        self._batches = batches
        self._rows: dict[tuple[int, str], tuple[RunState, RunState]] = {}

    def and_then(self, batch: Shown) -> Together:
        """The same with one batch more."""
        return Together(*self._batches, batch)

    @property
    def open_runs(self) -> int:
        """Runs that have not ended."""
        return sum(batch.open_runs for batch in self._batches)

    @property
    def joined(self) -> int:
        """How many wait for one of them now."""
        return sum(batch.joined for batch in self._batches)

    def state(self) -> BatchState:
        """One snapshot of all."""
        states = [batch.state() for batch in self._batches]
        names = list(dict.fromkeys(state.name for state in states))
        runs: list[RunState] = []
        for state in states:
            before = f"{state.name}: " if state.name and len(names) > 1 else ""
            runs += [self._row(len(runs) + place, before, run) for place, run in enumerate(state.runs)]
        return BatchState(
            key=states[0].key,
            name=", ".join(name or "batch" for name in names) if len(names) > 1 else names[0],
            runs=tuple(runs),
            created=min(state.created for state in states),
            finished=_last([state.finished for state in states]),
            paused=any(state.paused for state in states),
            notes=tuple(dict.fromkeys(note for state in states for note in state.notes)),
            max_concurrency=sum(state.max_concurrency for state in states),
            in_flight=sum(state.in_flight for state in states),
            limit_reason=next((state.limit_reason for state in states if state.limit_reason), ""),
        )

    def _row(self, index: int, before: str, run: RunState) -> RunState:
        """The run in its place; the same object as long as nothing has happened in it."""
        if index == run.index and not before:
            return run
        known = self._rows.get((index, before))
        if known is None or known[0] is not run:
            label, error = f"{before}{run.label}", run.error
            if error is not None:
                said = error.message.replace(f"run {run.index} ({run.label})", f"run {index} ({label})", 1)
                error = replace(error, message=said)
            known = run, replace(run, index=index, label=label, error=error)
            self._rows[index, before] = known
        return known[1]

    def table(self) -> list[dict[str, Any]]:
        """A row per run, with the name of its batch."""
        rows: list[dict[str, Any]] = []
        for batch in self._batches:
            name = batch.state().name
            rows += [{**row, "run": len(rows) + place, "batch": name} for place, row in enumerate(batch.table())]
        return rows

    def command(self, name: str, **args: Any) -> None:
        """Do it to the batch whose run is meant, or to all."""
        place: int | None = args.pop("run", None)
        for batch in self._batches:
            if place is None:
                batch.command(name, **args)
                continue
            runs = len(batch.state().runs)
            if place < runs:
                batch.command(name, run=place, **args)
                return
            place -= runs


def _last(times: Sequence[float | None]) -> float | None:
    """When the last of them ended; None while one goes on."""
    ended = [time for time in times if time is not None]
    return max(ended) if len(ended) == len(times) else None
