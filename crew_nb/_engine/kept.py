"""What the record holds of a batch: each task as it is done, each run as it ends, and what all of them are known by."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import uuid
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import outputs as _outputs
from crew_nb._engine import engine as _engine
from crew_nb._engine import failure as _failure
from crew_nb._engine import known as _known
from crew_nb._engine.engine import engine
from crew_nb._engine.looks import looked
from crew_nb._record import record as _record
from crew_nb._record import rows as _rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.names import CrewOutput
    from crew_nb._engine.hide import Hiding
    from crew_nb._record.loaded import StoredRun
    from crew_nb._state import events as ev
    from crew_nb._state.attempt import DoneTask
    from crew_nb._state.options import Options
    from crew_nb._state.state import RunState

Future = concurrent.futures.Future

ENCODE_SECONDS = 20.0
"""How long a look at what is kept of an output may take, which may be large."""
KEY_SECONDS = 60.0
"""The same for what all runs of a batch are known by."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
"""What has no methods of the user's."""


class Kept:
    """One batch in the record."""

    def __init__(
        self,
        batch: str,
        created: float,
        plans: Sequence[Plan],
        options: Options,
        hiding: Hiding,
        note: Callable[[str], object],
    ) -> None:
        self.name = ""
        self.also: Callable[[], Mapping[str, Any]] = dict
        """What else of the batch is to be in the record."""
        self.keys: Sequence[str] = [""] * len(plans)
        """What the runs are known by, when `keyed` is done."""
        self.keyed: asyncio.Future[None] | None = None
        self.inputs: dict[int, Mapping[str, object] | None] = {}
        """Inputs of runs that the record had, as it has them: without secrets."""
        self._batch = batch
        self._created = created
        self._plans = plans
        self._options = options
        self._hiding = hiding
        self._note = note
        self._store = _record.get()
        self.put_score = functools.partial(self._store.put_score, batch)
        """Puts a score of one of its runs into the record."""

    async def know(self) -> None:
        """What each run is known by: the content of its blueprint and inputs, and how often it stands in the batch."""
        try:
            # Modules that a factory imports late are imported for it, and those may import CrewAI.
            with contextlib.suppress(Exception):
                await engine.prepare()
            work = asyncio.ensure_future(_engine.work_out(_known.run_keys, self._plans))
            self.keys = await asyncio.wait_for(asyncio.shield(work), KEY_SECONDS)
        except Exception as error:  # the user's objects are walked; the runs must end all the same
            self._note(f"resume=True will not know these runs: their content cannot be read ({_failure.said(error)})")
            self.keys = [uuid.uuid4().hex for _ in self._plans]

    async def found(self) -> tuple[dict[str, tuple[StoredRun, CrewOutput]], dict[str, dict[int, DoneTask]]]:
        """By their keys: the runs that are done already, and what the tasks of others have done."""
        assert self.keyed is not None
        await self.keyed
        name = self._options.resume if isinstance(self._options.resume, str) else None
        runs = await asyncio.to_thread(self._store.find_done, self.keys, name)
        kept = await asyncio.to_thread(_known.readable, runs)
        begun = await asyncio.to_thread(self._store.find_tasks, set(self.keys) - set(kept), name)
        return kept, await asyncio.to_thread(_known.readable_tasks, begun)

    def put_batch(self, states: Sequence[RunState]) -> None:
        """Write what the record has of the batch besides its runs; on the loop."""
        hide = self._hiding.title
        options = {k: hide(v) if isinstance(v, str) else v for k, v in self._options.shown().items()}
        meta = {"options": options, **self.also()}
        labels = self._hiding.labels(states)
        self._store.put_batch(self._batch, hide(self.name), self._created, labels, meta, secrets=self._hiding.secrets)

    async def put_task(self, index: int, place: int, done: DoneTask) -> None:
        """What a task has done; returns when it is on disk."""
        if self.keyed is not None:
            await asyncio.wait([self.keyed])
        encode = functools.partial(_rows.encoded_task, done, _outputs.encode_task, self._hiding.of(index))
        text = await looked(done.output, encode, lambda trouble: "", ENCODE_SECONDS)
        asked = done.asked if text else ""  # it cannot be read, and so not taken over
        written = self._store.put_task(self._batch, index, self.keys[index], place, asked, text or "{}")
        await asyncio.wrap_future(written)

    async def put_end(
        self,
        ended: Callable[[], tuple[RunState, Sequence[ev.Event]]],
        output: CrewOutput | None,
        *,
        wait: bool,
    ) -> None:
        """A run's outcome, and all that happened in it; returns when it is on disk, if that is to be waited for."""
        if self.keyed is not None and not self.keyed.done():
            await asyncio.wait([self.keyed])
        written = await self.put_run(*ended(), output)
        written.add_done_callback(self._tell)
        if wait:
            await asyncio.wrap_future(written)
            while self._store.notes:  # of a file that was damaged, or can be written again
                self._note(self._store.notes.pop(0))

    def _tell(self, written: Future[str | None]) -> None:
        if trouble := written.result():
            engine.call(self._note, f"kept in memory only: {trouble}")

    async def put_unbegun(self, ended: Sequence[tuple[RunState, Sequence[ev.Event]]]) -> None:
        """The outcomes of many runs that were stopped in the queue, in one go; nobody waits for the disk."""
        if self.keyed is not None and not self.keyed.done():
            await asyncio.wait([self.keyed])
        plain = [run for run in ended if self._is_plain(run[0].index)]
        for state, events in ended:
            if not self._is_plain(state.index):
                (await self.put_run(state, events, None)).add_done_callback(self._tell)
        if plain:
            of = self._hiding.of
            runs = (
                _rows.Unbegun(s.index, self.keys[s.index], s, self._inputs(s.index), events, of(s.index))
                for s, events in plain
            )
            self._store.put_unbegun(self._batch, runs).add_done_callback(self._tell)

    def _inputs(self, index: int) -> Mapping[str, Any] | None:
        return self.inputs.get(index, self._plans[index].inputs)

    def _is_plain(self, index: int) -> bool:
        return all(type(value) in _PLAIN for value in (self._inputs(index) or {}).values())

    async def put_run(
        self, state: RunState, events: Sequence[ev.Event], output: CrewOutput | None
    ) -> Future[str | None]:
        """The same, also of one that is in the record already and has changed."""
        index = state.index
        inputs, key = self._inputs(index), self.keys[index]
        secrets = self._hiding.of(index)
        kept = None
        inputs_are_plain = self._is_plain(index)
        if output is not None or not inputs_are_plain:

            def unreadable(trouble: BaseException) -> _rows.Encoded:
                self._note(f"run {index} is kept without its output and inputs: they cannot be read")
                return _rows.encoded(None, None)

            encode = functools.partial(_rows.encoded, inputs, output, _outputs.encode, secrets)
            texts = [value for value in (inputs or {}).values() if type(value) is str]
            are_short = inputs_are_plain and sum(map(len, texts)) < _outputs.SHORT
            kept = await looked(output if are_short else inputs, encode, unreadable, ENCODE_SECONDS)
        return self._store.put_run(
            self._batch, index, key, state, inputs=inputs, kept=kept, events=events, secrets=secrets
        )
