"""What the engine's threads import never makes an import of the user's fail."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

import crew_nb as cnb
from crew_nb._engine import imports
from tests.support import crews

if TYPE_CHECKING:
    from pathlib import Path

    from crewai import Crew

MEET = "import threading\ninside, coming = threading.Event(), threading.Event()"
RING = """
import time
import meet

meet.inside.set()
meet.coming.wait(5)
time.sleep(0.3)  # for Python's own lock: nobody can see that somebody waits for it
from ring.sub import one
"""
"""A package that one thread imports while another one comes for a module of it, and has that module's lock."""


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ring").mkdir()
    (tmp_path / "ring" / "__init__.py").write_text(RING)
    (tmp_path / "ring" / "sub.py").write_text("one = 1")
    (tmp_path / "meet.py").write_text(MEET)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ring", "meet")]:
        monkeypatch.delitem(sys.modules, name)


def first() -> Crew:
    from ring import one  # type: ignore[import-not-found]

    return crews.one(cnb.OfflineLLM([str(one)], latency=0))


def second() -> Crew:
    import meet  # type: ignore[import-not-found]

    assert meet.inside.wait(30)
    meet.coming.set()
    from ring.sub import one  # type: ignore[import-not-found]

    return crews.one(cnb.OfflineLLM([str(one)], latency=0))


def test_a_factory_and_the_next_cell_import_the_same_package(ring: None) -> None:
    """The next cell imports what a factory imports meanwhile in a thread: both get it whole."""
    run = cnb.kickoff(first, {"topic": "T"}, show=False)
    second()
    assert run.wait(30).raw == "1"


def test_factories_import_the_same_package(ring: None) -> None:
    """Crews that are built side by side import one after the other."""
    results = cnb.gather((first, {"topic": "T"}), (second, {"topic": "T"}), show=False).wait(60)
    assert [result.raw for result in results] == ["1", "1"]


def test_a_module_that_launches_and_joins_while_it_is_imported(ring: None, tmp_path: Path) -> None:
    """Its importer waits for the run: the run's imports do not wait for it."""
    (tmp_path / "ring" / "__init__.py").write_text("")
    (tmp_path / "ring" / "script.py").write_text(
        "import crew_nb as cnb\n"
        "from tests.support import crews\n"
        "def build():\n"
        "    from ring.sub import one\n"
        "    return crews.one(cnb.OfflineLLM([str(one)], latency=0))\n"
        "raw = cnb.kickoff(build, {'topic': 'T'}, show=False).wait(20).raw\n"
    )
    with imports.in_turn():
        from ring.script import raw  # type: ignore[import-not-found]
    assert raw == "1"


def test_who_loads_a_module_waits_for_no_turn(ring: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a thread imports within a module comes at once: who has the turn may be waiting for that module."""
    monkeypatch.setattr(imports, "HELD_UP", sys.maxsize)  # it is not to be found out by looking, either
    threads = [
        threading.Thread(target=load, args=["ring"], name=f"{imports.PREFIX}-{load.__name__}", daemon=True)
        for load in (importlib.import_module, imports._import)  # only the latter is taken in turn
    ]
    threads[0].start()
    import meet  # type: ignore[import-not-found]

    assert meet.inside.wait(30)
    with imports.in_turn():
        threads[1].start()
        while imports._owner is None:
            time.sleep(imports.STEP)
        meet.coming.set()
        for thread in threads:
            thread.join(imports.PATIENCE / 2)
    assert [thread.is_alive() for thread in threads] == [False, False]


def test_imports_are_pythons_own_again() -> None:
    """Once crews are built nothing stands before them."""
    import builtins

    cnb.kickoff(lambda: crews.one(cnb.OfflineLLM(latency=0)), {"topic": "T"}, show=False).wait(30)
    assert builtins.__import__ is not imports._import
