"""Runs are on disk before their row says done, and whatever happens to the disk, no run is troubled."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from crew_nb._record import file as _file
from crew_nb._record import record as record
from crew_nb._record import store as store
from crew_nb._record.record import Record
from crew_nb._state.errors import RecordError
from crew_nb._state.events import (
    CallFailed,
    CallFinished,
    CallStarted,
    CrewReady,
    Event,
    RunFinished,
    RunStarted,
    TaskSpec,
)
from crew_nb._state.state import BatchState, RunState, advance, new_run
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def told(index: int, status: str = "done", text: str = "an answer", at: float = 100.0) -> tuple[RunState, list[Event]]:
    """A finished run of one LLM call, and its events."""
    base: dict[str, Any] = {"run": index, "at": at}
    events: list[Event] = [
        RunStarted(**base),
        CrewReady(**base, tasks=(TaskSpec(name="t", agent="a"),), path="direct"),
        CallStarted(**base, call="c", kind="llm", name="gpt", task=0),
        CallFinished(**base, call="c", kind="llm", task=0, output=text, usage=Usage(total_tokens=5), cost=0.25),
        RunFinished(**base, status=status, output=text if status == "done" else ""),  # type: ignore[arg-type]
    ]
    state = new_run(index, f"topic={index}", at)
    for event in events:
        state = advance(state, event)
    return state, events


def put(kept: Record, batch: str, index: int, **change: Any) -> Any:
    """A finished run into the record; returns the future of its commit."""
    state, events = told(index, **change)
    return kept.put_run(
        batch, index, f"key {index}", state, output={"raw": f"out {index}"}, inputs={"topic": index}, events=events
    )


@contextmanager
def opened(path: Path | None) -> Iterator[Record]:
    kept = Record(path)
    try:
        yield kept
    finally:
        kept.close()
        assert kept._writer is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_batch_is_listed_and_loaded_as_it_was(path: Path, on_disk: bool) -> None:
    """State, events, inputs and outputs come back; on disk and, where the record is turned off, in memory."""
    with opened(path if on_disk else None) as kept:
        kept.put_batch("b1", "sweep", 100.0, ["topic=0", "topic=1", "topic=2"], {"max_concurrency": 4})
        assert put(kept, "b1", 0).result(60) is None
        assert put(kept, "b1", 1, status="failed").result(60) is None
        (info,) = kept.runs()
        assert (info.key, info.name, info.runs, info.done, info.failed, info.missing) == ("b1", "sweep", 3, 1, 1, 1)
        assert (info.total_tokens, info.cost) == (10, 0.5)
        for which in ("b1", "sweep", info):
            batch = kept.load(which)
            assert batch.state.runs[:2] == (told(0)[0], told(1, status="failed")[0])
            assert batch.state.runs[2].status == "cancelled"
            assert batch.state.runs[2].label == "topic=2"
            assert batch.state.final
            assert "the end of 1 of 3 runs was not recorded" in batch.state.notes[0]
            assert [run and run.tree for run in batch.runs] == [{"raw": "out 0"}, {"raw": "out 1"}, None]
            assert batch.events == [*told(0)[1], *told(1, status="failed")[1]]
            assert batch.runs[1] is not None
            assert batch.runs[1].inputs == {"topic": 1}
            assert batch.meta == {"max_concurrency": 4}
    assert path.exists() is on_disk


def test_the_newest_batch_is_listed_first_and_found_by_name(path: Path) -> None:
    """A name need not be unique; a key comes before a name."""
    with opened(path) as kept:
        for at, key in ((100.0, "old"), (300.0, "new"), (200.0, "mid")):
            kept.put_batch(key, "sweep", at, ["x"])
        kept.put_batch("sweep-key", "old", 50.0, ["x"])
        assert [info.key for info in kept.runs()] == ["new", "mid", "old", "sweep-key"]
        assert kept.load("sweep").state.key == "new"
        assert kept.load("old").state.key == "old"
        with pytest.raises(RecordError, match=r"no batch 'nothing' is kept; cnb\.runs\(\)"):
            kept.load("nothing")


def test_a_retry_takes_the_place_of_the_earlier_end(path: Path) -> None:
    """One row per run, whatever its tries."""
    with opened(path) as kept:
        kept.put_batch("b", "", 1.0, ["x"])
        put(kept, "b", 0, status="failed")
        put(kept, "b", 0, text="better")
        assert [run.output for run in kept.load("b").state.runs] == ["better"]
        assert kept.runs()[0].failed == 0


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_batch_that_is_put_again_takes_the_place_of_the_earlier_one(path: Path, on_disk: bool) -> None:
    """As when its labels are filled in, or a secret is taken out of them; it began when it did, and keeps its runs."""
    with opened(path if on_disk else None) as kept:
        kept.put_batch("b", "first", 100.0, ["topic=…", "topic=…"], {"n": 1})
        put(kept, "b", 0).result(60)
        kept.put_batch("b", "second", 200.0, ["topic=A", "topic=B"], {"n": 2}).result(60)
        batch = kept.load("second")
        assert (batch.state.runs[1].label, batch.state.created, batch.meta) == ("topic=B", 100.0, {"n": 2})
        assert [(info.name, info.runs, info.done) for info in kept.runs()] == [("second", 2, 1)]


def test_a_run_does_not_send_its_batch_again(path: Path) -> None:
    """The labels of 10,000 runs with each of them would be gigabytes."""
    with opened(path) as kept:
        kept.put_batch("b", "", 1.0, ["x" * 1000] * 3).result(60)
        told: list[str] = []
        assert kept._db is not None
        kept._db.set_trace_callback(told.append)
        for n in range(3):
            put(kept, "b", n).result(60)
        assert sum("INSERT INTO run" in statement for statement in told) == 3
        assert not any("x" * 1000 in statement for statement in told)


def test_what_was_taken_out_of_a_batch_is_not_left_in_the_file(path: Path) -> None:
    """SQLite leaves what a row held before in its pages, if it is not told otherwise."""
    with opened(path) as kept:
        kept.put_batch("b", "", 1.0, [f"topic=found-out-later-{n}" for n in range(1000)]).result(60)
        kept.put_batch("b", "", 1.0, ["topic=***"] * 1000).result(60)
        put(kept, "b", 0).result(60)
    assert b"found-out" not in path.read_bytes()


def test_what_is_done_is_found_by_its_content(path: Path) -> None:
    """Only done runs, the newest of several, of any batch or of those of a name; a thousand keys at once, too."""
    with opened(path) as kept:
        kept.put_batch("b1", "one", 1.0, ["x"] * 3)
        kept.put_batch("b2", "two", 2.0, ["x"] * 3)
        put(kept, "b1", 0, at=10.0, text="old")
        put(kept, "b2", 0, at=20.0, text="new")
        put(kept, "b1", 1, status="failed")
        put(kept, "b1", 2, status="cancelled")
        keys = [f"key {n}" for n in range(2000)]
        found = kept.find_done(keys)
        assert {key: (run.state.output, run.batch_key) for key, run in found.items()} == {"key 0": ("new", "b2")}
        assert found["key 0"].tree == {"raw": "out 0"}
        assert kept.find_done(keys, name="one")["key 0"].state.output == "old"
        assert kept.find_done(keys, name="three") == {}
        assert kept.find_done([]) == {}


def test_odd_texts_are_kept(path: Path) -> None:
    """Lone surrogates, NULs and quotes in names, labels, inputs and outputs."""
    odd = "a \ud800 \0 ' \" 日本"
    with opened(path) as kept:
        kept.put_batch("b", odd, 1.0, [odd], {odd: odd})
        state, events = told(0, text=odd)
        assert kept.put_run("b", 0, odd, state, output=odd, inputs={odd: odd}, events=events).result(60) is None
        batch = kept.load(odd)
        assert [run and run.tree for run in batch.runs] == [odd]
        assert batch.runs[0] is not None
        assert batch.runs[0].inputs == {odd: odd}
        assert batch.state.runs == (state,)
        assert kept.find_done([odd])


def test_many_runs_are_few_commits_and_a_put_never_waits_for_the_disk(path: Path) -> None:
    """While another kernel holds the file, puts return at once; when it lets go, all are in one transaction."""
    with opened(path) as kept:
        kept.put_batch("b", "", 1.0, ["x"] * 300).result(60)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            before = other.execute("PRAGMA data_version").fetchone()
            other.execute("BEGIN IMMEDIATE")
            first = put(kept, "b", 0)
            futures = [put(kept, "b", n) for n in range(1, 300)]
            assert not any(f.done() for f in [first, *futures])
            other.execute("ROLLBACK")
            assert {f.result(60) for f in [first, *futures]} == {None}
            assert other.execute("PRAGMA data_version").fetchone() != before
        wal = path.with_name("runs.sqlite-wal").stat().st_size
        assert kept.runs()[0].done == 300
        assert wal < 300 * 4 * 4096  # one commit each would have written the same pages again and again


def test_a_user_object_that_breaks_everything_does_not_stop_the_writer(path: Path) -> None:
    """Its run is kept without its form; the next ones are kept whole."""

    class Bad:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    with opened(path) as kept:
        kept.put_batch("b", "", 1.0, ["x"] * 2)
        state, _ = told(0)
        reason = kept.put_run("b", 0, "k", state, output=Bad(), inputs={"x": Bad()}).result(60)
        assert reason is None or "could not be encoded" in reason
        assert put(kept, "b", 1).result(60) is None


def test_a_value_that_sqlite_refuses_takes_no_other_run_with_it(path: Path, tmp_path: Path) -> None:
    """It is told to its own run, on a good disk and on a bad one; the others of its transaction are kept."""
    (tmp_path / "file").write_text("not a folder")
    for place in (path, tmp_path / "file" / "runs.sqlite"):
        with opened(place) as kept:
            kept.put_batch("b", "", 1.0, ["x"] * 3)
            good = [put(kept, "b", 0)]
            bad = put(kept, "b", 2**70)
            good.append(put(kept, "b", 1))
            assert "could not be stored" in bad.result(60)
            assert all("could not be stored" not in str(f.result(60)) for f in good)
            assert kept.runs()[0].done == 2


def test_a_finished_batch_leaves_no_thread_and_a_closed_record_opens_again(path: Path) -> None:
    """Closing twice does no harm; what is put later is written."""
    kept = Record(path)
    kept.put_batch("b", "", 1.0, ["x"]).result(60)
    kept.close()
    kept.close()
    assert "crew_nb record" not in {t.name for t in threading.enumerate()}
    assert not path.with_name("runs.sqlite-wal").exists()
    assert put(kept, "b", 0).result(60) is None
    kept.close()
    with opened(path) as again:
        assert again.runs()[0].done == 1


def test_only_the_user_may_read_the_file(tmp_path: Path) -> None:
    """Results are nobody else's business, on a shared machine as well."""
    with opened(tmp_path / "new" / "runs.sqlite") as kept:
        kept.put_batch("b", "", 1.0, ["x"]).result(60)
        assert (tmp_path / "new" / "runs.sqlite").stat().st_mode & 0o077 == 0
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0


# -- secrets ---------------------------------------------------------------------------------------------------


def test_no_secret_reaches_the_disk(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In inputs, errors, tracebacks, events, outputs, names and labels; in the store, its log and a saved file."""
    from crew_nb._state.events import ErrorInfo
    from crew_nb._state.secrets import Secrets

    in_env, in_llm, in_inputs = "env-value-0123", "llm-value-4567", "inputs-value-89"
    by_shape = "sk-proj-Ab12cd34EF56gh78IJ90kl12MN34op56"
    monkeypatch.setenv("SOME_SERVICE_TOKEN", in_env)
    secrets = Secrets()
    secrets.learn([in_llm, in_inputs])
    every = f"{in_env} {in_llm} {in_inputs} {by_shape}"
    inputs = {"topic": every, "api_key": in_inputs, "raw": every.encode(), "deep": [{"password": "hunter2"}]}
    error = ErrorInfo(type="AuthError", message=every, traceback=f"File x\n  {every}", hint=every)
    events: list[Event] = [
        CallStarted(run=0, at=1.0, call="c", kind="llm", name="gpt", detail=every),
        CallFailed(run=0, at=2.0, call="c", kind="llm", message=every),
        RunFinished(run=0, at=3.0, status="failed", error=error),
    ]
    state = new_run(0, "label", 1.0)
    for event in events:
        state = advance(state, event)
    with opened(path) as kept:
        output = {every: [every]}
        kept.put_run("b", 0, "k", state, output=output, inputs=inputs, events=events, secrets=secrets).result(60)
        kept.put_batch("b", every, 1.0, [every], {"m": every}, secrets=secrets).result(60)
        files = [path, path.with_name("runs.sqlite-wal")]
        content = b"".join(f.read_bytes() for f in files)
        saved = _file.write(
            tmp_path / "saved.jsonl",
            BatchState(key="b", name=every, runs=(state,), created=1.0, notes=(every,)),
            [every],
            inputs=[inputs],
            events=events,
            secrets=[secrets],
        ).read_bytes()
        kept.put_batch("b2", "", 1.0, [])
    for secret in (in_env, in_llm, in_inputs, by_shape, "hunter2"):
        assert secret.encode() not in content
        assert secret.encode() not in saved
    assert b"AuthError" in content
    assert b"AuthError" in saved


# -- several processes -----------------------------------------------------------------------------------------

WRITER = textwrap.dedent(
    """
    import sys, random
    from pathlib import Path
    from crew_nb._record.record import Record
    from crew_nb._state.state import new_run, advance
    from crew_nb._state.events import RunFinished
    path, batch, count, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    kept = Record(path)
    kept.put_batch(batch, "shared", 1.0, ["x"] * count)
    def state(n):
        return advance(new_run(n, "x", 1.0), RunFinished(run=n, at=2.0, status="done", output=f"{batch} {n}"))
    for n in range(count):
        done = kept.put_run(batch, n, f"{batch} {n}", state(n), output="o" * random.randrange(size))
        done.add_done_callback(lambda f, n=n: sys.stdout.write(f"{n} {f.result()}\\n"))
        if n % 7 == 0:
            done.result()
            sys.stdout.flush()
    """
)


def writer(path: Path, batch: str, count: int, size: int = 1000) -> subprocess.Popen[str]:
    """Another kernel that puts runs, and prints each number when its future is resolved; it never closes."""
    arguments = [sys.executable, "-uc", WRITER, str(path), batch, str(count), str(size)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_kernels_write_one_store_and_nothing_is_lost(path: Path) -> None:
    """40 runs each, at once, on a store that neither has made; what is still queued at exit is written at exit."""
    kernels = [writer(path, name, 40) for name in ("a", "b")]
    for kernel in kernels:
        out, _ = kernel.communicate(timeout=60)
        assert kernel.returncode == 0
        assert sorted(out.splitlines()) == sorted(f"{n} None" for n in range(40))
    with opened(path) as kept:
        for name in ("a", "b"):
            assert [run.output for run in kept.load(name).state.runs] == [f"{name} {n}" for n in range(40)]


def test_a_killed_kernel_loses_nothing_that_was_said_to_be_done(path: Path) -> None:
    """Kill -9 at ten random moments: every run whose future had resolved is there, whole."""
    chance = random.Random(11)
    shown = 0
    for turn in range(10):
        kernel = writer(path, f"b{turn}", 100_000, size=20_000)
        assert kernel.stdout is not None
        lines = [kernel.stdout.readline() for _ in range(chance.randrange(1, 150))]
        kernel.send_signal(signal.SIGKILL)
        rest = kernel.stdout.read()
        kernel.wait(60)
        kernel.stdout.close()
        whole = [line for line in ("".join(lines) + rest).splitlines(keepends=True) if line.endswith("\n")]
        assert all(line.endswith(" None\n") for line in whole)
        with opened(path) as kept:
            runs = kept.load(f"b{turn}").runs
            for line in whole:
                n = int(line.split()[0])
                run = runs[n]
                assert run is not None
                assert run.state.output == f"b{turn} {n}"
                assert set(run.tree) <= {"o"}
                shown += 1
            assert not kept.notes
    assert shown >= 10


# -- a disk that fails -----------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_made_leaves_the_batch_in_memory(tmp_path: Path) -> None:
    """The future says why, the record says it, and everything else goes on as if the disk were there."""
    (tmp_path / "file").write_text("not a folder")
    with opened(tmp_path / "file" / "runs.sqlite") as kept:
        kept.put_batch("b", "n", 1.0, ["x"])
        assert "cannot be written" in put(kept, "b", 0).result(60)
        assert "cannot be written" in kept.problem
        assert "now in memory only" in kept.describe()
        assert kept.load("n").state.runs[0].status == "done"
        assert kept.runs()[0].done == 1
        assert list(kept.find_done(["key 0"])) == ["key 0"]


def test_what_waited_in_memory_is_written_when_the_disk_is_back(tmp_path: Path) -> None:
    """Nothing is lost by a disk that was away for a while."""
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "runs.sqlite"
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"] * 3)
        assert put(kept, "b", 0).result(60)
        (tmp_path / "file").unlink()
        kept.flush()
        assert kept.problem == ""
        assert "can be written again" in kept.notes[0]
        assert put(kept, "b", 1).result(60) is None
    with opened(path) as again:
        assert again.runs()[0].done == 2


def test_a_full_disk_leaves_the_batch_in_memory_and_the_store_whole(path: Path) -> None:
    """SQLite's own limit on pages is a full disk to it; when there is room again, all is written."""
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"] * 30)
        assert put(kept, "b", 0).result(60) is None
        full = kept._db
        assert full is not None
        full.execute(f"PRAGMA max_page_count = {full.execute('PRAGMA page_count').fetchone()[0] + 2}")
        reasons = {put(kept, "b", n, text="long " * 9000).result(60) for n in range(1, 30)}
        assert len(reasons) == 1
        assert "full" in str(reasons)
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert other.execute("SELECT count(*) FROM run").fetchone() == (1,)
        assert kept.runs()[0].done == 30  # tried once more on a new connection, which has room
        assert kept.problem == ""


def test_a_file_that_may_not_grow_is_said_and_harms_nothing(path: Path) -> None:
    """The operating system refuses to write, as it does on a full disk or over a quota."""
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"] * 3)
        assert put(kept, "b", 0).result(60) is None
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
            assert "cannot be written" in put(kept, "b", 1, text="x" * 500_000).result(60)
            assert kept.load("n").state.runs[1].status == "done"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        kept.flush()
        assert kept.problem == ""
    with opened(path) as again:
        assert again.runs()[0].done == 2


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in the folder can be written, not even by root."""
    root = os.geteuid() == 0
    paths = [str(path) for path in (*folder.iterdir(), folder)]
    if root and (shutil.which("chattr") is None or subprocess.run(["chattr", "+i", *paths], check=False).returncode):
        pytest.skip("root can write everywhere here")
    if not root:
        folder.chmod(0o500)
    try:
        yield
    finally:
        if root:
            subprocess.run(["chattr", "-i", *paths], check=True)
        folder.chmod(0o700)


@pytest.mark.may_skip
def test_a_read_only_store_can_be_read_and_new_runs_stay_in_memory(path: Path) -> None:
    """As one that a teacher shares; what is new is there beside what is old."""
    filled(path, 3)
    with read_only(path.parent), opened(path) as kept:
        kept.put_batch("c", "later", 1e9, ["x"])
        assert "cannot be written" in put(kept, "c", 0).result(60)
        assert [(info.name, info.done) for info in kept.runs()] == [("later", 1), ("n", 3)]
        assert check_whole(kept, 3000) == {0, 1, 2}
        assert set(kept.find_done(f"key {n}" for n in range(5))) == {"key 0", "key 1", "key 2"}
        assert not kept.notes


@pytest.mark.may_skip
def test_a_full_file_system_leaves_the_batch_in_memory(tmp_path: Path) -> None:
    """A disk of 2 MB, filled to its last byte; when something is deleted, all is written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with opened(disk / "runs.sqlite") as kept:
            kept.put_batch("b", "n", 1.0, ["x"] * 3)
            assert put(kept, "b", 0).result(60) is None
            with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
                while ballast.write(b"x" * 512):
                    pass
            assert "cannot be written" in put(kept, "b", 1, text="x" * 50_000).result(60)
            assert kept.runs()[0].done == 2
            (disk / "ballast").unlink()
            kept.flush()
            assert kept.problem == ""
            assert put(kept, "b", 2).result(60) is None
        with opened(disk / "runs.sqlite") as again:
            assert again.runs()[0].done == 3
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_store_that_is_locked_too_long_is_waited_for_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program holds the file; when it lets go, what waited is written."""
    monkeypatch.setattr(record, "BUSY_SECONDS", 0.1)
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"] * 2).result(60)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "locked" in put(kept, "b", 0).result(60)
            assert put(kept, "b", 1).result(60)
            other.execute("ROLLBACK")
        kept.flush()
        assert kept.problem == ""
    with opened(path) as again:
        assert again.runs()[0].done == 2


def test_a_batch_that_changes_while_the_disk_is_away_is_read_as_it_is_now(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From memory before the disk is back, and from the disk when it is."""
    monkeypatch.setattr(record, "BUSY_SECONDS", 0.1)
    with opened(path) as kept:
        kept.put_batch("b", "early", 1.0, ["topic=…"] * 2).result(60)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "locked" in put(kept, "b", 0).result(60)
            kept.put_batch("b", "late", 1.0, ["topic=A", "topic=B"])
            assert kept.load("b").state.runs[1].label == "topic=B"
            assert [(info.name, info.done) for info in kept.runs()] == [("late", 1)]
            other.execute("ROLLBACK")
        kept.flush()
        assert kept.problem == ""
    with opened(path) as again:
        assert again.load("late").state.runs[1].label == "topic=B"


def test_a_store_that_is_deleted_under_a_running_batch_is_made_again(path: Path) -> None:
    """What comes later is on disk, with its batch, rather than in a file that nobody can open any more."""
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"] * 2)
        put(kept, "b", 0).result(60)
        for file in path.parent.iterdir():
            file.unlink()
        assert put(kept, "b", 1).result(60) is None
    with opened(path) as again:
        assert [run is not None for run in again.load("n").runs] == [False, True]


def test_only_so_many_batches_are_remembered_and_a_running_one_is_among_them(path: Path) -> None:
    """A server starts them for months; one that is still written to is known to a store that was made again."""
    with opened(path) as kept:
        kept.put_batch("long", "goes on", 1.0, ["x"] * 2)
        for n in range(3 * record.BATCHES_KNOWN):
            kept.put_batch(f"b{n}", "", 1.0, ["x"])
            put(kept, f"b{n}", 0)
            put(kept, "long", 0)
        kept.flush()
        assert len(kept._batches) == record.BATCHES_KNOWN
        for file in path.parent.iterdir():
            file.unlink()
        assert put(kept, "long", 1).result(60) is None
    with opened(path) as again:
        assert [(info.name, info.done) for info in again.runs()] == [("goes on", 1)]


# -- damaged files ---------------------------------------------------------------------------------------------


def filled(path: Path, runs: int, *, size: int = 3000, killed: bool = False) -> None:
    """A store with that many runs; `killed`: its writer did not close it, so that its log is still there."""
    kept = Record(path)
    kept.put_batch("b", "n", 1.0, ["x"] * runs)
    for n in range(runs):
        put(kept, "b", n, text=f"answer {n} " + "x" * size).result(60)
    if killed:
        copy = path.with_name("copy")
        copy.mkdir()
        for file in path.parent.glob("runs.sqlite*"):
            shutil.copy(file, copy)
    kept.close()


def check_whole(kept: Record, size: int) -> set[int]:
    """The runs that can be read, each of which must be whole; none may be mixed up."""
    found = set()
    with suppress(RecordError):
        for place, run in enumerate(kept.load("n").runs):
            if run is not None:
                assert run.state.output == f"answer {place} " + "x" * size
                assert run.tree == {"raw": f"out {place}"}
                found.add(place)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_file_cut_at_random_is_read_as_far_as_it_is_whole(path: Path, seed: int) -> None:
    """The broken file is kept aside, what can be read is taken over, it is said, and new runs are written."""
    filled(path, 40)
    size = path.stat().st_size
    cut = random.Random(seed).randrange(1, size)
    os.truncate(path, cut)
    with opened(path) as kept:
        found = check_whole(kept, 3000)
        assert len(kept.notes) == 1
        assert "was damaged: it is kept as runs.sqlite.broken-" in kept.notes[0]
        assert len(list(path.parent.glob("runs.sqlite.broken-*[0-9a-f]"))) == 1
        # A run takes about two pages; of what the cut left nearly all must be there.
        assert len(found) >= 40 * cut / size - 12
        kept.put_batch("c", "later", 2.0, ["x"])
        assert put(kept, "c", 0).result(60) is None
    with opened(path) as again:
        assert check_whole(again, 3000) == found
        assert again.load("later").runs[0] is not None
        assert not again.notes


@pytest.mark.parametrize("seed", range(8))
def test_a_log_cut_at_random_is_read_up_to_the_last_commit(path: Path, seed: int) -> None:
    """As after a crash of the machine: the runs before the cut are there, in order, and the file is sound."""
    filled(path, 30, killed=True)
    copy = path.with_name("copy") / "runs.sqlite"
    wal = copy.with_name("runs.sqlite-wal")
    os.truncate(wal, random.Random(seed).randrange(wal.stat().st_size))
    with opened(copy) as kept:
        found = check_whole(kept, 3000)
        assert found == set(range(len(found)))
        kept.put_batch("c", "later", 2.0, ["x"])
        assert put(kept, "c", 0).result(60) is None
        assert not kept.notes


@pytest.mark.parametrize("seed", range(8))
def test_garbage_in_the_file_costs_only_what_it_hit(path: Path, seed: int) -> None:
    """Two pages of noise at a random place: every run that can be read is right, and new ones are written."""
    filled(path, 40)
    chance = random.Random(seed)
    with path.open("r+b") as file:
        file.seek(chance.randrange(0, path.stat().st_size - 8192))
        file.write(chance.randbytes(8192))
    with opened(path) as kept:
        found = check_whole(kept, 3000)
        kept.put_batch("c", "later", 2.0, ["x"])
        assert put(kept, "c", 0).result(60) is None
        assert kept.load("later").runs[0] is not None
        assert len(found) >= 25 or kept.notes
    with opened(path) as again:
        assert again.runs()


@pytest.mark.parametrize("content", [b"x" * 600, b"not a database at all" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_kept_aside_untouched(path: Path, content: bytes) -> None:
    """It is not ours to delete."""
    path.write_bytes(content)
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"])
        assert put(kept, "b", 0).result(60) is None
        assert "was damaged" in kept.notes[0]
    (aside,) = path.parent.glob("runs.sqlite.broken-*")
    assert aside.read_bytes() == content


def test_damage_found_in_the_middle_of_a_batch_is_rescued_there(path: Path) -> None:
    """The file breaks under an open connection; the run that meets it is written into the new store."""
    filled(path, 40)
    with opened(path) as kept:
        assert len(check_whole(kept, 3000)) == 40
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 8000)
        kept.put_batch("c", "later", 2.0, ["x"])
        assert put(kept, "c", 0).result(60) is None
    with opened(path) as again:
        assert again.load("later").runs[0] is not None


def test_two_kernels_that_meet_a_damaged_store_at_once_lose_nothing(path: Path) -> None:
    """Whoever is first rescues it; the other one goes on in the new file."""
    filled(path, 40)
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(4096))
    kernels = [writer(path, name, 40) for name in ("k1", "k2")]
    for kernel in kernels:
        assert "None" in kernel.communicate(timeout=60)[0]
    with opened(path) as kept:
        for name in ("k1", "k2"):
            assert [run.output for run in kept.load(name).state.runs] == [f"{name} {n}" for n in range(40)]
        assert check_whole(kept, 3000) == set(range(40))


def test_a_lost_first_page_costs_nothing(path: Path) -> None:
    """It holds the schema, which is known; every batch and run is behind it."""
    filled(path, 40)
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(4096))
    with opened(path) as kept:
        assert check_whole(kept, 3000) == set(range(40))
        assert "the 40 runs that could be read were taken over" in kept.notes[0]


def test_a_damaged_row_costs_nothing_but_what_it_held(path: Path) -> None:
    """SQLite does not see that a text is no text any more; the batch, its other runs and all others are there."""
    filled(path, 3)
    with opened(path) as kept:
        kept.put_batch("c", "later", 2.0, ["x"])
        put(kept, "c", 0).result(60)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE batch SET labels = CAST(x'ff' AS TEXT), meta = CAST(x'ff' AS TEXT) WHERE name = 'n'")
        db.execute("UPDATE run SET events = '[{\"event\": 3}, 4]', inputs = '[]' WHERE place = 1")
        db.execute("UPDATE run SET state = '{}', output = '' WHERE place = 2")
        db.commit()
    with opened(path) as kept:
        assert [(info.name, info.runs, info.done) for info in kept.runs()] == [("later", 1, 1), ("n", 3, 3)]
        batch = kept.load("n")
        assert [run is not None for run in batch.runs] == [True, True]
        assert [run and (run.inputs, len(run.events)) for run in batch.runs] == [({"topic": 0}, 5), (None, 0)]
        assert batch.meta == {}
        assert set(kept.find_done(f"key {n}" for n in range(3))) == {"key 0", "key 1"}


# -- versions --------------------------------------------------------------------------------------------------

VERSION_1 = """
PRAGMA application_id = 1668443746;
CREATE TABLE batch (key TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, labels TEXT NOT NULL,
 meta TEXT NOT NULL);
CREATE TABLE run (id INTEGER PRIMARY KEY, batch TEXT NOT NULL, place INTEGER NOT NULL, run_key TEXT NOT NULL,
 status TEXT NOT NULL, finished REAL NOT NULL, inputs TEXT NOT NULL, state TEXT NOT NULL, output TEXT,
 events TEXT NOT NULL, UNIQUE (batch, place));
CREATE INDEX run_by_key ON run (run_key) WHERE status = 'done';
CREATE INDEX batch_by_name ON batch (name);
INSERT INTO batch VALUES ('old', 'from version 1', 5.0, '["topic=0", "topic=1"]', '{}');
INSERT INTO run VALUES (1, 'old', 0, 'k0', 'done', 6.0, '{"topic": "AI"}',
 '{"index": 0, "label": "topic=0", "status": "done", "queued": 5.0, "finished": 6.0, "last_event": 6.0,
   "usage": {"total_tokens": 42}, "cost": 0.5, "output": "hello"}', '{"value": "hello"}', '[]');
INSERT INTO run VALUES (2, 'old', 1, 'k1', 'failed', 6.0, 'null', 'not even JSON', NULL, '[]');
PRAGMA user_version = 1;
"""


def test_a_store_of_version_1_is_migrated_with_all_that_is_in_it(path: Path) -> None:
    """A row that cannot be read does not stop it; several kernels may meet the old file at once."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    with opened(path) as one, opened(path) as two:
        assert one.runs() == two.runs()
        (info,) = one.runs()
        assert (info.done, info.failed, info.total_tokens, info.cost) == (1, 1, 42, 0.5)
        batch = two.load("from version 1")
        assert [run and run.tree for run in batch.runs] == [{"value": "hello"}, None]
        assert batch.state.runs[0].output == "hello"
        assert one.find_done(["k0", "k1"])["k0"].inputs == {"topic": "AI"}
        assert put(one, "old", 1).result(60) is None
        assert two.load("old").state.runs[1].status == "done"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(store.MIGRATIONS),)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    """All of its steps are one transaction: here a table of the old file lacks what the step needs."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1 + "ALTER TABLE run ADD COLUMN cost REAL;")
    before = sqlite3.connect(path)
    with closing(before):
        schema = before.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        with opened(path) as kept:
            kept.put_batch("b", "n", 1.0, ["x"])
            assert "duplicate column" in put(kept, "b", 0).result(60)
            assert kept.problem
        assert before.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == schema
        assert before.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_store_of_a_newer_version_is_left_untouched(path: Path) -> None:
    """The batch goes on in memory, and says what to do."""
    filled(path, 2)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA user_version = 99")
        db.commit()
    content = path.read_bytes()
    with opened(path) as kept:
        kept.put_batch("c", "later", 1.0, ["x"])
        reason = put(kept, "c", 0).result(60)
        assert "was written by a newer crew_nb (its version is 99" in reason
        assert "upgrade crew_nb" in reason
        assert kept.find_done(["key 0"]) == {}
        with pytest.raises(RecordError, match="newer crew_nb"):
            kept.runs()
    assert path.read_bytes() == content
    assert {f.name for f in path.parent.iterdir()} == {"runs.sqlite"}


def test_a_database_of_something_else_is_left_untouched(path: Path) -> None:
    """A wrong path must not put our tables into somebody's data."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE precious (x)")
    content = path.read_bytes()
    with opened(path) as kept:
        kept.put_batch("b", "n", 1.0, ["x"])
        assert "something else" in put(kept, "b", 0).result(60)
    assert path.read_bytes() == content


# -- the record of this process --------------------------------------------------------------------------------


def test_the_place_is_stated_and_can_be_moved_or_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an environment variable before, by `set_record` at any time; one record per path."""
    monkeypatch.setenv("CREW_NB_HOME", str(tmp_path / "home"))
    assert record.default_path() == tmp_path / "home" / "runs.sqlite"
    assert record.describe() == f"runs are kept in {tmp_path}/home/runs.sqlite"
    first = record.get()
    assert record.set_record(tmp_path / "elsewhere") == f"runs are kept in {tmp_path}/elsewhere/runs.sqlite"
    assert "in memory only" in record.set_record(None)
    assert record.get().path is None
    record.set_record(tmp_path / "home" / "runs.sqlite")
    assert record.get() is first
    record.set_record(str(tmp_path / "my.db"))
    assert record.get().path == tmp_path / "my.db"
    assert not (tmp_path / "home").exists()
    monkeypatch.delenv("CREW_NB_HOME")
    assert record.default_path().parent.name == "crew_nb"


@pytest.mark.parametrize("given", [None, 3, ["a", "b"]])
def test_what_names_no_batch_is_refused(given: Any) -> None:
    """`load` says what it takes."""
    with pytest.raises(RecordError, match=r"cnb\.runs"):
        record.load(given)


def test_importing_and_describing_touches_no_disk_and_loads_no_crewai(tmp_path: Path) -> None:
    """The file appears with the first batch."""
    code = "import sys, crew_nb._record.record as r; print(r.describe()); print('crewai' in sys.modules)"
    env = {**os.environ, "CREW_NB_HOME": str(tmp_path / "home")}
    out = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
    assert out.splitlines()[1] == "False"
    assert not (tmp_path / "home").exists()


def test_ten_thousand_runs(path: Path, record_testsuite_property: Any) -> None:
    """Written, listed, found and loaded; the times are reported."""
    made = [told(n) for n in range(10_000)]
    times = []
    with opened(path) as kept:
        kept.put_batch("b", "big", 1.0, ["x"] * 10_000)
        times.append(("start", time.perf_counter()))
        futures = [
            kept.put_run("b", n, f"key {n}", state, output={"raw": "x"}, inputs={"n": n}, events=events)
            for n, (state, events) in enumerate(made)
        ]
        times.append(("put", time.perf_counter()))
        assert {f.result(60) for f in futures} == {None}
        times.append(("committed", time.perf_counter()))
        assert kept.runs()[0].done == 10_000
        times.append(("listed", time.perf_counter()))
        assert len(kept.find_done(f"key {n}" for n in range(10_000))) == 10_000
        times.append(("found", time.perf_counter()))
        batch = kept.load("big")
        assert batch.state.runs == tuple(state for state, _ in made)
        times.append(("loaded", time.perf_counter()))
    spent = {name: round(at - before, 3) for (_, before), (name, at) in pairwise(times)}
    record_testsuite_property("ten_thousand_runs_seconds", json.dumps(spent))
    print(f"10,000 runs: {spent}, {path.stat().st_size / 1e6:.1f} MB")


LOCKED = """
import sqlite3, sys
import crew_nb as cnb
from crew_nb._record import record
from tests.support import crews

path = cnb.set_record(sys.argv[1]) and sys.argv[1]
crew = crews.one(cnb.OfflineLLM(latency=0))
cnb.kickoff_for_each(crew, [{"topic": "before"}], show=False).wait()
record.BUSY_SECONDS = 0.1
record.get()._disconnect()
lock = sqlite3.connect(path, isolation_level=None)
lock.execute("BEGIN IMMEDIATE")
batch = cnb.kickoff_for_each(crew, [{"topic": t} for t in "abc"], name="the sweep", show=False)
print({r.status for r in batch.wait()})
if sys.argv[2] == "released":
    lock.execute("ROLLBACK")
"""


@pytest.mark.parametrize("end", ["held", "released"])
def test_what_is_lost_with_the_process_is_told_as_it_ends(end: str, path: Path) -> None:
    """A store that another program keeps locked to the end: how many runs of which batch are not kept, and why."""
    done = subprocess.run(
        [sys.executable, "-c", LOCKED, str(path), end], check=False, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "{'done'}\n"), done.stderr
    with opened(path) as kept:
        held = {info.name: info.done for info in kept.runs()}
    if end == "released":
        assert done.stderr == ""
        assert held.pop("the sweep") == 3
    else:
        assert done.stderr == (
            f"crew_nb: 3 runs (3 of the sweep) not kept: {path} cannot be written (database is locked)\n"
        )
        assert "the sweep" not in held
    assert list(held.values()) == [1]


def test_a_long_answer_is_on_disk_once(path: Path) -> None:
    """It stands in state, events and output; a row takes little more than the text, and is read back as it was."""
    text = "\n".join(f'line {n} says "ä" \\ and {random.random()}' for n in range(30_000))
    state, events = told(0, text=text)
    output = {"raw": text, "tasks_output": [{"raw": text}], "short": "x"}
    with opened(path) as kept:
        kept.put_batch("b", "big", 1.0, ["t"])
        assert kept.put_run("b", 0, "key 0", state, output=output, inputs={"t": 1}, events=events).result(60) is None
        loaded = kept.load("b")
        found = kept.find_done(["key 0"])["key 0"]
    assert path.stat().st_size < 1.3 * len(text.encode()) + 100_000
    for run in (loaded.runs[0], found):
        assert run.state == state
        assert json.loads(run.output_json or "") == output
        assert list(run.events) == events
