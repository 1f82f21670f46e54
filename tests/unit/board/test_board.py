"""The board's Python side: what crosses the comm, and what a browser may ask for."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
import time
import weakref
from typing import TYPE_CHECKING, Any

import comm
import pytest
from ipywidgets.widgets.widget import _instances

import crew_nb as cnb
from crew_nb._board import widget as _board
from crew_nb._board.together import Together
from crew_nb._board.widget import Board, Pacer
from crew_nb._cells import display as _display
from crew_nb._crewai import blueprint as _blueprint
from crew_nb._engine.engine import engine
from crew_nb._handles.batch import Batch
from crew_nb._state import events as ev
from crew_nb._state.options import options
from tests.support import crews
from tests.support.page import Wire
from tests.support.script import Script, files_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crewai import Crew

    from crew_nb._crewai.blueprint import Plan


@pytest.fixture(autouse=True)
def _wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Widgets get a comm of this test's: the `comm` package has this very hook for kernels."""
    monkeypatch.setattr(comm, "create_comm", Wire)
    return


class Browser:
    """The other end of a board: keeps rows as board.js does."""

    def __init__(self, board: Board, view: str = "a") -> None:
        self.board = board
        self.view = view
        self.read = 0
        self.rows: dict[str, Any] = {}
        self.details: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self.files: list[dict[str, Any]] = []
        self.shapes: dict[str, Any] = {}
        self.batch: dict[str, Any] = {}
        self.sizes: list[int] = []

    def say(self, t: str, **more: Any) -> None:
        """Send a message as the front end does."""
        assert self.board.comm is not None
        content = {"t": t, "view": self.view, **more}
        self.board.comm.handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    def hear(self) -> list[dict[str, Any]]:
        """Take in what came since the last time."""
        wire = self.board.comm
        assert isinstance(wire, Wire)
        new = [m["content"] for m in wire.sent[self.read :] if m.get("method") == "custom"]
        self.read = len(wire.sent)
        for message in new:
            self.sizes.append(len(json.dumps(message, ensure_ascii=False).encode()))
            if message["t"] in ("file", "whole"):
                self.files.append(message)
                continue
            if message["full"]:
                self.rows, self.details, self.lines, self.shapes = {}, {}, [], {}
            self.rows |= message.get("rows", {})
            self.shapes |= message.get("shapes", {})
            self.details |= message.get("details", {})
            self.lines += message.get("lines", [])
            self.batch = message["batch"]
        return new

    def all(self) -> list[dict[str, Any]]:
        """Flush until there is nothing more, and take it in."""
        self.board.flush()
        files_written()
        while self.board.flush():
            assert len(self.sizes) < 10_000
        return self.hear()


def board(script: Script) -> tuple[Board, Browser]:
    """A board of the script, and a browser that has said hello."""
    made = Board(script)
    browser = Browser(made)
    browser.say("hello")
    return made, browser


def test_nothing_is_sent_while_nobody_looks() -> None:
    """Under nbclient no browser says hello, and no message is spent on it."""
    made = Board(Script(3))
    assert not made.flush()


def test_hello_brings_everything_in_bounded_messages() -> None:
    """A thousand rows come in several messages, each within its room, and all are there in the end."""
    script = Script(1000, width=64)
    script.play(20)
    _, browser = board(script)
    messages = browser.all()
    assert messages[0]["full"]
    assert not any(m["full"] for m in messages[1:])
    assert [m["revision"] for m in messages] == list(range(1, len(messages) + 1))
    assert sorted(map(int, browser.rows)) == list(range(1000))
    assert max(browser.sizes) <= _board.ROOM + 2_000


def test_only_rows_that_changed_are_sent_again() -> None:
    """A flush after nothing is no message; a flush after one event is one row."""
    script = Script(50, width=4)
    script.play(3)
    made, browser = board(script)
    browser.all()
    assert not made.flush()
    before = list(script.runs)
    while sum(a is not b for a, b in zip(before, script.runs, strict=True)) == 0:
        script.play(script.events[script.place].at - script.created)
    changed = {str(i) for i, (a, b) in enumerate(zip(before, script.runs, strict=True)) if a is not b}
    assert made.flush()
    (message,) = browser.hear()
    assert set(message["rows"]) == changed


def test_the_final_state_is_right_in_a_view_that_saw_it_all_and_in_one_that_came_late() -> None:
    """Played to its end with a flush in between now and then, both views hold the same rows."""
    script = Script(40, width=8, failing=0.2)
    made, browser = board(script)
    for tenth in range(12):
        script.play(script.length * tenth / 10)
        made.flush()
        browser.hear()
    browser.all()
    late = Browser(made, "b")
    late.read = browser.read
    late.say("hello")
    late.all()
    for row in (*late.rows.values(), *browser.rows.values()):
        row["shape"] = (late if row is late.rows[str(row["index"])] else browser).shapes[str(row["shape"])]
    assert late.rows == browser.rows
    assert {r["status"] for r in late.rows.values()} == {"done", "failed"}
    assert late.batch["counts"]["failed"] == sum(r.status == "failed" for r in script.runs)


def test_an_opened_row_gets_its_detail_and_keeps_getting_it() -> None:
    """The detail comes once it is looked at, again when the run changed, and not when it is closed."""
    script = Script(5, width=5)
    script.play(1)
    made, browser = board(script)
    browser.all()
    assert browser.details == {}
    browser.say("look", row=[0, 1], detail=[2])
    browser.all()
    assert set(browser.details) == {"2"}
    first = browser.details["2"]
    script.play(2)
    browser.all()
    assert browser.details["2"] != first
    browser.say("look", row=[0, 1], detail=[])
    browser.all()
    last = browser.details["2"]
    script.play(script.length)
    browser.all()
    assert browser.details["2"] == last
    made.close()


def test_rows_in_sight_come_first() -> None:
    """With more rows than one message holds, those that are looked at are in the first one."""
    script = Script(1000, width=64)
    script.play(10)
    made, browser = board(script)
    browser.say("look", row=[900, 901])
    assert made.flush()
    (message,) = browser.hear()
    assert {"900", "901"} <= set(message["rows"])
    assert len(message["rows"]) < 1000


def test_every_opened_row_gets_its_turn() -> None:
    """Many large details that all change do not keep one another, or the rows out of sight, from coming."""
    script = Script(200, width=200, output="long " * 4_000)
    _, browser = board(script)
    script.play(script.length)
    browser.say("look", detail=list(range(64)))
    browser.all()
    assert len(browser.details) == 64
    assert {r["status"] for r in browser.rows.values()} == {"done"}
    assert max(browser.sizes) <= _board.ROOM + 2_000


def test_a_page_that_asks_for_the_log_gets_each_line_once() -> None:
    """Lines come as they are written, none twice, in the end all of the newest."""
    script = Script(10, width=5)
    script.play(2)
    _, browser = board(script)
    browser.say("look", log=5_000)
    browser.all()
    script.play(script.length)
    browser.all()
    keys = [(line["at"], line["run"], line["text"]) for line in browser.lines]
    assert len(keys) == len(set(keys))
    assert sum(line["text"] == "done" for line in browser.lines) == 10


def test_files_come_in_parts_and_whole() -> None:
    """A file that somebody asked for is cut into bounded messages that join to the whole."""
    script = Script(30, width=30, output="é" * 10_000)
    script.play(script.length)
    made, browser = board(script)
    browser.all()
    browser.say("file", format="json")
    browser.all()
    assert len(browser.files) > 1
    rows = json.loads("".join(part["text"] for part in browser.files))
    assert [r["raw"] for r in rows] == ["é" * 10_000] * 30
    assert {part["view"] for part in browser.files} == {"a"}
    made.close()


def test_an_output_comes_whole_in_bounded_parts() -> None:
    """What a card has cut is had as text, and as HTML that Python has sanitized."""
    words = "<b onclick=x>é</b> **strong** " * 4_000
    script = Script(2, width=2, output=words)
    script.play(script.length)
    made, browser = board(script)
    browser.all()
    for form, run in (("text", 1), ("html", 1), ("text", 0)):
        browser.files.clear()
        browser.say("whole", run=run, form=form)
        browser.all()
        assert {(part["t"], part["view"], part["run"], part["form"]) for part in browser.files} == {
            ("whole", "a", run, form)
        }
        assert len(browser.files) == browser.files[0]["parts"] > 1
        text = "".join(part["text"] for part in browser.files)
        if form == "text":
            assert text == words
        else:
            assert "<strong>strong</strong>" in text
            assert "<b" not in text.replace("<blockquote", "")
            assert "more characters are not shown here" in text
    assert max(browser.sizes) <= 2 * _board.ROOM
    made.close()


@pytest.mark.parametrize(
    "content", [{"run": 9}, {"run": -1}, {"run": True}, {"run": "0"}, {"run": 0, "form": "js"}, {"form": None}]
)
def test_what_is_no_output_is_not_sent(content: dict[str, Any]) -> None:
    """A request that names no run, or no form of its output, is dropped."""
    made, browser = board(Script(3))
    browser.all()
    browser.say("whole", **{"form": "text", **content})
    browser.all()
    assert browser.files == []
    made.close()


def test_a_page_that_only_listens_does_not_keep_a_board_live() -> None:
    """Its ping is no touch, and is not answered."""
    made, browser = board(Script(3))
    browser.all()
    made.touched = 0.0
    browser.say("ping")
    assert made.touched == 0.0
    assert not made.flush()
    made.close()


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ({"name": "cancel"}, ("cancel", {})),
        ({"name": "cancel", "run": 2}, ("cancel", {"run": 2})),
        ({"name": "pause"}, ("pause", {})),
        ({"name": "resume"}, ("resume", {})),
        ({"name": "retry", "run": 0}, ("retry", {"run": 0})),
        (
            {"name": "answer", "run": 1, "key": "k", "text": "shorter", "approve": False},
            ("answer", {"run": 1, "key": "k", "text": "shorter", "approve": False}),
        ),
    ],
)
def test_a_click_becomes_a_command(content: dict[str, Any], command: tuple[str, dict[str, Any]]) -> None:
    """What a person clicks reaches the batch with its arguments."""
    script = Script(3)
    _, browser = board(script)
    browser.say("do", **content)
    assert script.commands == [command]


def test_what_is_heard_twice_is_done_once() -> None:
    """A front end may hand messages on twice, the second time later; each view counts its own."""
    script = Script(3)
    _, browser = board(script)
    for view, number, name in (
        ("v", 1, "pause"),
        ("v", 2, "resume"),
        ("w", 1, "retry"),
        ("v", 1, "pause"),
        ("v", 2, "resume"),
    ):
        browser.say("do", view=view, n=number, name=name)
    assert [name for name, _ in script.commands] == ["pause", "resume", "retry"]


@pytest.mark.parametrize(
    "content",
    [
        {"name": "__class__"},
        {"name": "state"},
        {"name": "cancel", "run": "0"},
        {"name": "retry", "run": True},
        {"name": ["cancel"]},
        {},
    ],
)
def test_what_is_no_command_is_dropped(content: dict[str, Any]) -> None:
    """Only the commands that exist, with arguments of their kinds, are handed on."""
    script = Script(3)
    _, browser = board(script)
    browser.say("do", **content)
    assert script.commands == []


@pytest.mark.parametrize(
    "look", [{"row": "all"}, {"row": [-1, 99_999, "x", None, True]}, {"detail": {"0": 1}}, {"log": "many"}, {"log": -4}]
)
def test_a_look_that_makes_no_sense_does_no_harm(look: dict[str, Any]) -> None:
    """Places that are none are left out, and the rows still come."""
    _, browser = board(Script(3))
    browser.say("look", **look)
    browser.all()
    assert set(browser.rows) == {"0", "1", "2"}


def test_views_that_went_away_without_a_word_are_forgotten() -> None:
    """A hundred reloads leave no hundred views behind."""
    made, browser = board(Script(3))
    for n in range(100):
        Browser(made, f"v{n}").say("hello")
    browser.all()
    assert len(made._looks) == _board.VIEWS


def test_the_frozen_board_is_whole_and_bounded() -> None:
    """A saved widget has its rows and results without a kernel, in a bounded size."""
    script = Script(500, width=50, output="words " * 500)
    script.play(script.length)
    made, _ = board(script)
    made.freeze()
    frozen = made.frozen
    assert len(frozen["rows"]) == 500
    assert frozen["full"]
    assert frozen["batch"]["counts"] == {"done": 500}
    assert len(json.dumps(frozen, ensure_ascii=False).encode()) <= _board.FROZEN_ROOM + 3_000


async def _until(held: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not held():
            await asyncio.sleep(0)


async def test_all_boards_of_a_pacer_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two boards with much to send get a message each in turn, and the pacer sleeps when both are done."""
    monkeypatch.setattr(_board, "INTERVAL", 0.0)
    pacer = Pacer(asyncio.get_running_loop())
    scripts = [Script(600, width=64), Script(600, width=64)]
    browsers = []
    for script in scripts:
        script.play(20)
        made, browser = board(script)
        browsers.append(browser)
        pacer.add(made)
    turns: list[int] = []
    while not all(len(b.rows) == 600 for b in browsers):
        await asyncio.sleep(0)
        for n, browser in enumerate(browsers):
            turns += [n] * len(browser.hear())
    assert {0, 1} == set(turns[:3])
    assert {0, 1} == set(turns[-3:])
    await _until(lambda: pacer._timer is None)
    # It wakes again for a word from a browser, on whatever thread that comes.
    await asyncio.to_thread(browsers[0].say, "hello")
    await _until(lambda: bool(browsers[0].hear()))
    await _until(lambda: pacer._timer is None)
    assert not pacer._awake
    for browser in browsers:
        browser.board.close()
        browser.board.wake()
    await _until(lambda: pacer._timer is None)
    assert not pacer._awake


def test_a_board_at_rest_serves_a_view_that_is_still_there() -> None:
    """It asks who is there; a view that answers has everything again, one that went without a word is forgotten."""
    script = Script(3)
    made, browser = board(script)
    Browser(made, "gone").say("hello")
    browser.all()
    made.rest()
    assert [m["content"]["t"] for m in made.comm.sent if m.get("method") == "custom"][-1] == "who"
    browser.read = len(made.comm.sent)
    browser.rows.clear()
    assert not made.looked_at
    script.play(script.length)
    assert not made.flush()
    browser.say("look", row=[0, 1, 2])
    browser.all()
    assert {row["status"] for row in browser.rows.values()} == {"done"}
    assert list(made._looks) == ["a"]
    del script
    gc.collect()
    browser.say("look", row=[0])
    browser.say("do", name="pause")
    assert not made.flush()
    made.close()


def plans(n: int) -> list[Plan]:
    """Crews that need no network."""
    llm = cnb.OfflineLLM()

    def build(topic: str) -> Crew:
        return crews.one(llm)

    return _blueprint.plans_for_each(build, [{"topic": str(i)} for i in range(n)])


def shown(n: int) -> Batch:
    """A batch that is shown in a cell, and has not begun."""
    batch = Batch(plans(n), options(show=False))
    _display.KernelView(batch)
    return batch


def test_a_board_is_told_of_news_once_between_two_looks_and_looks_at_no_run_for_it() -> None:
    """So what a board costs does not grow with the runs, nor with what a browser does not get to see."""
    batch = shown(50)
    wakes: list[int] = []
    seen = batch.state()
    batch.board.wake = lambda: wakes.append(1)

    def stream() -> None:
        for n in range(500):
            batch._driver._apply(ev.CallChunk(run=n % 50, at=1.0, call="c", text="word ", task=0))

    engine.call_and_wait(stream)
    assert wakes == [1]
    assert batch._snapshot is seen
    assert batch.state() is not seen
    engine.call_and_wait(stream)
    assert wakes == [1, 1]


def test_a_batch_that_was_shown_is_freed_with_its_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its widgets are closed then; as long as there is a handle, the board can be shown again."""
    monkeypatch.setattr(_display, "LINGER_SECONDS", 0.0)
    # The engine keeps what lives when the first batch begins out of garbage collection for good.
    first = shown(1)
    first.start()
    first.wait(60)
    before = len(_instances)
    batch = shown(3)
    made = batch.board
    batch.start()
    batch.wait(60)
    _in_time(lambda: type(made.source) is weakref.ProxyType)
    gc.collect()
    assert made.comm is not None
    monkeypatch.setattr(_display, "LINGER_SECONDS", 2.0)
    made._ipython_display_()
    assert made.source is batch
    _in_time(lambda: type(made.source) is weakref.ProxyType)
    gone = weakref.ref(batch)
    del batch
    _in_time(lambda: gone() is None and len(_instances) == before)


def test_an_output_that_is_static_is_live_again_once_a_run_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody has looked at the batch since it ended."""
    monkeypatch.setattr(_display, "LINGER_SECONDS", 0.0)
    batch = shown(2)
    batch.start()
    batch.cancel()
    batch.wait(60)
    view = batch._driver.observers[0].__self__  # type: ignore[attr-defined]
    _in_time(lambda: view._outputs[0].frozen)
    live: list[bool] = []
    batch.taps.append(lambda event: live.append(view._outputs[0].frozen))
    batch.retry().wait(60)
    assert live[:2] == [True, False]


def test_a_batch_at_a_prompt_goes_on_hearing_of_news_while_it_is_not_drawn() -> None:
    """It is drawn as soon as somebody joins it, however long that takes."""
    batch = Batch(plans(1), options(show=False))
    view = _display.TerminalView(batch, prompt=True)
    told: list[bool] = []

    def news() -> None:
        batch._driver._apply(ev.CallChunk(run=0, at=1.0, call="c", text="word ", task=0))
        told.append(view._due is not None)
        if view._due is not None:
            view._due.cancel()
            view._draw()

    for _ in range(3):
        engine.call_and_wait(news)
    assert told == [True, True, True]


def _in_time(held: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not held():
        assert time.monotonic() < end
        time.sleep(0.01)  # threads let go of what they have just done
        gc.collect()


def test_the_file_of_a_cell_that_launched_twice_has_all_runs() -> None:
    """Counted through, each with the name of its batch."""
    scripts = [Script(2, name="first"), Script(3, name="second")]
    made = Board(Together(*scripts))  # type: ignore[arg-type] # nobody waits for a script
    browser = Browser(made)
    browser.say("hello")
    browser.say("file", format="csv")
    browser.all()
    rows = list(csv.DictReader(io.StringIO("".join(part["text"] for part in browser.files), newline="")))
    assert [row["run"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert [row["batch"] for row in rows] == ["first"] * 2 + ["second"] * 3
    made.close()
