"""A process that is killed at each event of a run in turn, and what the next one asks for.

At every third event, and at every single one with `--rounds=12`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def events_of(folder: Path, dies_at: int) -> int:
    """Run the office of the folder, or what is left of it; the process kills itself at that event.

    Returns:
        How many events there were.
    """
    import crew_nb as cnb
    from crew_nb._cells import verbs
    from tests.engine.test_goes_on import INPUTS, Office

    cnb.set_record(folder / "kept.sqlite")
    plans = verbs._blueprint.plans_for_each(Office(folder, "task 2").build, INPUTS)
    batch = verbs.Batch(plans, verbs.options(show=False, resume=True, max_retries=0))
    driver = batch._driver

    def tap(event: Any) -> None:
        if len(driver.events) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    driver.taps.append(tap)
    batch.start()
    (result,) = batch.wait(600)
    told = {"said": [(t.name, t.raw) for t in result.tasks_output], "spent": result.token_usage.successful_requests}
    (folder / "told.json").write_text(json.dumps(told))
    return len(driver.events)


def main(folder: Path, every: int) -> None:
    """Kill one process after the other, each a fork of this one, which has loaded all and started nothing."""
    from tests.engine.test_goes_on import Office

    whole = folder / "whole"
    forked(whole, 0)
    for name in (whole / "loaded").read_text().split():
        if name not in sys.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    for at in range(1, int((whole / "events").read_text()) + 1, every):
        place = folder / str(at)
        assert forked(place, at) == -signal.SIGKILL, f"there was no event {at}"
        (place / "on disk").write_text(json.dumps(on_disk(place)))
        (place / "first").write_text("\n".join(Office(place).asked))
        forked(place, 0)


def forked(place: Path, dies_at: int) -> int:
    """The exit code of a child that runs the office."""
    place.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        signal.alarm(600)
        try:
            (place / "events").write_text(str(events_of(place, dies_at)))
            (place / "loaded").write_text("\n".join(sys.modules))
            os._exit(0)
        except BaseException as error:
            (place / "error").write_text(repr(error))
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def on_disk(folder: Path) -> list[int]:
    """Places of the tasks that are kept of the run, or of all of them where it is kept as done."""
    if not (folder / "kept.sqlite").exists():
        return []
    with closing(sqlite3.connect(folder / "kept.sqlite")) as db:
        done = db.execute("SELECT count(*) FROM run WHERE status = 'done'").fetchone()[0]
        return list(range(6)) if done else [task for (task,) in db.execute("SELECT task FROM task WHERE asked <> ''")]


@pytest.fixture(scope="module")
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each event at which a process was killed."""
    folder = tmp_path_factory.mktemp("killed")
    code = (
        f"import sys; from pathlib import Path; from {__name__} import main; main(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    every = max(1, 12 // request.config.getoption("--rounds"))
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder), str(every)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_killed_at_every_event(killed: Path) -> None:
    """Six tasks, async ones among them: one that was on disk is asked once in all, its tool and callback run once."""
    from tests.engine.test_goes_on import Office

    places = sorted((p for p in killed.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    whole = json.loads((killed / "whole" / "told.json").read_text())
    kept: Counter[int] = Counter()
    for place in places:
        assert not (place / "error").exists(), (place.name, (place / "error").read_text())
        office, told = Office(place), json.loads((place / "told.json").read_text())
        assert told["said"] == whole["said"], place.name
        done = {f"task {n}" for n in json.loads((place / "on disk").read_text())}
        kept[len(done)] += 1
        asked, before = Counter(office.asked), Counter((place / "first").read_text().split("\n"))
        again = asked - before
        assert {name: asked[name] for name in done} == {n: 2 if n == "task 2" else 1 for n in done}, place.name
        assert set(again) == set(Office.names) - done, place.name
        assert told["spent"] == sum(again.values()), place.name
        assert office.uses == 1 or "task 2" not in done, place.name
        assert all(office.told.count(name) == 1 for name in done), place.name
    assert set(kept) >= {0, 1, 5}, kept
    print(f"\n{len(places)} processes killed, tasks then on disk: {dict(sorted(kept.items()))}")
