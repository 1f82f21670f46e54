"""What is hidden in one batch: each run's secrets, the pieces of its streams, and what was shown before it was known.

A stream is shown up to where the beginning of a secret may stand, since half a secret would not be known as one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from crew_nb._state import events as ev
from crew_nb._state.secret_looks import SHORTEST
from crew_nb._state.secret_search import texts_in
from crew_nb._state.secrets import ENVIRONMENT, Secrets, learn_environment, together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._state.state import RunState

SHARE = 0.05
"""How much of the loop's time may go into hiding what was shown before it was known to be secret."""

NAME_KEPT = 80
"""Characters of a task's name, which may be its whole description."""


class Stream:
    """The events of one run on their way to people and disks, without secrets; used by one thread at a time."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._held: dict[str, ev.CallChunk] = {}

    def clean(self, event: ev.Event) -> Iterator[ev.Event]:
        """What may be told of an event: a piece of text without what may be the beginning of a secret."""
        if isinstance(event, ev.CallChunk):
            held = self._held.pop(event.call, None)
            text = held.text + event.text if held is not None else event.text
            end = self._secrets.unfinished(text)
            if end < len(text):
                self._held[event.call] = replace(event, text=text[end:])
            yield replace(event, text=self._secrets.scrub(text[:end]))  # an empty one is a sign of life
            return
        if isinstance(event, ev.CallFinished) and (held := self._held.pop(event.call, None)) is not None:
            yield replace(held, text=self._secrets.scrub(held.text))
        elif isinstance(event, ev.CallFailed) and (held := self._held.pop(event.call, None)) is not None:
            yield replace(held, text=self._secrets.cut_short(held.text))
        elif isinstance(event, ev.RunFinished):
            for held in self._held.values():
                yield replace(held, text=self._secrets.cut_short(held.text))
            self._held.clear()
        event = self._secrets.scrub_fields(event)
        if isinstance(event, ev.CrewReady):
            event = replace(event, tasks=tuple(replace(task, name=task.name[:NAME_KEPT]) for task in event.tasks))
        yield event


class Hiding:
    """The secrets of a batch and of its runs; what one run's inputs say is hidden in that run alone."""

    def __init__(self, plans: Sequence[Plan], above: Secrets | None) -> None:
        learn_environment()
        self.secrets = Secrets(above)
        self.secrets.on_learnt = self._all_due
        self._plans = plans
        self._runs: dict[int, Secrets] = {}
        self._streams: dict[int, Stream] = {}
        self._due: set[int] = set()
        self._environment = ENVIRONMENT.version
        self._next = 0.0
        self._unmet = {id(plan.source) for plan in plans if callable(plan.source)}
        """Factories that have built no crew yet: which keys their LLMs have is not known."""
        for source in {id(plan.source): plan.source for plan in plans}.values():
            self.secrets.learn_from(source)

    def of(self, index: int) -> Secrets:
        """The secrets of a run."""
        known = self._runs.get(index)
        if known is None:
            known = self._runs.setdefault(index, Secrets(self.secrets, self._plans[index].inputs or {}))
            known.on_learnt = lambda: self._due.add(index)
        return known

    def clean(self, event: ev.Event) -> Iterator[ev.Event]:
        """What may be told of an event; on the engine's loop."""
        stream = self._streams.get(event.run)
        if stream is None:
            stream = self._streams[event.run] = Stream(self.of(event.run))
        yield from stream.clean(event)
        if isinstance(event, ev.RunFinished):
            self._streams.pop(event.run, None)

    def title(self, words: str) -> str:
        """What the batch is called, on disk; as long as a key of the crews to come may stand in it, nothing."""
        if not any(map(_may_be_key, words.split())):
            return self.secrets.scrub(words)
        said = [i for i, plan in enumerate(self._plans) if any(text in words for text in texts_in(plan.inputs))]
        clean = together([self.secrets, *map(self.of, said)]).scrub(words)
        return "" if self._unmet and any(map(_may_be_key, clean.split())) else clean

    def labels(self, states: Iterable[RunState]) -> list[str]:
        """The rows' names; of inputs whose factory may yet bring a key that stands in them, the names only."""
        return [
            ", ".join(f"{name}=…" for name in plan.inputs or {}) if id(plan.source) in self._unmet else run.label
            for plan, run in zip(self._plans, states, strict=True)
        ]

    def meet(self, index: int) -> bool:
        """A factory's first crew is there, or failed: what it tells is known. Whether what was held back is due."""
        source = id(self._plans[index].source)
        if source not in self._unmet:
            return False
        self._unmet.discard(source)
        # Where each run has a factory of its own, not after each of them.
        return not self._unmet or len(self._unmet).bit_count() == 1

    def found(self, states: Sequence[RunState], *, at_once: bool = False) -> dict[int, RunState]:
        """Runs that show what has since become known as a secret, as they are without it."""
        if ENVIRONMENT.version is not self._environment:
            self._environment = ENVIRONMENT.version
            self._all_due()
        begun = time.monotonic()
        if not self._due or (begun < self._next and not at_once):
            return {}
        due, self._due = self._due, set()
        clean = {index: self._cleaned(index, states[index]) for index in due}
        now = time.monotonic()
        self._next = now + (now - begun) / SHARE
        return {index: state for index, state in clean.items() if state is not states[index]}

    def _cleaned(self, index: int, state: RunState) -> RunState:
        secrets = self.of(index)
        clean = state if state.started is None and state.error is None else secrets.scrub_fields(state)
        label, columns = self._plans[index].relabel(state.label, state.columns, secrets)
        same = label == clean.label and columns == clean.columns
        return clean if same else replace(clean, label=label, columns=columns)

    def _all_due(self) -> None:
        self._due.update(range(len(self._plans)))


def _may_be_key(word: str) -> bool:
    return len(word) >= SHORTEST and not word.isalpha()
