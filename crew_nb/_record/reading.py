"""What is read of the record: batches listed and loaded, runs and tasks found again by what they are known by."""

from __future__ import annotations

import abc
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._record import codec as _codec
from crew_nb._record import once as _once
from crew_nb._record import rows as _rows
from crew_nb._record.listed import BatchInfo
from crew_nb._record.loaded import LoadedBatch, StoredRun, StoredTask, batch_of, labels_of, parsed
from crew_nb._state.errors import RecordError
from crew_nb._state.plain import unplain
from crew_nb._state.state import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future


class Reading(abc.ABC):
    """The half of a record that reads; what is in memory only comes after what is on disk, and is newer."""

    problem: str

    @abc.abstractmethod
    def select(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of the file, then those that are in memory only.

        Raises:
            RecordError: The file cannot be read.
        """

    @abc.abstractmethod
    def put_score(self, batch_key: str, index: int, name: str, said: Any) -> Future[str | None]:
        """Writes what a score says of a run."""

    def find_done(self, run_keys: Iterable[str], name: str | None = None) -> dict[str, StoredRun]:
        """The newest finished run for each key that has one; it reads the disk, so call it in a thread.

        Never raises: where the store cannot be read, nothing is found, and `problem` says why.

        Args:
            run_keys: What to look for.
            name: Only in batches of that name; None: in all.
        """
        keys = sorted({_rows.utf8(key) for key in run_keys})
        found: dict[str, tuple[float, StoredRun]] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            query = (
                "SELECT max(r.finished), r.run_key, r.state, r.batch, b.name, r.inputs, r.output, r.events"  # noqa: S608
                " FROM run r JOIN batch b ON b.key = r.batch WHERE r.status = 'done'"
                f" AND r.run_key IN ({', '.join('?' * len(part))}) {'' if name is None else 'AND b.name = ?'}"
                " GROUP BY r.run_key"
            )
            try:
                rows = self.select(query, [*part, *([] if name is None else [_rows.text(name)])])
            except RecordError as error:
                self.problem = self.problem or str(error)
                return {}
            for finished, run_key, state, batch_key, batch_name, inputs, output, events in rows:
                run = _stored(run_key, state, batch_key, batch_name, inputs, output, events)
                readable = run is not None and (output is None or parsed(output) is not None)
                if run is not None and readable and finished > found.get(run_key, (0.0, run))[0]:
                    found[run_key] = finished, run
        scores = {batch: self._scores_of(batch) for batch in {run.batch_key for _, run in found.values()}}
        return {
            key: replace(run, scores=scores[run.batch_key].get(run.state.index, {})) for key, (_, run) in found.items()
        }

    def _scores_of(self, batch: str) -> dict[int, dict[str, Any]]:
        """What scores say of a batch's runs, by place and name."""
        found: dict[int, dict[str, Any]] = {}
        try:
            for place, name, said in self.select("SELECT place, name, said FROM score WHERE batch = ?", [batch]):
                found.setdefault(place, {})[name] = parsed(said)
        except RecordError as error:
            self.problem = self.problem or str(error)
        return found

    def find_tasks(self, run_keys: Iterable[str], name: str | None = None) -> dict[str, dict[int, StoredTask]]:
        """What the tasks of these runs have done last, by position; as `find_done`."""
        keys = sorted({_rows.utf8(key) for key in run_keys})
        newest: dict[tuple[str, int], tuple[float, str, str]] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            query = (
                "SELECT t.run_key, t.task, t.kept, t.asked, t.done FROM task t JOIN batch b ON b.key = t.batch"  # noqa: S608
                f" WHERE t.run_key IN ({', '.join('?' * len(part))}) {'' if name is None else 'AND b.name = ?'}"
            )
            try:
                rows = self.select(query, [*part, *([] if name is None else [_rows.text(name)])])
            except RecordError as error:
                self.problem = self.problem or str(error)
                return {}
            for run_key, task, *row in rows:
                newest[run_key, task] = max(newest.get((run_key, task), (0.0, "", "")), tuple(row))
        found: dict[str, dict[int, StoredTask]] = {}
        for (run_key, task), (_, asked, done) in newest.items():
            tree = parsed(done)
            if asked and isinstance(tree, dict):
                found.setdefault(run_key, {})[task] = StoredTask(asked=asked, tree=tree)
        return found

    def runs(self) -> list[BatchInfo]:
        """The batches that are kept, newest first.

        Raises:
            RecordError: The store cannot be read.
        """
        query = (
            "SELECT b.key, b.name, b.created, b.labels, r.status, r.n, r.tokens, r.cost FROM batch b LEFT JOIN"
            " (SELECT batch, status, count(*) n, sum(tokens) tokens, sum(cost) cost FROM run GROUP BY batch, status) r"
            " ON r.batch = b.key"
        )
        infos: dict[str, BatchInfo] = {}
        for key, name, created, labels, status, count, tokens, cost in self.select(query):
            info = infos.get(key)
            if info is None:
                info = BatchInfo(
                    key=key,
                    name=name,
                    created=created,
                    runs=len(labels_of(labels)),
                    done=0,
                    failed=0,
                    cancelled=0,
                    total_tokens=0,
                    cost=None,
                )
            counts = {status: getattr(info, status) + count} if status in ("done", "failed", "cancelled") else {}
            infos[key] = replace(
                info,
                name=name,  # what is in memory comes last, and is newer than the same on disk
                total_tokens=info.total_tokens + (tokens or 0),
                cost=info.cost if cost is None else (info.cost or 0.0) + cost,
                **counts,
            )
        for key, info in infos.items():
            if not info.runs:  # its labels are damaged
                infos[key] = replace(info, runs=info.done + info.failed + info.cancelled)
        return sorted(infos.values(), key=lambda info: info.created, reverse=True)

    def load(self, which: str | BatchInfo) -> LoadedBatch:
        """The batch with that key, or else the newest with that name.

        Raises:
            RecordError: There is none, or the store cannot be read.
        """
        wanted = which.key if isinstance(which, BatchInfo) else _rows.text(which)
        batches = self.select(
            "SELECT key, name, created, labels, meta FROM batch WHERE key = ? OR name = ?", [wanted, wanted]
        )
        if not batches:
            raise RecordError(f"no batch {wanted!r} is kept; cnb.runs() lists those that are.")
        # What is in memory comes last, and is newer than the same on disk.
        key, name, created, labels, meta = max(reversed(batches), key=lambda row: (row[0] == wanted, row[2]))
        rows = self.select(
            "SELECT place, run_key, state, inputs, output, events FROM run WHERE batch = ? ORDER BY place", [key]
        )
        scores = self._scores_of(key)
        runs = {
            place: replace(run, scores=scores.get(place, {}))
            for place, run_key, state, inputs, output, events in rows
            if (run := _stored(run_key, state, key, name, inputs, output, events)) is not None
        }
        more = unplain(parsed(meta))
        found = batch_of(key, name, created, labels_of(labels), runs, meta=more if isinstance(more, dict) else {})
        return replace(found, put_score=functools.partial(self.put_score, key))


def _stored(
    run_key: str, state: str, batch_key: str, batch_name: str, inputs: str, output: str | None, events: str
) -> StoredRun | None:
    """The run of a row; None where the row is damaged."""
    try:
        tree, events, output = _once.unfolded(state, events, output)
        return StoredRun(
            run_key=run_key,
            state=_codec.decode(RunState, tree),
            batch_key=batch_key,
            batch_name=batch_name,
            inputs_json=inputs,
            output_json=output,
            events_json=events,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
