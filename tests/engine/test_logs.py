"""Lines that a run's code logs, by whichever logger: in its row, with the user's handlers, and not in the cell."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from crewai.events import TaskStartedEvent, crewai_event_bus
from crewai.tools import tool

import crew_nb as cnb
from tests.support import crews

if TYPE_CHECKING:
    from collections.abc import Callable

    from crewai import Crew

Captured = pytest.CaptureFixture[str]
NAMES = ("", "crewai", "crewai.task", "crewai_tools.tools.search", "my_app")


class Kept(logging.Handler):
    """A handler of the user's."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging as Python leaves it; called within the test, as pytest gives each step handlers of its own."""
    monkeypatch.setattr(logging.root, "handlers", [])


def speaks(say: Callable[[str], Any]) -> Callable[[str], Crew]:
    """A factory of crews whose tool says what it is asked for."""

    def build(topic: str) -> Crew:
        @tool
        def search(query: str) -> str:
            """Search."""
            say(topic)
            return "found"

        llm = cnb.OfflineLLM([{"name": "search", "arguments": {"query": topic}}, "done"], latency=0)
        return crews.one(llm, tools=[search])

    return build


def rows(build: Callable[[str], Crew], topics: str = "abc") -> list[str]:
    batch = cnb.kickoff_for_each(build, [{"topic": topic} for topic in topics], show=False)
    batch.wait(60)
    return ["\n".join(line.text for line in run.state.log) for run in batch.runs]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_is_in_its_row_and_not_in_the_cell(monkeypatch: pytest.MonkeyPatch, name: str, capfd: Captured) -> None:
    """Where nobody has set up logging, of any logger."""
    unset(monkeypatch)
    found = rows(speaks(lambda topic: logging.getLogger(name).error("403 for topic=%s", topic)))
    assert ["".join(t for t in "abc" if f"error: 403 for topic={t}" in row) for row in found] == ["a", "b", "c"]
    assert "403" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("on", ["", "crewai"])
def test_the_users_handlers_get_what_they_got(monkeypatch: pytest.MonkeyPatch, name: str, on: str) -> None:
    """A handler on the root logger or on CrewAI's hears what it hears without us, and the row has the line too."""
    unset(monkeypatch)
    kept = Kept()
    logging.getLogger(on).addHandler(kept)
    try:
        logger = logging.getLogger(name)
        found = rows(speaks(lambda topic: logger.error("403 for topic=%s", topic)))
        logger.error("403 for nobody")
    finally:
        logging.getLogger(on).removeHandler(kept)
    heard = on == "" or name.partition(".")[0] == on
    expected = [f"403 for topic={t}" for t in "abc"] + ["403 for nobody"]
    assert sorted(line for line in kept.lines if "403" in line) == sorted(expected if heard else [])
    assert all("error: 403" in row for row in found)


def test_a_thread_of_a_tool_with_its_context_is_in_the_row(monkeypatch: pytest.MonkeyPatch, capfd: Captured) -> None:
    """By context, not by thread."""
    unset(monkeypatch)
    import contextvars

    def say(topic: str) -> None:
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(logging.warning, "late topic=%s", topic))
        thread.start()
        thread.join()

    assert ["warning: late topic=" in row for row in rows(speaks(say))] == [True] * 3
    assert "late" not in "".join(capfd.readouterr())


def test_logging_can_be_set_up_as_ever(monkeypatch: pytest.MonkeyPatch, capfd: Captured, tmp_path: Any) -> None:
    """After a launch: `basicConfig` works, what is below the level is nowhere, other code's lines go as they went."""
    unset(monkeypatch)
    rows(speaks(lambda topic: None), "a")
    logging.getLogger("elsewhere").warning("a line of nobody's run")
    assert "a line of nobody's run" in capfd.readouterr().err
    logging.basicConfig(filename=tmp_path / "log", level=logging.WARNING)
    (row,) = rows(speaks(lambda topic: (logging.info("quiet"), logging.warning("loud"))), "a")
    assert "quiet" not in row
    assert "warning: loud" in row
    assert (tmp_path / "log").read_text().splitlines() == ["WARNING:root:loud"]
    logging.root.handlers[0].close()


def test_a_listener_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of handlers on CrewAI's event bus, sync and async, stand in the head and in one row; the runs go on."""
    calls: list[str] = []
    done = threading.Semaphore(0)

    def count(source: Any, event: Any) -> None:
        calls.append("sync")
        done.release()
        raise KeyError("no such sk-proj-Zx81nfQ0dRq2Lm7TbVw4")

    async def acount(source: Any, event: Any) -> None:
        calls.append("async")
        done.release()
        raise ValueError("broken")

    with crewai_event_bus.scoped_handlers():
        crewai_event_bus.register_handler(TaskStartedEvent, count)
        crewai_event_bus.register_handler(TaskStartedEvent, acount)
        batch = cnb.kickoff_for_each(crews.one(cnb.OfflineLLM(latency=0.2)), [{"topic": t} for t in "abc"], show=False)
        assert {r.status for r in batch.wait(60)} == {"done"}
        for _ in range(6):
            assert done.acquire(timeout=30)
    assert sorted(calls) == ["async"] * 3 + ["sync"] * 3
    until = time.monotonic() + 30
    while len(notes := [note for note in batch.state().notes if "listener" in note]) < 2:
        assert time.monotonic() < until, notes
        time.sleep(0.01)
    assert {note.rpartition("<locals>.")[2] for note in notes} == {
        "count: KeyError: 'no such ***'",
        "acount: ValueError: broken",
    }
    lines = [line.text for run in batch.runs for line in run.state.log if "listener" in line.text]
    assert sorted(lines) == sorted(notes)
