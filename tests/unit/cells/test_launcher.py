"""The launcher from Python's side: what a browser says becomes a batch or words for the form; the server is witness."""

from __future__ import annotations

import base64
import datetime
import gc
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comm
import pytest
from ipywidgets.widgets.widget import _instances

import crew_nb as cnb
from crew_nb._cells import launcher as _launcher
from crew_nb._state import loop as _loop
from tests.support import crews
from tests.support.page import Wire
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crewai import Crew

    from crew_nb._cells.launcher import Launcher


NOWHERE = _loop.where()
CELL = replace(NOWHERE, kind="kernel", front_end="jupyterlab", cell_id="a")


@pytest.fixture(autouse=True)
def _a_kernel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cell that a page watches: widgets get a comm (the `comm` package has this hook), and no form is remembered."""
    monkeypatch.setattr(comm, "create_comm", Wire)
    monkeypatch.setattr(_launcher, "_kept", {})
    monkeypatch.setattr(_loop, "where", lambda: CELL)
    before = set(_instances)
    yield
    for widget in [w for key, w in _instances.items() if key not in before]:
        widget.close()


def say(launcher: Launcher, t: str, **more: Any) -> None:
    """Send a message as the front end does."""
    launcher.form.comm.handle_msg(
        {"content": {"data": {"method": "custom", "content": {"t": t, **more}}}, "buffers": []}
    )


def sent(launcher: Launcher) -> list[dict[str, Any]]:
    """What was sent to the browser."""
    return [m["content"] for m in launcher.form.comm.sent if m.get("method") == "custom"]


def rows(*topics: str) -> list[dict[str, str]]:
    return [{"topic": topic} for topic in topics]


@pytest.fixture
def build(server: Server) -> Any:
    shared = llm(server)

    def build_one_crew(topic: str, count: int = 1) -> Crew:
        return crews.one(shared)

    return build_one_crew


def test_run_starts_every_row_and_joins_in_order(server: Server, build: Any) -> None:
    """Rows become inputs in their types, blank rows are dropped, and the batch is the handle."""
    launcher = cnb.launcher(build, max_concurrency=2)
    say(launcher, "run", rows=[*rows("A"), {}, {"topic": "B", "count": "3"}, *rows("C")], options={"max_retries": "1"})
    results = launcher.batch.wait(60)
    assert [r.inputs for r in results] == [{"topic": "A"}, {"topic": "B", "count": 3}, {"topic": "C"}]
    assert [r.status for r in results] == ["done"] * 3
    assert launcher.inputs == [{"topic": "A"}, {"topic": "B", "count": 3}, {"topic": "C"}]
    assert launcher.batch.options.max_retries == 1
    assert launcher.batch.options.max_concurrency is None  # the browser's word is the newest
    assert launcher.form.problems == {}
    assert server.stats().by_topic == {"A": 1, "B": 1, "C": 1}
    launcher.form.flush()
    assert launcher.form.status == {"word": "done", "total": 3, "open": 0, "done": 3, "failed": 0, "stopped": 0}
    assert launcher._box.children == (launcher.form, launcher.batch.board)


def test_bad_rows_and_options_are_marked_and_nothing_starts(server: Server, build: Any) -> None:
    """Each in its row or at its option, with advice that can be followed in a form; a typed None is no limit."""
    launcher = cnb.launcher(build)
    bad = [*rows("A"), {"count": "3"}, {"topic": "C", "count": "x"}]
    say(launcher, "run", rows=bad, options={"max_rpm": "0", "max_cost": "much", "timeout": "soon", "max_tpm": "None"})
    problems = launcher.form.problems
    assert problems["alert"] == "Nothing was started: 2 rows and 3 options cannot be used as they are."
    assert problems["rows"]["1"] == {"topic": "topic is needed. Fill it in."}
    assert problems["rows"]["2"] == {"count": "“x” is not a whole number."}
    assert set(problems["options"]) == {"max_rpm", "max_cost", "timeout"}
    assert (
        problems["options"]["timeout"]
        == "timeout is 'soon'. Write seconds, such as 60, or leave it empty for no limit."
    )
    assert problems["options"]["max_rpm"].startswith("max_rpm is 0. Write a whole number from 1")
    with pytest.raises(cnb.NotFinishedError, match="Press Run"):
        _ = launcher.batch
    assert server.stats().requests == []


def test_a_date_reaches_the_factory_as_one(server: Server) -> None:
    """Typed, by its default, and in the prompt as text; words that are no date are marked in their row."""
    shared, given = llm(server), []

    def build(topic: str, day: datetime.date, until: datetime.date = datetime.date(2026, 12, 31)) -> Crew:
        given.append((day, until))
        crew = crews.one(shared)
        crew.tasks[0].description += " of {day}"
        return crew

    launcher = cnb.launcher(build)
    assert [(f["kind"], f["default"]) for f in launcher.form.fields[1:]] == [("date", ""), ("date", "2026-12-31")]
    say(launcher, "run", rows=[{"topic": "A", "day": "soon"}], options={})
    assert launcher.form.problems["rows"]["0"] == {"day": "“soon” is not a date. Write it as in 2026-01-31."}
    say(launcher, "run", rows=[{"topic": "A", "day": "2026-01-31", "until": "2026-02-28"}], options={})
    assert [r.status for r in launcher.batch.wait(60)] == ["done"]
    assert given == [(datetime.date(2026, 1, 31), datetime.date(2026, 2, 28))]
    assert "of 2026-01-31" in server.stats(prompts=True).requests[0].prompt


def test_a_blank_form_says_what_is_needed(build: Any) -> None:
    """In the cell that is empty."""
    launcher = cnb.launcher(build)
    say(launcher, "run", rows=[{}], options={})
    assert launcher.form.problems["rows"] == {"0": {"topic": "topic is needed. Fill it in."}}


def test_a_default_that_the_form_shows_reaches_the_crew(server: Server) -> None:
    """Also where a task asks for it as a placeholder; the verbs and the code that is shown do the same."""
    shared = llm(server)

    def report(topic: str, words: int = 120, tone: str | None = None) -> Crew:
        crew = crews.one(shared)
        crew.tasks[0].description += " in {words} words"
        return crew

    launcher = cnb.launcher(report, rows("A"))
    assert [f["default"] for f in launcher.form.fields] == ["", "120", ""]
    say(launcher, "run")
    assert [r.status for r in launcher.batch.wait(60)] == ["done"]
    again = cnb.kickoff_for_each(report, [{"topic": "B"}, {"topic": "C", "words": 7}], show=False).wait(60)
    assert [r.status for r in again] == ["done", "done"]
    asked = " ".join(r.prompt for r in server.stats(prompts=True).requests)
    assert [asked.count(f"in {n} words") for n in (120, 7)] == [2, 1]


def test_a_request_is_answered_once_it_is_carried_out(build: Any) -> None:
    """So that the browser keeps what was pasted until then; a stray column is taken away again, the crew's own stay."""
    launcher = cnb.launcher(build)
    say(launcher, "read", how="text", text="\n".join(map(str, range(10_001))), ask="1")
    assert launcher.form.problems["alert"] == "the form holds 10,000 rows."
    assert launcher.form.taken == ""
    say(launcher, "read", how="text", text="topic,ext", ask="2", more=True)
    assert launcher.form.taken == ""
    say(launcher, "read", how="text", text="ra\nA,z\nB,", ask="3")
    assert (launcher.form.taken, launcher.form.problems) == ("3", {})
    assert [(f["name"], f["own"]) for f in launcher.form.fields] == [("topic", True), ("count", True), ("extra", False)]
    say(launcher, "column", name="extra", remove=True)
    assert [f["name"] for f in launcher.form.fields] == ["topic", "count"]
    assert launcher.inputs == [{"topic": "A"}, {"topic": "B"}]
    say(launcher, "column", name="topic", remove=True)
    assert launcher.form.problems["alert"] == "one crew asks for topic; its column stays."


def test_the_first_two_are_tried_and_not_run_again(server: Server, build: Any) -> None:
    """Their results come back in the whole batch; a failed one, and whatever is run a second time, is asked anew."""
    launcher = cnb.launcher(build, rows("A", "B", "C", "D"))
    assert launcher.form.estimate == "4 runs. Try the first 2 to see what they take."
    say(launcher, "run", first=2)
    tried = launcher.batch
    assert [r.status for r in tried.wait(60)] == ["done", "done"]
    assert server.stats().by_topic == {"A": 1, "B": 1}
    assert launcher.form.estimate.startswith("4 runs, about 4 calls; the first 2 took ")
    assert launcher.form.estimate.endswith(" for the other 2.")
    say(launcher, "run")
    results = launcher.batch.wait(60)
    assert launcher.batch is not tried
    assert [r.inputs["topic"] for r in results if r.inputs] == ["A", "B", "C", "D"]
    assert [r.state.from_record for r in results] == [True, True, False, False]
    assert server.stats().by_topic == {"A": 1, "B": 1, "C": 1, "D": 1}
    say(launcher, "run")
    launcher.batch.wait(60)
    assert server.stats().by_topic == {"A": 2, "B": 2, "C": 2, "D": 2}


def test_stop_and_retry_failed_from_another_thread(server: Server, build: Any) -> None:
    """As from a subshell: rows are stopped, and run again in the same batch."""
    server.configure(hold=True)
    launcher = cnb.launcher(build)

    def elsewhere(t: str, **more: Any) -> None:
        thread = threading.Thread(target=say, args=(launcher, t), kwargs=more)
        thread.start()
        thread.join(60)

    elsewhere("run", rows=rows("A", "B"), options={})
    batch = launcher.batch
    server.wait_for(lambda stats: stats.in_flight == 2)
    elsewhere("run", rows=rows("C"), options={})
    assert launcher.form.problems["alert"] == "a batch is running. Stop it first, or wait for its end."
    elsewhere("stop")
    assert [r.status for r in batch.wait(60)] == ["cancelled", "cancelled"]
    server.configure(hold=False)
    server.release()
    elsewhere("retry")
    assert [r.status for r in batch.wait(60)] == ["done", "done"]
    assert launcher.batch is batch


def test_the_form_is_kept_when_its_cell_is_run_again(server: Server, build: Any) -> None:
    """Rows, options and the board; other inputs in the cell's code make it new."""
    first = cnb.launcher(build, rows("A"), timeout=60)
    first.form.rows = rows("A", "B")
    say(first, "run", rows=rows("A", "B", "C"), options={"timeout": "30"})
    first.batch.wait(60)
    again = cnb.launcher(build, rows("A"), timeout=60)
    assert again.form.rows == rows("A", "B", "C")
    assert again.form.options == {"timeout": "30"}
    assert again.batch is first.batch
    assert again._box.children[1] is again.batch.board
    other = cnb.launcher(build, rows("Z"), timeout=60)
    assert other.form.rows == rows("Z")
    assert other.form.options == {"timeout": "60"}
    assert server.stats().by_topic == {"A": 1, "B": 1, "C": 1}


def test_a_placeholder_that_is_gone_leaves_the_form(server: Server) -> None:
    """The crew was edited: its old words are dropped, columns of the user's own stay."""
    shared = llm(server)
    first = cnb.launcher(crews.one(shared))
    say(first, "read", how="text", text="topic,id\nA,7")
    assert first.form.rows == [{"topic": "A", "id": "7"}]
    edited = crews.one(shared)
    edited.tasks[0].description = "Look at {subject}"
    again = cnb.launcher(edited)
    assert [f["name"] for f in again.form.fields] == ["subject", "id"]
    assert again.form.rows == [{"id": "7"}]


def test_rows_come_from_text_in_parts_a_grid_and_a_variable(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are added below what is there, or replace it; columns that are new are shown."""
    launcher = cnb.launcher(build)
    say(launcher, "read", how="text", text="topic,id\nA", more=True)
    assert launcher.form.rows == [{}]
    say(launcher, "read", how="text", text=",7\nB,8")
    assert launcher.form.rows == [{"topic": "A", "id": "7"}, {"topic": "B", "id": "8"}]
    assert [f["name"] for f in launcher.form.fields] == ["topic", "count", "id"]
    say(launcher, "read", how="grid", values={"topic": ["C", "D"], "count": ["1"]})
    assert len(launcher.form.rows) == 4
    names = {"frame": [{"topic": "E", "count": 2}], "words": ["F"], "other": 3, "_hidden": [{}]}
    monkeypatch.setattr(launcher, "_namespace", lambda: names)
    say(launcher, "names")
    assert launcher.form.names == ["frame", "words"]
    say(launcher, "read", how="variable", name="frame", replace=True)
    assert launcher.form.rows == [{"topic": "E", "count": "2"}]
    assert [f["name"] for f in launcher.form.fields] == ["topic", "count"], "a column that nothing stands in is gone"
    say(launcher, "read", how="variable", name="words")
    assert launcher.form.rows == [{"topic": "E", "count": "2"}, {"topic": "F"}]
    for name, said in (("nothing", "there is no variable 'nothing'."), ("other", "inputs is 3. Write inputs=")):
        say(launcher, "read", how="variable", name=name)
        assert launcher.form.problems["alert"].startswith(said)


def test_a_file_of_the_browser_becomes_one_of_the_kernel(server: Server) -> None:
    """In a place of its own, by its name alone, and the factory gets its path."""
    shared = llm(server)
    got: list[bytes] = []

    def build_reader(paper: Path) -> Crew:
        got.append(paper.read_bytes())
        return crews.one(shared)

    launcher = cnb.launcher(build_reader)
    text = base64.b64encode(b"\x00some\xff").decode()
    say(launcher, "upload", row=0, field="paper", name="../../etc/a.pdf", text=text[:4], more=True)
    say(launcher, "upload", row=0, field="paper", name="../../etc/a.pdf", text=text[4:])
    path = Path(launcher.form.rows[0]["paper"])
    assert path.name == "a.pdf"
    assert path.parent.name.startswith("crew_nb-")
    say(launcher, "column", name="topic")
    say(launcher, "run", rows=[{**launcher.form.rows[0], "topic": "A"}], options={})
    assert launcher.batch.wait(60)[0].inputs == {"paper": path, "topic": "A"}
    assert got == [b"\x00some\xff"]


def test_a_factory_may_ask_for_the_content_of_a_file(server: Server, tmp_path: Path) -> None:
    """`bytes` is a file too: it reaches the factory and no prompt, and the code reads it; a missing one is marked."""
    shared = llm(server)
    got: list[bytes] = []

    def build_reader(paper: bytes, topic: str) -> Crew:
        got.append(paper)
        return crews.one(shared)

    path = tmp_path / "a.bin"
    path.write_bytes(b"\x00some\xff")
    launcher = cnb.launcher(build_reader)
    row = {"paper": str(path), "topic": "A"}
    say(launcher, "run", rows=[row, {**row, "paper": "gone.bin"}], options={})
    assert launcher.form.problems["rows"] == {"1": {"paper": "gone.bin cannot be read: No such file or directory."}}
    say(launcher, "run", rows=[row], options={})
    (result,) = launcher.batch.wait(60)
    assert (result.status, result.state.label) == ("done", "paper=6 bytes, topic=A")
    assert got == [b"\x00some\xff"]
    assert f'"paper": Path("{path}").read_bytes()' in launcher.code()
    again = cnb.kickoff_for_each(build_reader, launcher.inputs, show=False, resume=True).wait(60)
    assert again[0].state.from_record


def test_the_code_is_the_cell_that_would_do_the_same(server: Server, build: Any) -> None:
    """Run as it is, it starts the same inputs with the same options."""
    launcher = cnb.launcher(build, rows("A", 'B "x"'), max_concurrency=2, max_retries=0)
    names = {"make": build, "form": launcher}
    launcher._namespace = lambda: names  # type: ignore[method-assign]
    text = launcher.code()
    scope = dict(names)
    exec(text.replace("results = await batch", ""), scope)
    batch = scope["batch"]
    batch.wait(60)
    assert [run.inputs for run in batch] == launcher.inputs
    assert (batch.options.max_concurrency, batch.options.max_retries) == (2, 0)
    del names["make"]
    assert "    form.crew,\n" in launcher.code()


def test_junk_from_a_browser_changes_nothing(build: Any) -> None:
    """Messages of the wrong shape are dropped or answered in the form; no error escapes."""
    launcher = cnb.launcher(build, rows("A"))
    for junk in (
        {"t": "typed"},
        {"t": "typed", "words": {"rows": 3, "options": [], "heard": 1, "title": "x"}},
        None,
        3,
        [],
        {},
        {"t": "read"},
        {"t": "read", "how": "grid", "values": 3},
        {"t": "upload"},
        {"t": "stop"},
    ):
        launcher.form._handle_custom_msg(junk, [])
    assert (launcher.form.rows, launcher.form.title) == (rows("A"), "one crew")
    say(launcher, "read", how="grid", values={"topic": 3})
    say(launcher, "upload", row=99, field="topic", name="a", text="")
    say(launcher, "run", rows=[3, None, {"topic": {"a": 1}}], options=[1], first="x")
    assert launcher.batch.wait(60)[0].inputs == {"topic": "{'a': 1}"}


def test_the_static_form_has_inputs_and_outcome_and_no_markup_of_theirs(build: Any) -> None:
    """Words of a cell stay words."""
    launcher = cnb.launcher(build, rows("<script>alert(1)</script>"))
    before = launcher._static()
    assert "Run this cell to have the form" in before["text/plain"]
    say(launcher, "run")
    launcher.batch.wait(60)
    after = launcher._static()
    for html in (before["text/html"], after["text/html"]):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
    assert "1 done" in after["text/plain"]
    assert "1 done" in after["text/html"]


def test_a_secret_that_was_typed_is_not_saved(build: Any) -> None:
    """The static form goes into the notebook's file."""
    launcher = cnb.launcher(build, [{"topic": "A", "api_key": "sk-1234567890abcdef"}])
    assert "sk-1234567890abcdef" not in launcher._static()["text/html"]


def test_a_terminal_gets_a_line(
    build: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no form outside a notebook, and no error either."""
    monkeypatch.setattr(_loop, "where", lambda: NOWHERE)
    cnb.launcher(build, rows("A"))
    assert capsys.readouterr().out == "Launcher of one crew: 1 input. Run this cell to have the form.\n"


def test_what_the_form_holds_is_no_state_of_a_widget(build: Any) -> None:
    """A front end that saves the state of widgets saves no words: a view that says hello is told them, and no other."""
    given = [*rows("A"), {"topic": "B", "api_key": "sk-1234567890abcdef"}]
    launcher = cnb.launcher(build, given)
    launcher.form.shows_code = True
    say(launcher, "run")
    launcher.batch.wait(60)
    state = [widget.get_state() for widget in _instances.values()]
    assert "sk-1234567890abcdef" not in repr(state)
    launcher.form.comm.sent.clear()
    say(launcher, "hello", view="v")
    (message,) = sent(launcher)
    assert (message["view"], message["words"]["rows"]) == ("v", given)
    assert "sk-1234567890abcdef" not in message["words"]["code"]
    assert '"api_key": os.environ["API_KEY"]' in message["words"]["code"]


def test_where_nobody_watches_there_is_no_widget(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs such as nbclient keep the state of all widgets with the notebook; what a press on Run does, works."""
    monkeypatch.setattr(_loop, "where", lambda: replace(CELL, headless=True, front_end="nbclient"))
    before = set(_instances)
    launcher = cnb.launcher(build, [{"topic": "A", "api_key": "sk-1234567890abcdef"}])
    assert launcher.form.estimate.startswith("1 run")
    launcher.form.heard({"t": "run"})
    assert [r.status for r in launcher.batch.wait(60)] == ["done"]
    assert set(_instances) == before


def test_words_that_are_typed_come_back_to_other_views_only(build: Any) -> None:
    """They would be put over newer ones; what follows from them goes to all."""
    launcher = cnb.launcher(build, rows("A"))
    launcher.form.comm.sent.clear()
    say(launcher, "typed", view="v", words={"rows": rows("A", "B")})
    assert launcher.inputs == rows("A", "B")
    assert [(next(iter(m["words"])), m.get("but")) for m in sent(launcher)] == [("rows", "v"), ("estimate", None)]


def test_a_form_replays_what_it_recorded(server: Server, build: Any, tmp_path: Path) -> None:
    """Options of recorded answers are the form's, and the code's, which runs as it is."""
    lesson = tmp_path / "lesson.jsonl"
    launcher = cnb.launcher(build, answers=lesson, answers_missing="ask", answers_speed=0, answers_tools=True)
    outputs = []
    for _ in range(2):
        say(launcher, "run", rows=rows("A", "B"), options={})
        assert launcher.batch is not None
        outputs.append([result.raw for result in launcher.batch.wait(60)])
    assert outputs[0] == outputs[1]
    assert len(server.stats().requests) == 2
    names: dict[str, Any] = {"build_one_crew": build}
    code = launcher.code().partition("batch = ")
    exec(code[0], names)
    line = next(line for line in code[2].splitlines() if "answers=" in line)
    assert eval(f"dict({line})", names) == {"answers": lesson}
    assert "answers_tools=True" in code[2]


def test_a_cell_that_is_run_again_leaves_no_widget_behind(build: Any) -> None:
    """Its form is closed and its board is the one that was, however often; the batch has one observer of the form."""
    first = cnb.launcher(build, rows("A"))
    say(first, "run")
    first.batch.wait(60)
    observers = len(first.batch._driver.observers)
    counts = set()
    for _ in range(3):
        again = cnb.launcher(build, rows("A"))
        counts.add(len(_instances))
        assert again.batch.board is first.batch.board
    assert len(counts) == 1
    assert len(first.batch._driver.observers) == observers
    assert first.form.comm is None
    assert first.batch.board.comm is not None


def test_without_the_name_of_the_cell_no_form_has_what_another_one_has(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some front ends do not say which cell runs: two cells of one factory stay two forms."""
    monkeypatch.setattr(_loop, "where", lambda: replace(CELL, cell_id=""))
    one, two = cnb.launcher(build), cnb.launcher(build)
    say(one, "run", rows=rows("A"), options={})
    one.batch.wait(60)
    assert two.form.rows == [{}]
    with pytest.raises(cnb.NotFinishedError):
        _ = two.batch
    assert cnb.launcher(build).form.rows == [{}]


def test_an_upload_stays_as_long_as_a_form_or_a_batch_may_read_it() -> None:
    """It is there for a cell that is run again and for a retry, and gone with both."""
    llm = cnb.OfflineLLM()  # asyncio keeps the timers of an HTTP client, and with them its run, for a while

    def build(topic: str) -> Crew:
        return crews.one(llm)

    # The engine keeps what lives when the first batch begins out of garbage collection for good.
    cnb.kickoff(build, {"topic": "first"}, show=False).wait(60)
    launcher = cnb.launcher(build, rows("A"))
    say(launcher, "upload", row=0, field="paper", name="a.txt", text=base64.b64encode(b"x").decode())
    path = Path(launcher.form.rows[0]["paper"])
    say(launcher, "run")
    launcher.batch.wait(60)
    batch = launcher.batch
    launcher = cnb.launcher(build, rows("A"))
    assert launcher.form.rows[0]["paper"] == str(path)
    launcher = cnb.launcher(build, rows("Z"))
    del launcher
    gc.collect()
    assert path.read_bytes() == b"x"
    gone = weakref.ref(batch)
    del batch
    _gone(gone)
    assert not path.parent.exists()


def _gone(wanted: weakref.ref[Any]) -> None:
    end = time.monotonic() + 60
    while wanted() is not None:
        assert time.monotonic() < end
        time.sleep(0.01)  # the engine's thread lets go of what it has just done
        gc.collect()


@pytest.mark.parametrize("options", [{"max_rpm": 0}, {"n_jobs": 3}])
def test_bad_options_are_refused_in_the_cell(build: Any, options: Any) -> None:
    """As the verbs refuse them."""
    with pytest.raises(cnb.OptionError):
        cnb.launcher(build, **options)
