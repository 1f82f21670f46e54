"""The SQLite file that holds past runs: its schema and migrations, its rows, and its rescue when it is damaged.

What is here knows files and rows only; every function may raise `sqlite3.Error` or `OSError`, and `_record` keeps
those away from the runs.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crew_nb._state.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

APPLICATION_ID = 0x63726E62
"""Marks the file as ours (`crnb`)."""
SMALLEST = 512
"""Bytes of the smallest file that SQLite does not take for a new one."""
PAGE = 4096
"""Bytes of a page, SQLite's default since 2016."""
GIVE_UP_AFTER = 20_000
"""Places in a damaged table that are tried one after another without finding a row that can be read."""


class BatchRow(NamedTuple):
    """A batch as it is stored."""

    key: str
    name: str
    created: float
    labels: str
    """JSON: one label per run."""
    meta: str
    """JSON: whatever else is worth keeping."""


class RunRow(NamedTuple):
    """A finished run as it is stored; the long texts are JSON."""

    batch: str
    place: int
    run_key: str
    status: str
    finished: float
    inputs: str
    state: str
    output: str | None
    events: str
    tokens: int
    cost: float | None


class TaskRow(NamedTuple):
    """A task that is done, of a run that may not be; it goes when its run is done."""

    batch: str
    place: int
    task: int
    run_key: str
    kept: float
    asked: str
    """Digest of what it was asked; empty where it is to be asked again."""
    done: str
    """JSON: its output, and what it took."""


class ScoreRow(NamedTuple):
    """What one score says of a run that is done."""

    batch: str
    place: int
    name: str
    said: str
    """JSON; null where it was taken back."""


class Rows(NamedTuple):
    """What one write puts into the store."""

    batches: list[BatchRow]
    runs: list[RunRow]
    tasks: list[TaskRow]
    scores: list[ScoreRow]


def no_rows() -> Rows:
    """Nothing to write yet."""
    return Rows([], [], [], [])


def _to_1(db: sqlite3.Connection) -> None:
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(
        "CREATE TABLE batch (key TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, labels TEXT NOT NULL,"
        " meta TEXT NOT NULL)"
    )
    db.execute(
        "CREATE TABLE run (id INTEGER PRIMARY KEY, batch TEXT NOT NULL, place INTEGER NOT NULL, run_key TEXT NOT NULL,"
        " status TEXT NOT NULL, finished REAL NOT NULL, inputs TEXT NOT NULL, state TEXT NOT NULL, output TEXT,"
        " events TEXT NOT NULL, UNIQUE (batch, place))"
    )
    db.execute("CREATE INDEX run_by_key ON run (run_key) WHERE status = 'done'")
    db.execute("CREATE INDEX batch_by_name ON batch (name)")


def _to_2(db: sqlite3.Connection) -> None:
    """Tokens and cost beside the state, so that a list of batches need not read every state."""
    db.execute("ALTER TABLE run ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE run ADD COLUMN cost REAL")
    db.execute(
        "UPDATE run SET tokens = coalesce(json_extract(state, '$.usage.total_tokens'), 0),"
        " cost = json_extract(state, '$.cost') WHERE json_valid(state)"
    )
    db.execute("CREATE INDEX run_by_batch ON run (batch, status, tokens, cost)")


def _to_3(db: sqlite3.Connection) -> None:
    """Tasks as they are done, so that a run that has not come to its end goes on inside."""
    db.execute(
        "CREATE TABLE task (id INTEGER PRIMARY KEY, batch TEXT NOT NULL, place INTEGER NOT NULL, task INTEGER NOT NULL,"
        " run_key TEXT NOT NULL, kept REAL NOT NULL, asked TEXT NOT NULL, done TEXT NOT NULL,"
        " UNIQUE (batch, place, task))"
    )
    db.execute("CREATE INDEX task_by_key ON task (run_key)")


def _to_4(db: sqlite3.Connection) -> None:
    """Scores as they come, a person's ratings among them."""
    db.execute(
        "CREATE TABLE score (id INTEGER PRIMARY KEY, batch TEXT NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,"
        " said TEXT NOT NULL, UNIQUE (batch, place, name))"
    )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_to_1, _to_2, _to_3, _to_4)
"""Step n leads from version n to version n + 1; `PRAGMA user_version` holds the version of a file."""


def open_store(path: Path | None, wait: float) -> sqlite3.Connection:
    """A connection to the store, made or migrated where needed; None: one in memory.

    Args:
        path: The file.
        wait: Seconds to wait for other processes, here and at each later statement.

    Raises:
        RecordError: The file is of a newer version, or not ours; it is left untouched.
    """
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))  # results are nobody else's business
        wal = path.with_name(path.name + "-wal")
        if path.stat().st_size < SMALLEST and wal.exists() and wal.stat().st_size:
            raise _corrupt("the file is empty, its write-ahead log is not")  # SQLite would delete the log
    db = sqlite3.connect(path or ":memory:", timeout=wait, isolation_level=None, check_same_thread=False)
    db.text_factory = _decoded
    try:
        _check_ours(db, path)
        # A row is replaced to take a secret out of it, too; not every build of SQLite clears what it held.
        db.execute("PRAGMA secure_delete = ON")
        if path is not None:
            _use_wal(db, wait)
        _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection to a store in a place that cannot be written.

    Raises:
        RecordError: The file is of another version, or not ours.
    """
    how = "mode=ro" if path.with_name(path.name + "-shm").exists() else "immutable=1"  # WAL wants to write its index
    db = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False)
    db.text_factory = _decoded
    try:
        _check_ours(db, path)
        if _number(db, "user_version") != len(MIGRATIONS):
            raise RecordError(f"{path} is of an older version and cannot be written; copy it to where it can be.")
    except BaseException:
        db.close()
        raise
    return db


def _decoded(text: bytes) -> str:
    """The text; a damaged one is empty (which is no JSON) and costs its own row only, not the whole query."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return ""


def _corrupt(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def cannot_write(error: BaseException) -> bool:
    """Whether the error says that the place cannot be written, which need not mean that it cannot be read."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return isinstance(error, OSError) or code & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def is_corrupt(error: BaseException) -> bool:
    """Whether the error says that the file is damaged, rather than locked, full or out of reach."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


def _check_ours(db: sqlite3.Connection, path: Path | None) -> None:
    version = _number(db, "user_version")
    if (
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        and _number(db, "application_id") != APPLICATION_ID
    ):
        raise RecordError(f"{path} is an SQLite file of something else; name another place: cnb.set_record(path).")
    if version > len(MIGRATIONS):
        raise RecordError(
            f"{path} was written by a newer crew_nb (its version is {version}, this one knows {len(MIGRATIONS)}) and is"
            " left untouched; upgrade crew_nb, or name another place: cnb.set_record(path)."
        )


def _use_wal(db: sqlite3.Connection, wait: float) -> None:
    """WAL, so that kernels read while others write; SQLite does not wait by itself while it switches."""
    until = time.monotonic() + wait
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
    db.execute("PRAGMA synchronous = NORMAL")


def _migrate(db: sqlite3.Connection) -> None:
    if _number(db, "user_version") == len(MIGRATIONS):
        return
    with transaction(db):
        for version in range(
            _number(db, "user_version"), len(MIGRATIONS)
        ):  # read again: another kernel may have done it
            MIGRATIONS[version](db)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; the write lock is taken at once, so that no deadlock with another kernel can come up."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has ended it already
            db.execute("ROLLBACK")
        raise


_PUT_BATCH = (
    "INSERT INTO batch (key, name, created, labels, meta) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET name = excluded.name, labels = excluded.labels, meta = excluded.meta"
)
_PUT_RUN = (
    "INSERT INTO run (batch, place, run_key, status, finished, inputs, state, output, events, tokens, cost)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (batch, place) DO UPDATE SET run_key = excluded.run_key,"
    " status = excluded.status, finished = excluded.finished, inputs = excluded.inputs, state = excluded.state,"
    " output = excluded.output, events = excluded.events, tokens = excluded.tokens, cost = excluded.cost"
)


_PUT_TASK = (
    "INSERT INTO task (batch, place, task, run_key, kept, asked, done) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (batch, place, task) DO UPDATE SET run_key = excluded.run_key, kept = excluded.kept,"
    " asked = excluded.asked, done = excluded.done"
)
_PUT_SCORE = (
    "INSERT INTO score (batch, place, name, said) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (batch, place, name) DO UPDATE SET said = excluded.said"
)
_DROP_TASKS = (
    "DELETE FROM task WHERE run_key = ? AND batch IN"
    " (SELECT b.key FROM batch a JOIN batch b ON b.name = a.name WHERE a.key = ?)"
)
"""Those of a run that is done, and of its earlier tries: where its name is looked for, the whole run is found."""


def save(
    db: sqlite3.Connection,
    batches: Iterable[BatchRow],
    runs: Iterable[RunRow],
    tasks: Iterable[TaskRow] = (),
    scores: Iterable[ScoreRow] = (),
) -> None:
    """Writes all or nothing; what is there already (a retry, a batch whose labels have changed) is replaced."""
    with transaction(db):
        db.executemany(_PUT_BATCH, batches)
        db.executemany(_PUT_TASK, tasks)
        db.executemany(_PUT_SCORE, scores)
        for run in runs:
            db.execute(_PUT_RUN, run)
            if run.status == "done":
                db.execute(_DROP_TASKS, [run.run_key, run.batch])


def lacks(db: sqlite3.Connection, batch: str) -> bool:
    """Whether the store does not know that batch."""
    return db.execute("SELECT 1 FROM batch WHERE key = ?", [batch]).fetchone() is None


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is at that path now; None where there is none. A file that was moved away leaves another one."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def rescue(path: Path, found: tuple[int, int] | None, wait: float) -> str:
    """Moves a damaged store aside, starts a new one with every row that can be read, and says so in one line.

    Args:
        path: The store.
        found: The `identity` of the file that was found damaged.
        wait: Seconds to wait for another kernel that is at it; where it was faster, nothing is left to be done.
    """
    # A lock of SQLite's ends with its process, on every system.
    with closing(sqlite3.connect(path.with_name(path.name + ".rescue"), timeout=wait, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        if identity(path) != found:
            return ""
        aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}")
        _each_file(path, aside, Path.rename)
        with closing(open_store(path, wait)) as db:
            runs = _salvage(db, aside)
    return (
        f"{path.name} was damaged: it is kept as {aside.name}, and the {runs} runs that could be read were taken over"
    )


def _salvage(db: sqlite3.Connection, damaged: Path) -> int:
    """Takes over what a damaged store still holds, and returns how many runs; the damaged file is not changed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        _each_file(damaged, copy, shutil.copyfile)
        runs = _take_over(db, copy)
        if not runs:
            _each_file(damaged, copy, shutil.copyfile)
            _patch_first_page(copy)
            runs = _take_over(db, copy)
    return runs


def _each_file(source: Path, target: Path, do: Callable[[Path, Path], object]) -> None:
    """Does it to the database and to its log, if there is one."""
    do(source, target)
    with suppress(FileNotFoundError):
        do(source.with_name(source.name + "-wal"), target.with_name(target.name + "-wal"))
    with suppress(FileNotFoundError):
        source.with_name(source.name + "-shm").unlink()  # an index of the log; SQLite makes it anew


def _patch_first_page(path: Path) -> None:
    """Puts the first page of a new store in: it holds the schema, and every store has its tables at the same pages."""
    fresh = path.with_name("fresh")
    open_store(fresh, 0).close()
    page = bytearray(fresh.read_bytes()[:PAGE])
    page[28:32] = (path.stat().st_size // PAGE).to_bytes(4, "big")
    with path.open("r+b") as file:
        file.write(page)


def _take_over(db: sqlite3.Connection, damaged: Path) -> int:
    """Saves every row of a damaged store that can be read, in one transaction; returns how many runs."""
    batches = (BatchRow._make(row) for row in _readable(damaged, "batch", BatchRow._fields))
    count = itertools.count()
    # The last two fields are not in every version.
    runs = (_whole(row) for row, _ in zip(_readable(damaged, "run", RunRow._fields[:-2]), count, strict=False))
    tasks = (TaskRow._make(row) for row in _readable(damaged, "task", TaskRow._fields))
    scores = (ScoreRow._make(row) for row in _readable(damaged, "score", ScoreRow._fields))
    save(db, batches, runs, tasks, scores)
    return next(count)


def _whole(row: tuple[Any, ...]) -> RunRow:
    state = json.loads(row[RunRow._fields.index("state")])
    if not isinstance(state, dict):
        return RunRow._make((*row, 0, None))
    return RunRow._make((*row, state.get("usage", {}).get("total_tokens", 0), state.get("cost")))


def _is_json(text: object) -> bool:
    """Whether a stored text is whole: an object or a list as JSON, or null."""
    try:
        return isinstance(json.loads(str(text)), dict | list | None)
    except ValueError:
        return False


def _readable(path: Path, table: str, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The whole rows of a damaged table: what cannot be read is stepped over, one place at a time."""
    wanted = f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED WHERE rowid > ? ORDER BY rowid"  # noqa: S608
    trees = {"labels", "meta", "inputs", "state", "events", "done", "said"}
    texts = [place for place, name in enumerate(columns, 1) if name in trees]
    after, failures = 0, 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.text_factory = _decoded
        db.execute("PRAGMA writable_schema = ON")  # lets SQLite read a file that is shorter than its header says
        while failures < GIVE_UP_AFTER:
            try:
                for row in db.execute(wanted, (after,)):
                    after, failures = row[0], 0
                    if all(_is_json(row[place]) for place in texts):
                        yield row[1:]
            except sqlite3.DatabaseError:
                after, failures = after + 1, failures + 1
            else:
                return
