"""State to JSON: small, bounded, and fit to cross a comm whatever an LLM says."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from crew_nb._board import static as _static
from crew_nb._board import view as _view
from crew_nb._state import events as ev
from crew_nb._state.state import BatchState, LogLine, RunState, advance, new_run
from crew_nb._state.usage import Usage
from tests.support.script import Script, table

NASTY = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[click](javascript:alert(1))",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "half an emoji \ud83d and \udc00",
    "\u202eright to left",
    "\x00\x01\x07\x7f\x9f",
    "|" * 5_000,
    "x" * 1_000_000,
]


def fold(*events: ev.Event, label: str = "topic=AI") -> RunState:
    """A run after these events."""
    run = new_run(0, label, 100.0)
    for event in events:
        run = advance(run, event)
    return run


def said(text: str) -> RunState:
    """A run in which an LLM, a tool and an error all say the text."""
    spec = ev.TaskSpec(name=text, agent=text)
    return fold(
        ev.RunStarted(run=0, at=101),
        ev.CrewReady(run=0, at=101, tasks=(spec, spec), path="stock", why=text, worker=text),
        ev.TaskStarted(run=0, at=102, task=0, agent=text),
        ev.CallStarted(run=0, at=102, call="a", kind="llm", name=text, task=0, detail=text),
        ev.CallChunk(run=0, at=102, call="a", text=text, task=0),
        ev.CallFinished(run=0, at=103, call="a", kind="llm", task=0, output=text),
        ev.CallStarted(run=0, at=103, call="t", kind="tool", name=text, task=0, detail=text),
        ev.CallFailed(run=0, at=104, call="t", kind="tool", message=text, task=0),
        ev.TaskFinished(run=0, at=105, task=0, output=text),
        ev.TaskStarted(run=0, at=105, task=1),
        ev.WaitStarted(run=0, at=106, key="w", reason="person", task=1, detail=text),
        label=text,
    )


def views(run: RunState) -> list[object]:
    """Every view of the run."""
    error = ev.ErrorInfo(type=run.label, message=run.label, traceback=run.label, hint=run.label)
    failed = advance(run, ev.RunFinished(run=0, at=107, status="failed", error=error))
    done = advance(run, ev.RunFinished(run=0, at=107, status="done", output=run.label))
    found: list[object] = []
    for r in (run, failed, done):
        found += [_view.row(r, 100.0, 0), _view.detail(r, 100.0), _view.lane(r, 100.0), _view.card(r)]
        found += [_view.log(r, 100.0), _view.shape(r)]
    return found


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_whatever_is_said_crosses_a_comm(text: str) -> None:
    """Each view is JSON in UTF-8, without control characters, and small."""
    for view in views(said(text)):
        wire = json.dumps(view, ensure_ascii=False).encode()
        assert len(wire) < 60_000
        for char in ("\x1b", "\x00", "\x07", "\x7f"):
            assert json.dumps(char)[1:-1].encode() not in wire
            assert char.encode() not in wire


@pytest.mark.parametrize("text", NASTY[:3], ids=range(3))
def test_html_is_only_ever_what_was_sanitized(text: str) -> None:
    """The fields named `html` hold no tag that the text brought along."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            found.extend(v for k, v in value.items() if k == "html")
            for child in value.values():
                walk(child)
        elif isinstance(value, list):
            for child in value:
                walk(child)

    walk(views(said(text)))
    assert found
    for html in found:
        assert "<script" not in html
        assert "<img" not in html
        assert 'href="javascript' not in html


def test_what_is_left_out_is_counted() -> None:
    """A cut text says how many characters are missing, in the opened row and on the card."""
    run = fold(ev.RunStarted(run=0, at=101), ev.RunFinished(run=0, at=102, status="done", output="y" * 100_000))
    card = _view.card(run)
    assert len(card["text"]) + card["left_out"] == 100_000
    output = _view.detail(run, 100.0)["output"]
    assert output["left_out"] > 0
    assert output["html"].count("y") + output["left_out"] == 100_000


def test_a_long_structured_output_keeps_its_fields() -> None:
    """Each field is on the card, the long ones cut and counted, within the room of a card."""
    values = {"verdict": "yes", "why": "w" * 20_000, "sources": ["s" * 500] * 20, "score": 0.5, "none": None}
    run = fold(ev.RunStarted(run=0, at=101), ev.RunFinished(run=0, at=102, status="done", output=json.dumps(values)))
    card = _view.card(run)
    assert list(card["fields"]) == list(values)
    assert (card["fields"]["verdict"], card["fields"]["score"], card["fields"]["none"]) == ("yes", "0.5", "null")
    assert card["fields"]["why"].endswith("w…")
    whole = {name: v if isinstance(v, str) else json.dumps(v) for name, v in values.items()}
    assert sum(map(len, card["fields"].values())) + card["left_out"] == sum(map(len, whole.values()))
    assert _view.size(card) < 3 * _view.CARD
    assert json.loads(_view.whole(run, "text")) == values


@pytest.mark.parametrize("text", ["{" + "x" * 10_000, "[" + "1, " * 5_000 + "1]", '{"a": ' * 50_000], ids=range(3))
def test_a_long_output_without_fields_is_text(text: str) -> None:
    """What begins like an object and is none, or is nested beyond all sense, is shown as the text it is."""
    run = fold(ev.RunStarted(run=0, at=101), ev.RunFinished(run=0, at=102, status="done", output=text))
    card = _view.card(run)
    assert "fields" not in card
    assert card["left_out"] == len(text) - _view.CARD


def test_a_run_that_was_stopped_is_no_error() -> None:
    """Who stopped it needs no traceback; what stopped it is said."""
    label = "topic=AI"
    for kind, message, why in (
        ("RunCancelledError", f"run 0 ({label}) stopped", ""),
        ("RunCancelledError", f"run 0 ({label}) stopped because run 3 failed", "stopped because run 3 failed"),
        ("BudgetExceededError", "the budget of $1.00 is spent", "the budget of $1.00 is spent"),
    ):
        error = ev.ErrorInfo(type=kind, message=message, traceback="Traceback", hint="Raise `max_cost`.")
        run = fold(
            ev.RunStarted(run=0, at=101), ev.RunFinished(run=0, at=102, status="cancelled", error=error), label=label
        )
        row, card, detail = _view.row(run, 100.0, 0), _view.card(run), _view.detail(run, 100.0)
        assert not any("error" in view for view in (row, card, detail))
        assert (row.get("stopped", ""), card["stopped"], detail["stopped"].get("text", "")) == (why, why, why)
        assert _view.log(run, 100.0)[-1]["text"] == (f"cancelled: {why}" if why else "cancelled")


def test_log_lines_are_in_the_row_and_in_the_log() -> None:
    """The newest are in the opened row, the others counted; in the log they stand where they were said."""
    run = fold(
        ev.RunStarted(run=0, at=101),
        ev.CrewReady(run=0, at=101, tasks=(ev.TaskSpec(name="t", agent="a"),), path="direct"),
        ev.TaskStarted(run=0, at=102, task=0),
    )
    run = replace(run, log=tuple(LogLine(at=103 + n, text=f"INFO {n}", task=0) for n in range(100)))
    detail = _view.detail(run, 100.0)
    assert len(detail["log"]) + detail["log_left_out"] == 100
    assert detail["log"][-1] == {"at": 102.0, "task": 0, "text": {"text": "INFO 99", "left_out": 0}}
    lines = [line for line in _view.log(run, 100.0) if line["status"] == "log"]
    assert [line["text"] for line in lines] == [f"t: INFO {n}" for n in range(100)]
    loud = replace(run, log=tuple(LogLine(at=103, text="é" * 1_000) for _ in range(200)))
    assert _view.size(_view.detail(loud, 100.0)) <= _view.DETAIL_BYTES


def test_a_detail_stays_in_its_room_with_many_calls() -> None:
    """A run with hundreds of long calls is cut to size, its newest calls kept."""
    events: list[ev.Event] = [
        ev.RunStarted(run=0, at=101),
        ev.CrewReady(run=0, at=101, tasks=(ev.TaskSpec(name="t", agent="a"),), path="direct"),
        ev.TaskStarted(run=0, at=101, task=0),
    ]
    for n in range(300):
        at = 101 + n / 10
        events.append(ev.CallStarted(run=0, at=at, call=str(n), kind="llm", name=f"m{n}", task=0, detail="é" * 5_000))
        events.append(ev.CallFinished(run=0, at=at, call=str(n), kind="llm", task=0, output="é" * 5_000))
    detail = _view.detail(fold(*events), 100.0)
    assert _view.size(detail) <= _view.DETAIL_BYTES
    (task,) = detail["tasks"]
    assert task["calls"][-1]["name"] == "m299"
    assert task["calls_left_out"] + len(task["calls"]) == 300
    assert len(_view.lane(fold(*events), 100.0)["spans"]) == _view.LANE_SPANS


def test_a_row_tells_what_goes_on() -> None:
    """The speaking task with the end of its words, the tool in use, the wait with its end."""
    script = Script(1, seed=4)
    script.play(script.length / 3)
    (run,) = script.state().runs
    row = _view.row(run, script.created, 0)
    assert row["status"] == run.status
    assert [t["status"] for t in row["tasks"]] == [t.status for t in run.tasks]
    asks = fold(
        ev.RunStarted(run=0, at=101),
        ev.CrewReady(run=0, at=101, tasks=(ev.TaskSpec(name="t", agent="a"),), path="direct"),
        ev.TaskStarted(run=0, at=101, task=0),
        ev.CallStarted(run=0, at=101, call="a", kind="llm", name="m", task=0),
        ev.CallChunk(run=0, at=101.5, call="a", text="the draft", task=0),
        ev.CallFinished(run=0, at=102, call="a", kind="llm", task=0, output="the draft"),
        ev.WaitStarted(run=0, at=103, key="k", reason="person", task=0, detail="Is it right?"),
    )
    (wait,) = _view.row(asks, 100.0, 0)["waits"]
    assert wait["draft"]["text"] == "the draft"
    assert (wait["reason"], wait["since"], wait["task"]) == ("person", 3.0, 0)


def test_a_row_is_small() -> None:
    """A thousand rows at rest take less than half a megabyte."""
    script = Script(200, width=16, failing=0.1)
    script.play(script.length / 2)
    rows = [_view.row(r, script.created, 0) for r in script.state().runs]
    assert _view.size(rows) / len(rows) < 600


def test_the_log_is_in_order_and_in_words() -> None:
    """Lines of a run go by time, begin with its queueing and end with its end."""
    script = Script(1, failing=1.0)
    script.play(script.length)
    lines = _view.log(script.state().runs[0], script.created)
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert lines[0]["text"] == "queued"
    assert lines[-1]["text"].startswith("failed: RateLimitError: 429")
    assert any("waits for another try: 429, try 2 of 3" in line["text"] for line in lines)


def test_an_unknown_cost_is_none() -> None:
    """No price, no number: the board shows no money rather than an invented sum."""
    state = BatchState(key="k", name="n", runs=(new_run(0, "", 0.0),), created=0.0)
    assert _view.summary(state, 1.0)["cost"] is None


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_files_hold_every_output_whole(text: str) -> None:
    """JSON and CSV give back each output as it was, save for characters that no file can hold."""
    run = fold(ev.RunStarted(run=0, at=101), ev.RunFinished(run=0, at=102, status="done", output=text), label="a,b\n=1")
    state = BatchState(key="k", name="n", runs=(run, replace(run, index=1, output="two")), created=100.0)
    given = table(state)
    rows = json.loads(_view.export(state, given, "json"))
    assert [r["run"] for r in rows] == [0, 1]
    limit = csv.field_size_limit(10_000_000)
    cells = list(csv.DictReader(io.StringIO(_view.export(state, given, "csv"), newline="")))
    csv.field_size_limit(limit)
    assert [r["raw"].removeprefix("'") for r in cells] == [r["raw"].removeprefix("'") for r in rows]
    assert len(rows[0]["raw"]) >= len(text) - 20
    assert rows[1]["raw"] in _view.export(state, given, "md")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1 of them", "'+1 of them"),
        ("-3.5", "-3.5"),
        ("+1e-3", "+1e-3"),
        ("- a list", "'- a list"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "\n=1"),
        ("1=1", "1=1"),
    ],
)
def test_a_csv_has_no_formula_of_an_llm(text: str, cell: str) -> None:
    """Spreadsheet programs run cells that begin like one; numbers and the other formats stay as they are."""
    run = fold(ev.RunFinished(run=0, at=101, status="done", output=text))
    state = BatchState(key="k", name="n", runs=(run,), created=100.0)
    given = [{**row, "inputs.topic": text} for row in table(state)]
    (row,) = csv.DictReader(io.StringIO(_view.export(state, given, "csv"), newline=""))
    assert (row["raw"], row["inputs.topic"]) == (cell, cell)
    assert json.loads(_view.export(state, given, "json"))[0]["raw"] == text.replace("\r", "\n")


@pytest.mark.parametrize(
    ("joins", "words"),
    [
        ([(), (), (0, 1)], "← joins both"),
        ([(), (), (), (0, 1, 2)], "← joins all 3"),
        ([(), (0,), (1,)], None),
        ([(), (0,), (0,)], "← joins t0"),
        ([(), (), (), (0, 2)], "← joins t0, t2"),
    ],
)
def test_live_and_static_boards_say_the_same_of_joins(joins: list[tuple[int, ...]], words: str | None) -> None:
    """The words are made once; the live board gets them with the shape of the crew."""
    specs = tuple(ev.TaskSpec(name=f"t{n}", agent="a", joins=j) for n, j in enumerate(joins))
    run = fold(ev.RunStarted(run=0, at=101), ev.CrewReady(run=0, at=101, tasks=specs, path="direct"))
    assert _view.shape(run)[-1].get("joined") == words
    html = _static.board(BatchState(key="k", name="n", runs=(run,), created=100.0))
    assert (words in html) if words else ("←" not in html)


def flow_run(rounds: int = 2, found: int = 2) -> RunState:
    """A flow of three steps and a branch that is not taken; its second step begins a crew in each round."""
    steps = (
        ev.TaskSpec(name="plan", agent="", is_step=True),
        ev.TaskSpec(name="research", agent="", is_step=True, joins=(0, 2)),
        ev.TaskSpec(name="review", agent="", is_step=True, joins=(1,)),
        ev.TaskSpec(name="drop", agent="", is_step=True, joins=(2,)),
        ev.TaskSpec(name="finish", agent="", is_step=True, joins=(2,)),
    )
    events: list[ev.Event] = [
        ev.RunStarted(run=0, at=101),
        ev.CrewReady(run=0, at=101, tasks=steps, path="stock"),
        ev.TaskStarted(run=0, at=101, task=0),
        ev.TaskFinished(run=0, at=101, task=0, output="plan"),
    ]
    place = len(steps)
    for crew in range(rounds):
        specs = tuple(ev.TaskSpec(name=f"inner {n}", agent="Writer", parent=1, crew=crew + 1) for n in range(found))
        events += [ev.TaskStarted(run=0, at=102, task=1), ev.TasksFound(run=0, at=102, tasks=specs)]
        for _ in specs:
            key, usage = f"c{place}", Usage(total_tokens=5)
            events += [
                ev.TaskStarted(run=0, at=103, task=place),
                ev.CallStarted(run=0, at=103, call=key, kind="llm", name="m", task=place, detail="asked " * 200),
                ev.CallChunk(run=0, at=103, call=key, text=f"words {place}", task=place),
                ev.CallFinished(run=0, at=104, call=key, kind="llm", task=place, output="said", usage=usage),
                ev.TaskFinished(run=0, at=104, task=place, output=f"notes {place}"),
            ]
            place += 1
        events += [
            ev.TaskFinished(run=0, at=105, task=1, output=f"notes {place - 1}"),
            ev.TaskStarted(run=0, at=105, task=2),
            ev.TaskFinished(run=0, at=105, task=2, output="again"),
        ]
    return fold(*events)


def test_an_opened_row_has_what_runs_inside_each_step() -> None:
    """By name and step, in its crew; rounds and tokens are the step's; an output is shown once."""
    run = fold_on(flow_run(), ev.RunFinished(run=0, at=106, status="done", output="again"))
    edges = [None, "after plan, review", None, None, "after review"]
    assert [spec.get("joined") for spec in _view.shape(run)] == edges
    detail = _view.detail(run, 100.0)
    assert [(t["status"], t.get("rounds"), t["tokens"]) for t in detail["tasks"]] == [
        ("done", None, 0),
        ("done", 2, 20),
        ("done", 2, 0),
        ("skipped", None, 0),
        ("skipped", None, 0),
    ]
    assert [(t["place"], t["name"], t["parent"], t["crew"], t["tokens"]) for t in detail["inside"]] == [
        (5, "inner 0", 1, 1, 5),
        (6, "inner 1", 1, 1, 5),
        (7, "inner 0", 1, 2, 5),
        (8, "inner 1", 1, 2, 5),
    ]
    assert [t.get("is_parents", False) for t in detail["inside"]] == [False, False, False, True]
    assert detail["tasks"][2]["is_final"]
    html = _static.board(BatchState(key="k", name="n", runs=(run,), created=100.0))
    assert "research ×2 after plan, review" in html


def test_a_closed_row_says_what_is_said_inside_its_step() -> None:
    """The step is at work with the words of the task in it; a call in the timeline is the step's."""
    run = fold_on(
        flow_run(),
        ev.TaskStarted(run=0, at=106, task=1),
        ev.TasksFound(run=0, at=106, tasks=(ev.TaskSpec(name="Editor", agent="Editor", parent=1, crew=3),)),
        ev.TaskStarted(run=0, at=106, task=9),
        ev.CallStarted(run=0, at=106, call="x", kind="llm", name="gpt", task=9),
        ev.CallChunk(run=0, at=106, call="x", text="so far", task=9),
    )
    row = _view.row(run, 100.0, 0)
    assert len(row["tasks"]) == 5
    assert (row["tasks"][1]["rounds"], row["tasks"][1]["text"], row["tasks"][1]["call"]) == (3, "so far", "gpt")
    assert {span["task"] for span in _view.lane(run, 100.0)["spans"]} == {1}


def test_an_opened_row_of_a_long_loop_stays_in_its_room() -> None:
    """The newest of what ran inside is kept, and what is left out is counted at its step."""
    detail = _view.detail(flow_run(rounds=50, found=4), 100.0)
    assert _view.size(detail) <= 30_000
    assert len(detail["inside"]) + detail["tasks"][1]["inside_left_out"] == 200
    assert detail["inside"][-1]["place"] == 204


def fold_on(run: RunState, *events: ev.Event) -> RunState:
    """The run after these events."""
    for event in events:
        run = advance(run, event)
    return run
