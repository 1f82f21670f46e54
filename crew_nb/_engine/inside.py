"""A batch that a run's own code has launched, as that run's row shows it: its tasks open inside the one that did."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crew_nb._crewai import listen as _listen
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._state.attempt import Attempt

LABEL_SHOWN = 40
"""Characters of a run's label before the names of its tasks."""


class Inside:
    """Hears the events of the inner batch, and tells them as the outer run's."""

    def __init__(self, outer: Attempt, key: str, labels: Sequence[str]) -> None:
        """In the context of the code that launches the batch.

        Args:
            outer: The attempt that this code runs for.
            key: The inner batch.
            labels: Of its runs.
        """
        self._outer = outer
        self._key = key
        self._labels = labels
        self._parent = _listen.place_of(outer)
        self._tool = _attempt.tool.get()
        self._places: dict[int, list[int]] = {}
        """By inner run, the places of its tasks in the outer one."""
        self._crews: dict[tuple[int, int], int] = {}
        self._open: dict[int, dict[str, ev.Event]] = {}
        """By inner run, its tasks that are at work and what it waits for."""

    def __call__(self, event: ev.Event) -> None:
        """Take one event of the inner batch; on the engine's loop."""
        match event:
            case ev.CrewReady():
                self._places[event.run] = []
                self._found(event.run, event.tasks)
            case ev.TasksFound():
                self._found(event.run, event.tasks)
            case ev.RunFinished():
                self._close(event)
            case ev.CallStarted():
                within = self._name(event.run, event.within) if event.within else self._tool
                name, place = self._name(event.run, event.call), self._place(event.run, event.task)
                self._post(event, call=name, task=place, within=within)
            case ev.CallChunk() | ev.CallFinished() | ev.CallFailed():
                self._post(event, call=self._name(event.run, event.call), task=self._place(event.run, event.task))
            case ev.WaitStarted():
                told = self._post(event, key=self._name(event.run, event.key), task=self._place(event.run, event.task))
                self._open.setdefault(event.run, {})[event.key] = told
            case ev.WaitFinished():
                self._open.get(event.run, {}).pop(event.key, None)
                self._post(event, key=self._name(event.run, event.key))
            case ev.Logged():
                self._post(event, task=self._place(event.run, event.task))
            case ev.TaskStarted() | ev.TaskFinished() | ev.TaskFailed() | ev.TaskTaken():
                self._task(event)

    def _task(self, event: ev.TaskStarted | ev.TaskFinished | ev.TaskFailed | ev.TaskTaken) -> None:
        places = self._places.get(event.run, [])
        if event.task < len(places):
            told = self._post(event, task=places[event.task])
            at_work = self._open.setdefault(event.run, {})
            if isinstance(event, ev.TaskStarted):
                at_work[f"task {event.task}"] = told
            else:
                at_work.pop(f"task {event.task}", None)

    def _found(self, run: int, tasks: Sequence[ev.TaskSpec]) -> None:
        places = self._places.get(run, [])
        if self._parent is None or not tasks or not _listen.has_room(self._outer):
            return  # what they do is told of the outer run, or of its task, as a whole
        first = tasks[0].parent
        # Tasks of one event are the run's own, or all inside one of its steps; their joins are among themselves.
        parent = self._parent if first is None else self._place(run, first)
        before = f"{self._labels[run][:LABEL_SHOWN]}: " if self._labels[run] and first is None else ""
        specs = [
            replace(
                spec,
                name=f"{before}{spec.name}",
                joins=tuple(place - len(places) for place in spec.joins),
                crew=self._crew(run, spec.crew),
            )
            for spec in tasks
        ]
        assert parent is not None
        start = _listen.open_inside(self._outer, specs, parent)
        self._places[run] = [*places, *range(start, start + len(specs))]

    def _crew(self, run: int, crew: int) -> int:
        if (run, crew) not in self._crews:
            self._crews[run, crew] = next(self._outer.crews)
        return self._crews[run, crew]

    def _close(self, event: ev.RunFinished) -> None:
        """Nothing of an inner run is at work once it has ended."""
        for key, told in self._open.pop(event.run, {}).items():
            if isinstance(told, ev.TaskStarted):
                words = event.error.message if event.error is not None else event.status
                self._post(ev.TaskFailed(run=event.run, at=_clock.now(), task=told.task, message=words))
            else:
                self._post(ev.WaitFinished(run=event.run, at=_clock.now(), key=self._name(event.run, key)))
        if event.from_record:
            words = f"{self._labels[event.run]}: taken from the record".removeprefix(": ")
            self._post(ev.Logged(run=event.run, at=_clock.now(), text=words, task=self._parent))

    def _place(self, run: int, place: int | None) -> int | None:
        places = self._places.get(run, [])
        return places[place] if place is not None and place < len(places) else self._parent

    def _name(self, run: int, key: str) -> str:
        return f"{self._key}-{run}-{key}"

    def _post(self, event: ev.Event, **changed: object) -> ev.Event:
        told = replace(event, run=self._outer.index, **changed)  # type: ignore[arg-type]
        self._outer.post(told)
        return told
