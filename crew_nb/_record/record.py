"""What is kept of every run: written before its row says done, and read again as `reading` says.

One store (`_store`) is shared by all kernels of the user. Each process writes through one thread, which puts all that
has come since its last commit into one transaction, so that the engine's loop never waits for the disk. Commits are
`synchronous=NORMAL` in WAL mode: what is committed survives the end of the process in any way, kill -9 included, since
the operating system has it; only a crash of the machine can take the last commits, and even that damages nothing.

No trouble with the disk reaches a run. What cannot be written is kept in memory, is tried again with a later write,
and `Record.problem` says why. Every text passes the scrubber before it is written.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from crew_nb._record import codec as _codec
from crew_nb._record import file as _file
from crew_nb._record import rows as _rows
from crew_nb._record import store as store
from crew_nb._record.listed import BatchInfo, Kept
from crew_nb._record.reading import Reading
from crew_nb._state.errors import RecordError
from crew_nb._state.plain import dumps, plain
from crew_nb._state.secrets import Secrets, learn_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from crew_nb._record.loaded import LoadedBatch
    from crew_nb._state.events import Event
    from crew_nb._state.state import RunState

T = TypeVar("T")
BUSY_SECONDS = 10.0
"""How long a write waits for other kernels before its batch goes on in memory."""
AGAIN_SECONDS = 5.0
"""How long after a failure the disk is left alone."""
LINGER_SECONDS = 1.0
"""How long the writer's thread waits for more before it ends."""
BATCHES_KNOWN = 100
"""Batches that are put again where their store was deleted under them: those that were written to last."""


_REFUSED = (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""Errors of SQLite that are about a value, not about the disk."""


class Record(Reading):
    """The store as one process sees it; all methods may be called from any thread.

    Args:
        path: The file; None keeps everything in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.problem = ""
        """Why what is new is in memory only, in one line; empty while all is well."""
        self.notes: list[str] = []
        """What happened to the store, for people."""
        self._queue: list[tuple[Callable[[], store.Rows], Future[str | None]]] = []
        self._writer: threading.Thread | None = None
        self._closing = False
        self._wake = threading.Condition()  # the queue and the writer's life are decided together
        self._db: sqlite3.Connection | None = None
        self._memory: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._io = threading.RLock()  # the two connections are used by the writer and by those who read
        self._batches: dict[str, store.BatchRow] = {}  # the one that was written to last comes last
        self._unsaved = store.no_rows()
        self._again_at = 0.0
        self._pid = os.getpid()

    def describe(self) -> str:
        """Where runs are kept, in one line."""
        if self.path is None:
            return "runs are kept in memory only; cnb.set_record(path) keeps them on disk"
        return f"runs are kept in {self.path}" + (f"; now in memory only: {self.problem}" if self.problem else "")

    # -- writing -------------------------------------------------------------------------------------------------

    def put_batch(
        self,
        key: str,
        name: str,
        created: float,
        labels: Sequence[str],
        meta: Mapping[str, Any] | None = None,
        secrets: Secrets | None = None,
    ) -> Future[str | None]:
        """Writes that a batch was started, in place of what was put of it before.

        Args:
            key: Its key, unique in the store.
            name: Its name, which need not be unique.
            created: Unix seconds.
            labels: One per run, in order.
            meta: Whatever else is worth keeping.
            secrets: As for `put_run`.

        Returns:
            As `put_run`.
        """
        learn_environment()
        hidden = secrets if secrets is not None else Secrets()
        labels, meta = tuple(labels), dict(meta or {})

        def rows() -> store.Rows:
            row = store.BatchRow(
                _rows.utf8(key),
                _rows.utf8(hidden.scrub(name)),
                created,
                dumps(_codec.encode(labels, hidden.scrub)),
                dumps(plain(meta, hidden.scrub)),
            )
            self._remember(row.key, row)
            return store.Rows([row], [], [], [])

        return self._put(rows)

    def put_run(
        self,
        batch_key: str,
        index: int,
        run_key: str,
        state: RunState,
        *,
        output: object = None,
        inputs: Mapping[str, Any] | None = None,
        kept: _rows.Encoded | None = None,
        events: Iterable[Event] = (),
        secrets: Secrets | None = None,
    ) -> Future[str | None]:
        """Writes the end of a run, in place of an earlier end of the same run.

        Args:
            batch_key: The batch, which was put before.
            index: Its place in the batch.
            run_key: What `find_done` will know it by.
            state: Its final state.
            output: What it returned; encoded on the writer's thread, which all runs share.
            inputs: Its inputs; those with a secret name are hidden.
            kept: Both of them, encoded already.
            events: Its events, in order.
            secrets: What is to be hidden in it; that of the environment otherwise.

        Returns:
            A future that is resolved after the commit: with None, or with the reason where the run could not be
            written and is kept in memory. It never raises.
        """
        events = tuple(events)

        def rows() -> store.Rows:
            learn_environment()
            hidden = secrets if secrets is not None else Secrets()
            both = kept or _rows.encoded(inputs, output, secrets=hidden)
            return self._run_rows(batch_key, [_rows.of_run(batch_key, index, run_key, state, both, events, hidden)])

        return self._put(rows)

    def put_unbegun(self, batch_key: str, ended: Iterable[_rows.Unbegun]) -> Future[str | None]:
        """As `put_run`, of many runs at once; they are gone through on the writer's thread."""

        def rows() -> store.Rows:
            learn_environment()
            return self._run_rows(batch_key, [_rows.of_unbegun(batch_key, run) for run in ended])

        return self._put(rows)

    def _run_rows(self, batch_key: str, runs: list[store.RunRow]) -> store.Rows:
        self._remember(_rows.utf8(batch_key))
        return store.Rows([], runs, [], [])

    def put_task(
        self,
        batch_key: str,
        index: int,
        run_key: str,
        task: int,
        asked: str,
        done: str,
    ) -> Future[str | None]:
        """Writes a task that is done, in place of what was put of it before.

        Args:
            batch_key: As for `put_run`, as are the next two.
            index: Its run.
            run_key: What `find_tasks` will know its run by.
            task: Its position.
            asked: Digest of what it was asked; empty where it is to be asked again.
            done: What `rows.encoded_task` made of it.

        Returns:
            As `put_run`.
        """
        row = store.TaskRow(_rows.utf8(batch_key), index, task, _rows.utf8(run_key), time.time(), asked, done)

        def rows() -> store.Rows:
            self._remember(row.batch)
            return store.Rows([], [], [row], [])

        return self._put(rows)

    def put_score(self, batch_key: str, index: int, name: str, said: Any) -> Future[str | None]:
        """Writes what a score says of a run, in place of what it said before.

        Args:
            batch_key: As for `put_run`, as is the next.
            index: Its place.
            name: The score.
            said: Plain data without secrets; None to take it back.

        Returns:
            As `put_run`.
        """
        row = store.ScoreRow(_rows.utf8(batch_key), index, _rows.utf8(name), dumps(said))

        def rows() -> store.Rows:
            self._remember(row.batch)
            return store.Rows([], [], [], [row])

        return self._put(rows)

    def _remember(self, key: str, batch: store.BatchRow | None = None) -> None:
        """A batch is written to: with this row from now on, or with the one that is known."""
        with self._io:
            known = self._batches.pop(key, None)
            if batch := batch or known:
                self._batches[key] = batch
            if len(self._batches) > BATCHES_KNOWN:
                del self._batches[next(iter(self._batches))]

    def _put(self, rows: Callable[[], store.Rows]) -> Future[str | None]:
        done: Future[str | None] = Future()
        with self._wake:
            self._queue.append((rows, done))
            _written_to.add(self)
            if self._writer is not None:
                self._wake.notify_all()
                return done
            self._writer = threading.Thread(target=self._write_queue, name="crew_nb record", daemon=True)
            writer = self._writer
        try:
            writer.start()
        except RuntimeError:  # no thread can be started while the interpreter shuts down
            self._write_queue(linger=False)
        return done

    def _write_queue(self, linger: bool = True) -> None:
        while True:
            with self._wake:
                if linger and not self._queue and not self._closing:
                    self._wake.wait(LINGER_SECONDS)
                items, self._queue = self._queue, []
                if not items:
                    self._writer = None
                    return
            self._commit(items)

    def _commit(self, items: list[tuple[Callable[[], store.Rows], Future[str | None]]]) -> None:
        new = store.no_rows()
        reasons: list[str | None] = [None] * len(items)
        each: list[store.Rows] = []
        for place, (rows, _) in enumerate(items):
            each.append(store.no_rows())
            try:
                each[place] = rows()
            except Exception as error:  # a user's object that breaks even the encoding must not stop the writer
                reasons[place] = f"it could not be encoded ({type(error).__name__})"
            _extend(new, each[place])
        try:
            trouble = self._save(new)
            reasons = [reason or trouble for reason in reasons]
        except Exception:  # a value that SQLite refuses takes its whole transaction with it, so each goes alone
            for place, part in enumerate(each):
                try:
                    reasons[place] = reasons[place] or self._save(part)
                except Exception as error:
                    reasons[place] = f"it could not be stored ({error})"
        for (_, done), reason in zip(items, reasons, strict=True):
            if done.set_running_or_notify_cancel():
                done.set_result(reason)

    def _save(self, new: store.Rows, *, insist: bool = False) -> str | None:
        """Writes new and unsaved rows; returns why not, where they are in memory only.

        Raises:
            Exception: SQLite refuses a value, on every disk; nothing of `new` is kept.
        """
        with self._io:
            if self.path is None:
                self._insert(self._in_memory(), new)
                return None
            if self.problem and not insist and time.monotonic() < self._again_at:
                self._keep(new)
                return self.problem
            all_rows = store.no_rows()
            _extend(all_rows, self._unsaved)
            _extend(all_rows, new)
            try:
                if any(all_rows):
                    self._on_disk(lambda db: self._insert(db, all_rows))
            except _REFUSED:
                raise
            except (sqlite3.Error, OSError) as error:
                self._keep(new)
                self.problem = _reason(self.path, error)
                self._again_at = time.monotonic() + AGAIN_SECONDS
                return self.problem
            if self.problem:
                self.notes.append(f"{self.path.name} can be written again; nothing was lost")
            self.problem = ""
            self._unsaved = store.no_rows()
            if self._memory is not None:
                self._memory.close()
                self._memory = None
            return None

    def _insert(self, db: sqlite3.Connection, rows: store.Rows) -> None:
        """Saves the rows, each run with its batch where that is not there: in memory, or in a store that is new."""
        written = {row.batch for part in (rows.runs, rows.tasks, rows.scores) for row in part}
        found = map(self._batches.get, written)
        missing = [batch for batch in found if batch is not None and store.lacks(db, batch.key)]
        store.save(db, [*missing, *rows.batches], rows.runs, rows.tasks, rows.scores)

    def _keep(self, new: store.Rows) -> None:
        self._insert(self._in_memory(), new)
        _extend(self._unsaved, new)

    def _in_memory(self) -> sqlite3.Connection:
        if self._memory is None:
            self._memory = store.open_store(None, 0)
        return self._memory

    def _on_disk(self, use: Callable[[sqlite3.Connection], T]) -> T:
        """Uses the store's connection; a damaged file is rescued first, a failed connection is not used again."""
        assert self.path is not None
        for last in (False, True):
            file = store.identity(self.path)
            try:
                if self._db is not None and file != self._file:
                    self._disconnect()
                if self._db is None:
                    self._db = store.open_store(self.path, AGAIN_SECONDS / 10 if self.problem else BUSY_SECONDS)
                    self._file = store.identity(self.path)
                return use(self._db)
            except (sqlite3.Error, OSError) as error:
                self._disconnect()
                if last or not store.is_corrupt(error):
                    raise
                note = store.rescue(self.path, file, BUSY_SECONDS)
                self.notes += [note] if note else []
        raise AssertionError("unreachable")

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def flush(self) -> None:
        """Returns when everything that was put has been committed, or tried once more."""
        with self._wake:
            waiting = bool(self._queue) or self._writer is not None
        if waiting:
            self._put(store.no_rows).result()
        if self.problem:
            self._save(store.no_rows(), insist=True)

    def close(self) -> None:
        """Flushes, ends the writer's thread and closes the file; a later use opens it again."""
        if os.getpid() != self._pid:
            return  # a forked child: closing its parent's file here would drop the parent's locks
        self.flush()
        with self._wake:
            writer, self._closing = self._writer, True
            self._wake.notify_all()
        if writer is not None and writer.is_alive():
            writer.join()
        self._closing = False
        _written_to.discard(self)
        with self._io:
            self._disconnect()
            if self._memory is not None and not any(self._unsaved[1:]) and self.path is not None:
                self._memory.close()
                self._memory = None

    @property
    def lost(self) -> str:
        """What ends with this process, as it could not be written, in words; empty where nothing does."""
        with self._io:
            if os.getpid() != self._pid or self.path is None or not self._unsaved.runs:
                return ""
            places: dict[str, set[int]] = {}
            for row in self._unsaved.runs:
                places.setdefault(row.batch, set()).add(row.place)
            named = [
                f"{len(runs)} of {getattr(self._batches.get(key), 'name', '') or key}" for key, runs in places.items()
            ]
            count = sum(map(len, places.values()))
            return f"crew_nb: {count} run{'s' * (count != 1)} ({', '.join(named)}) not kept: {self.problem}"

    # -- reading -------------------------------------------------------------------------------------------------

    def select(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self.flush()
        found: list[tuple[Any, ...]] = []
        with self._io:
            if self.path is not None and store.identity(self.path) is not None:
                try:
                    found += self._read(lambda db: db.execute(query, values).fetchall())
                except RecordError:
                    raise
                except (sqlite3.Error, OSError) as error:
                    raise RecordError(f"the record cannot be read: {_reason(self.path, error)}") from error
            if self._memory is not None:
                found += self._memory.execute(query, values).fetchall()
        return found

    def _read(self, use: Callable[[sqlite3.Connection], T]) -> T:
        """Uses the store's connection, or one that only reads where the place cannot be written."""
        assert self.path is not None
        try:
            return self._on_disk(use)
        except RecordError:
            raise
        except (sqlite3.Error, OSError) as error:
            if not store.cannot_write(error):
                raise
            with closing(store.open_to_read(self.path)) as db:
                return use(db)


def _extend(rows: store.Rows, more: store.Rows) -> None:
    for part, new in zip(rows, more, strict=True):
        part.extend(new)  # type: ignore[attr-defined]


def _reason(path: Path, error: BaseException) -> str:
    if isinstance(error, RecordError):
        return str(error)
    return f"{path} cannot be written ({error})"


_written_to: set[Record] = set()
"""Those that are to be closed."""


@atexit.register  # before the engine's own: what that stops is written, too
def _close_at_exit() -> None:
    for record in list(_written_to):
        record.close()
        if words := record.lost:
            print(words, file=sys.stderr)


# -- the record of this process --------------------------------------------------------------------------------


def default_path() -> Path:
    """The store's file: in the folder that `CREW_NB_HOME` names, or else in the user's data folder."""
    home = os.environ.get("CREW_NB_HOME")
    if home:
        return Path(home).expanduser().absolute() / "runs.sqlite"
    import platformdirs

    return Path(platformdirs.user_data_dir("crew_nb", appauthor=False)) / "runs.sqlite"


_current: Record | None = None
_opened: dict[Path | None, Record] = {}
_choosing = threading.Lock()  # two threads that start the first batches at once must get the same record


def get() -> Record:
    """The record that new batches are written to."""
    global _current
    with _choosing:
        if _current is None:
            _current = _one(default_path())
        return _current


def begin_anew() -> None:
    """In a forked child: the same place, without the writer's thread and the locks of its parent."""
    global _current, _choosing
    _choosing = threading.Lock()
    _opened.clear()
    if _current is not None:
        _current = _one(_current.path)


def _one(path: Path | None) -> Record:
    """The one record of that path in this process."""
    return _opened.setdefault(path, Record(path))


def set_record(path: str | os.PathLike[str] | None) -> str:
    """Chooses where new batches are kept, and says it: a file, a folder to put `runs.sqlite` in, or None for memory.

    Batches that have started already stay where they are.
    """
    global _current
    file = None if path is None else Path(path).expanduser().absolute()
    if file is not None and (file.is_dir() or not file.suffix):
        file /= "runs.sqlite"
    with _choosing:
        _current = _one(file)
    return _current.describe()


def describe() -> str:
    """Where runs are kept, in one line."""
    return get().describe()


def runs() -> list[BatchInfo]:
    """The batches that are kept, newest first; a list that draws itself in a cell."""
    return Kept(get().runs())


def load(which: str | os.PathLike[str] | BatchInfo) -> LoadedBatch:
    """A batch that is kept (by key, or the newest of a name), or one that was saved to a file.

    Raises:
        RecordError: There is no such batch or file, or it cannot be read.
    """
    if not isinstance(which, str | os.PathLike | BatchInfo):
        raise RecordError(
            f"{which!r:.60} is no batch that is kept. Write cnb.load(name), with the name or key of one, one of "
            "cnb.runs(), or the path of a file that results.save(path) wrote."
        )
    if isinstance(which, os.PathLike) or (isinstance(which, str) and Path(which).is_file()):
        return _file.read(which)
    return get().load(which)
