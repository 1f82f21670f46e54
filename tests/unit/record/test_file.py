"""A batch in one file: whole, or as far as it is whole, and never in the place of a better one."""

from __future__ import annotations

import json
import random
import resource
import signal
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crew_nb._record import file as _file
from crew_nb._record import record as _record
from crew_nb._state.errors import RecordError
from crew_nb._state.events import Logged, RunStarted
from crew_nb._state.state import BatchState
from tests.support.batches import finished_run

if TYPE_CHECKING:
    from pathlib import Path

WORDS = "answer \ud800 ü" + "x" * 200


def saved(tmp_path: Path, runs: int = 20) -> Path:
    """A file of that many runs."""
    states = tuple(finished_run(n, f"T{n}", 0.0, words=WORDS) for n in range(runs))
    return _file.write(
        tmp_path / "sweep.crewnb",
        BatchState(key="b", name="sweep", runs=states, created=1.0, finished=100.0, notes=("a note",)),
        [f"out {n}" for n in range(runs)],
        inputs=[{"topic": n} for n in range(runs)],
        events=[
            event
            for n in range(runs)
            for event in (RunStarted(run=n, at=2.0), Logged(run=n, at=3.0 + n, text="a line"))
        ],
    )


def test_a_saved_batch_is_loaded_whole(tmp_path: Path) -> None:
    """By its path, as text or as Path; everything comes back."""
    file = saved(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"sweep.crewnb"}
    for which in (file, str(file)):
        batch = _record.load(which)
        assert (batch.state.key, batch.state.name, batch.state.created) == ("b", "sweep", 1.0)
        assert batch.state.notes == ("a note",)
        assert [r.output for r in batch.state.runs] == [WORDS] * 20
        assert [run and run.tree for run in batch.runs] == [f"out {n}" for n in range(20)]
        assert [r and r.inputs for r in batch.runs] == [{"topic": n} for n in range(20)]
        assert [event.run for event in batch.events] == [*range(20), *range(20)]


def test_a_saved_file_cut_anywhere_is_read_up_to_its_last_whole_run(tmp_path: Path) -> None:
    """With a warning that says how many are there; 60 random cuts."""
    file = saved(tmp_path)
    content = file.read_bytes()
    ends = [n for n, byte in enumerate(content) if byte == 10]
    chance = random.Random(5)
    for cut in [ends[0], ends[0] + 1, ends[1] - 1, *(chance.randrange(ends[0], ends[-1]) for _ in range(57))]:
        file.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends[1:])
        with pytest.warns(UserWarning, match=f"cut short or damaged: {whole} of 20 runs were read"):
            batch = _file.read(file)
        assert [run is not None for run in batch.runs] == [True] * whole + [False] * (20 - whole)


def test_a_line_of_noise_costs_its_run_only(tmp_path: Path) -> None:
    """The others are read, in their places."""
    file = saved(tmp_path)
    lines = file.read_bytes().split(b"\n")
    lines[4] = b"\xff\xfe noise"
    lines[6] = b'{"place": 5}'
    file.write_bytes(b"\n".join(lines))
    with pytest.warns(UserWarning, match="18 of 20"):
        batch = _file.read(file)
    assert [n for n, run in enumerate(batch.runs) if run is None] == [3, 5]


def test_what_is_no_saved_batch_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Other files, newer files, no file."""
    other = tmp_path / "other.json"
    for content, match in (
        (b"[]", "is not a file that"),
        (b"", "is not a file that"),
        (b"\xff\xff", "is not a file that"),
    ):
        other.write_bytes(content)
        with pytest.raises(RecordError, match=match):
            _file.read(other)
    other.write_text(json.dumps({"kind": _file.KIND, "version": 99}))
    with pytest.raises(RecordError, match="newer crew_nb"):
        _file.read(other)
    with pytest.raises(RecordError, match="cannot be read"):
        _file.read(tmp_path / "nothing")


def test_a_save_that_fails_leaves_the_earlier_file_as_it_was(tmp_path: Path) -> None:
    """The new one takes its place only when it is whole."""
    file = saved(tmp_path, runs=2)
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(RecordError, match="could not be saved to"):
            saved(tmp_path, runs=200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["sweep.crewnb"]
    with pytest.raises(RecordError, match="could not be saved to"):
        _file.write(tmp_path / "no" / "folder", BatchState(key="b", name="", runs=(), created=1.0), [])


class Interrupted:
    """A value at which the user presses Interrupt."""

    def __repr__(self) -> str:
        raise KeyboardInterrupt


def test_a_save_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whatever breaks it, Interrupt too: it is told as it is, and no part of a file stays."""
    batch = BatchState(key="b", name="", runs=(finished_run(0, "A", 0.0),), created=1.0)
    with pytest.raises(KeyboardInterrupt):
        _file.write(tmp_path / "broken", batch, ["out"], inputs=[{"topic": Interrupted()}])
    with pytest.raises(ValueError, match="shorter"):
        _file.write(tmp_path / "broken", batch, [])
    assert list(tmp_path.iterdir()) == []


def test_no_link_is_followed_where_the_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that others write to, too, nobody can foretell the name; one who could finds it refused."""
    names: list[Path] = []
    opened = type(tmp_path).open

    def watch(path: Path, *args: Any, **more: Any) -> Any:
        if path.suffix == ".partial":
            names.append(path)
        return opened(path, *args, **more)

    monkeypatch.setattr(type(tmp_path), "open", watch)
    batch = BatchState(key="b", name="", runs=(), created=1.0)
    for _ in range(2):
        _file.write(tmp_path / "b.jsonl", batch, [])
    assert len(set(names)) == 2
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    monkeypatch.setattr("crew_nb._record.file.uuid.uuid4", lambda: uuid.UUID(int=7))
    (tmp_path / f".b.jsonl.{uuid.UUID(int=7).hex}.partial").symlink_to(victim)
    with pytest.raises(RecordError):
        _file.write(tmp_path / "b.jsonl", batch, [])
    assert victim.read_text() == "precious"


ODD = (None, [], {}, "x", -1, 10**30, 1e308, True, "\ud800", [[[]]], {"$": "model"}, {"$": "decimal", "v": "sNaN"})


def test_a_file_that_was_changed_by_hand_gives_what_is_whole_or_is_refused(tmp_path: Path) -> None:
    """One value in it at a time has another type: loading, reading, showing and saving raise nothing else."""
    from crew_nb._handles.results import Results

    dice = random.Random(5)
    whole = [json.loads(line) for line in saved(tmp_path, runs=3).read_text().splitlines()]

    def changed(tree: Any) -> Any:
        if isinstance(tree, dict) and tree:
            name = dice.choice(list(tree))
            return {**tree, name: changed(tree[name]) if dice.random() < 0.6 else dice.choice(ODD)}
        if isinstance(tree, list) and tree:
            place = dice.randrange(len(tree))
            return [changed(item) if at == place else item for at, item in enumerate(tree)]
        return dice.choice(ODD)

    path = tmp_path / "changed.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(200):
            place = dice.randrange(len(whole))
            lines = [changed(tree) if at == place else tree for at, tree in enumerate(whole)]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            try:
                results = Results.loaded(_file.read(path))
            except RecordError:
                continue
            str(results)
            results.to_html()
            results.to_frame()
            results.save(tmp_path / "again.jsonl")
