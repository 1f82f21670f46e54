"""A batch that was read back, from the store or from a file; what is damaged costs itself only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crew_nb._record import codec as _codec
from crew_nb._state.errors import RecordError
from crew_nb._state.events import ErrorInfo, Event
from crew_nb._state.plain import unplain
from crew_nb._state.state import BatchState, RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One run that is kept; what is large is decoded when it is first looked at."""

    state: RunState
    run_key: str = ""
    """What `find_done` knows it by; empty in a file."""
    batch_key: str = ""
    batch_name: str = ""
    inputs_json: str = "null"
    output_json: str | None = None
    events_json: str = "[]"
    scores: Mapping[str, Any] = field(default_factory=dict)
    """What is kept of its scores, by name; in a file they stand in `meta`."""

    @cached_property
    def inputs(self) -> dict[str, Any] | None:
        """Its inputs; secret ones read `***`. None where they are damaged."""
        inputs = unplain(parsed(self.inputs_json))
        return inputs if isinstance(inputs, dict) else None

    @cached_property
    def tree(self) -> Any:
        """Its output as the JSON that was made of it, or None where it has none.

        Raises:
            RecordError: It is damaged.
        """
        if self.output_json is None:
            return None
        tree = parsed(self.output_json)
        if tree is None:
            raise RecordError("it is damaged")
        return tree

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Its events in order, those that can be read."""
        trees = parsed(self.events_json)
        return tuple(_codec.decode_events(trees)) if isinstance(trees, list) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTask:
    """One task that is kept of a run that is not done."""

    asked: str
    """What `DoneTask` has."""
    tree: dict[str, Any]
    """Its output as JSON, and what it took."""


@dataclass(frozen=True, kw_only=True)
class LoadedBatch:
    """A batch that was read back; `runs[i]` is None where no end was recorded."""

    state: BatchState
    runs: tuple[StoredRun | None, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else was kept of it."""
    put_score: Callable[[int, str, Any], Future[str | None]] | None = None
    """Keeps another score of it, by run and name; None for a file."""

    @property
    def events(self) -> list[Event]:
        """All events, in the order of time."""
        return sorted((e for run in self.runs if run is not None for e in run.events), key=lambda e: e.at)


def parsed(text: str | bytes | None) -> Any:
    """What the JSON says; None where there is none or it is damaged."""
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def labels_of(text: str) -> list[str]:
    """The labels of a batch's runs; none where they are damaged."""
    labels = parsed(text)
    return [str(label) for label in labels] if isinstance(labels, list) else []


def batch_of(
    key: str,
    name: str,
    created: float,
    labels: list[str],
    runs: Mapping[int, StoredRun],
    *,
    indices: Sequence[int] = (),
    notes: tuple[str, ...] = (),
    meta: Mapping[str, Any] | None = None,
) -> LoadedBatch:
    """What was read, in order; `indices` where they are not the places."""
    count = max([len(labels), *(place + 1 for place in runs)])
    labels = labels + [""] * (count - len(labels))
    places = tuple(runs.get(place) for place in range(count))
    ends = [run.state.finished for run in places if run is not None and run.state.finished is not None]
    finished = max(ends, default=created)
    missing = sum(run is None for run in places)
    if missing:
        notes = (*notes, f"the end of {missing} of {count} runs was not recorded; resume=True runs them")
    states = tuple(
        _without_end(indices[place] if indices else place, labels[place], created, finished)
        if run is None
        else run.state
        for place, run in enumerate(places)
    )
    state = BatchState(key=key, name=name, runs=states, created=created, finished=finished, notes=notes)
    return LoadedBatch(state=state, runs=places, meta=meta or {})


def _without_end(index: int, label: str, created: float, finished: float) -> RunState:
    error = ErrorInfo(
        type="NotRecorded",
        message="the end of this run was not recorded: its kernel ended first, or it goes on in another kernel",
        hint="run the cell again with resume=True",
        retryable=True,
    )
    return RunState(
        index=index,
        label=label,
        status="cancelled",
        queued=created,
        finished=finished,
        last_event=finished,
        error=error,
    )
