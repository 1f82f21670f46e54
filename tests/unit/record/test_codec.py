"""Whatever a crew returns, and whatever an input holds, survives the way to JSON and back."""

from __future__ import annotations

import datetime as dt
import json
import math
import subprocess
import sys
import types
import uuid
import warnings
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from crewai.lite_agent_output import LiteAgentOutput, TodoExecutionResult
from crewai.tools.tool_failure import ToolFailure, ToolFailureRecord
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ImportString, RootModel, model_validator

from crew_nb._crewai import outputs
from crew_nb._record import codec
from crew_nb._state import events as ev
from crew_nb._state import plain
from crew_nb._state.errors import RecordError
from crew_nb._state.state import RunState, advance, new_run
from crew_nb._state.usage import Usage


class Part(BaseModel):
    price: Decimal = Decimal("1.10")
    when: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Special(Part):
    extra_of_the_subclass: bytes = b"\xff"


class Report(BaseModel):
    title: str = Field(alias="theTitle")
    ratio: float = math.inf
    parts: list[Part] = []
    tags: set[str] = {"a", "b"}


class Names(RootModel[list[str]]):
    pass


class Doubles(BaseModel):
    n: int

    @model_validator(mode="after")
    def double(self) -> Doubles:
        if self.n > 10:
            raise ValueError("too large")
        self.n *= 2
        return self


def through(value: Any) -> Any:
    """There and back, as text."""
    text = plain.dumps(plain.plain(value))
    text.encode()  # SQLite and files take it
    return plain.unplain(json.loads(text))


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            0,
            -1,
            2**80,
            2**4000,
            1.5,
            math.inf,
            -math.inf,
            math.nan,
            "",
            "日本🙂",
            "lone \ud800 \udfff",
            "\0",
        ),
        *(b"", b"\xff\0abc", (1, (2,)), [], [[]], {}, {1: {2: 3}}, {"$": "dict"}, {"$": 1, "v": 2}, {(1, 2): "x"}),
        *(
            {"long": 2**20_000},
            set(),
            {1, "a", (2, 3)},
            dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC),
            dt.date(2026, 1, 2),
            dt.time(3, 4),
        ),
        *(dt.timedelta(days=-1, microseconds=5), Decimal("1.10"), Decimal("NaN"), Path("/a/b"), uuid.UUID(int=5)),
        {"lone \ud800": ["\ud800", {"deep": (None, {"s": {1}})}]},
    ],
)
def test_odd_values_come_back_as_they_were(value: Any) -> None:
    """Their type comes back, too."""
    told = through(value)
    assert type(told) is type(value)
    assert told == value or (told != told and value != value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
        max_leaves=20,
    )
)
def test_nested_values_come_back_as_they_were(value: Any) -> None:
    """Any nesting, any text, any number."""
    assert through(value) == value


def test_numpy_comes_back() -> None:
    """Scalars as Python's numbers, arrays as arrays."""
    import numpy as np

    assert through(np.int64(3)) == 3
    assert through(np.float32(0.5)) == 0.5
    assert through(np.bool_(True)) is True
    back = through({"a": np.arange(6).reshape(2, 3)})["a"]
    assert back.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_five_megabytes_come_back() -> None:
    """Texts are never cut."""
    text = "ü\ud800" * 2_500_000
    assert through(text) == text


def test_what_has_no_form_is_kept_as_text_and_never_raises() -> None:
    """Objects by their repr, cycles and bottomless nestings up to a point."""

    class Colour(Enum):
        RED = "red"

    @dataclass
    class Point:
        x: int

    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    class BadDict(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("no")

    assert through(Colour.RED) == "red"
    assert through(Point(3)) == {"x": 3}
    assert through(Bad()) == "<Bad without a repr>"
    assert "object at" in through(object())
    assert isinstance(through(BadDict(a=1)), str)
    loop: list[Any] = [1]
    loop.append(loop)
    assert through(loop) == [1, "<list nested too deep>"]
    deep: Any = 0
    for _ in range(5_000):
        deep = [deep]
    assert isinstance(through(deep), list)


def test_what_a_newer_version_wrote_is_kept_as_it_can_be() -> None:
    """An unknown type gives its content, a broken one does too."""
    assert plain.unplain({"$": "quaternion", "v": [1, 2]}) == [1, 2]
    assert plain.unplain({"$": "datetime", "v": "yesterday"}) == "yesterday"


def events(run: int = 0) -> list[ev.Event]:
    """One of each event, on a run with one task."""
    error = ev.ErrorInfo(type="E", message="m", traceback="t", hint="h", retryable=True)
    spec = ev.TaskSpec(name="t", agent="a", joins=(0, 1), is_async=True, asks_human=True)
    at = {"run": run, "at": 1.5}
    return [
        ev.RunQueued(**at, attempt=2),
        ev.RunStarted(**at),
        ev.CrewReady(
            **at, tasks=(spec, ev.TaskSpec(name="u", agent="b")), path="stock", why="w", offline=True, worker="x"
        ),
        ev.TasksFound(**at, tasks=(ev.TaskSpec(name="v", agent="c", parent=0, crew=1),)),
        ev.TaskStarted(**at, task=0, agent="a"),
        ev.WaitStarted(**at, key="w", reason="rate limit", task=0, detail="429", until=2.5),
        ev.WaitFinished(**at, key="w"),
        ev.CallStarted(**at, call="c", kind="llm", name="gpt", task=0, agent="a", detail="hello \ud800"),
        ev.CallFinished(**at, call="c", kind="llm", task=0, output="o", usage=Usage(total_tokens=3), cost=0.5),
        ev.CallStarted(**at, call="d", kind="tool", name="search"),
        ev.CallChunk(**at, call="d", text="piece"),
        ev.CallFailed(**at, call="d", kind="tool", message="no"),
        ev.TaskFinished(**at, task=0, output="done"),
        ev.TaskFailed(**at, task=1, message="bad"),
        ev.TaskTaken(**at, task=1, agent="b", output="kept", usage=Usage(total_tokens=2), cost=0.25),
        ev.TasksFound(**at, tasks=(ev.TaskSpec(name="v", agent="c", is_step=True, parent=0, crew=1),)),
        ev.Logged(**at, text="line", task=1),
        ev.RunCancelling(**at),
        ev.RunFinished(**at, status="failed", output="x", error=error, dropped_calls=2, usage=Usage(), cost=1.0),
    ]


def test_every_event_and_the_state_come_back_equal() -> None:
    """All kinds, with every field set, and the state that they add up to."""
    kinds = {k for k in vars(ev).values() if isinstance(k, type) and issubclass(k, ev.Event)} - {ev.Event}
    assert {type(e) for e in events()} == kinds
    trees = json.loads(plain.dumps(codec.encode_events(events())))
    assert codec.decode_events(trees) == events()
    state = new_run(0, "topic=\ud800", 1.0)
    for event in events():
        state = advance(state, event)
        assert codec.decode(RunState, json.loads(plain.dumps(codec.encode(state)))) == state
    assert state.final


def test_events_of_another_version_are_read_as_far_as_they_are_known() -> None:
    """Unknown kinds and fields are left out, missing ones get their default."""
    trees = [{"event": "RunBlessed", "run": 0, "at": 1.0}, {"event": "RunQueued", "run": 0, "at": 1.0, "colour": "red"}]
    assert codec.decode_events(trees) == [ev.RunQueued(run=0, at=1.0)]


def test_what_is_damaged_among_events_costs_itself_only() -> None:
    """The others are read, in order."""
    first, last = ev.RunStarted(run=0, at=1.0), ev.RunFinished(run=0, at=2.0, status="done")
    trees = codec.encode_events([first, last])
    assert codec.decode_events([trees[0], 4, {"event": 3}, {"at": 1.0}, {"event": "RunStarted"}, trees[1]]) == [
        first,
        last,
    ]


def test_pieces_of_an_answer_are_kept_only_where_no_whole_answer_follows() -> None:
    """They are joined, so that a secret on the seam of two pieces is seen."""

    def piece(call: str, text: str) -> ev.CallChunk:
        return ev.CallChunk(run=0, at=1.0, call=call, text=text)

    end = ev.CallFinished(run=0, at=2.0, call="a", kind="llm", output="hello")
    told = [piece("a", "hel"), piece("b", "the-sec"), piece("a", "lo"), piece("b", "ret!"), end]
    trees = codec.encode_events(told, lambda text: text.replace("the-secret", "***"))
    assert codec.decode_events(trees) == [piece("b", "***!"), end]


def output(**change: Any) -> Any:
    """A CrewOutput with everything in it."""
    from crewai.crews.crew_output import CrewOutput
    from crewai.tasks.output_format import OutputFormat
    from crewai.tasks.task_output import TaskOutput
    from crewai.tools.tool_failure import ToolFailure, ToolFailureReason, ToolFailureRecord
    from crewai.types.usage_metrics import UsageMetrics

    failure = ToolFailureRecord(tool_name="s", failure=ToolFailure(message="m", reason=ToolFailureReason.EXCEPTION))
    report = Report(theTitle="T", parts=[Special(), Part()])
    task = TaskOutput(
        description="d \ud800",
        name="n",
        expected_output="e",
        raw="r",
        pydantic=report,
        json_dict={"a": [1, math.nan]},
        agent="me",
        output_format=OutputFormat.PYDANTIC,
        messages=[{"role": "user", "content": "hello"}],
        tool_failures=[failure],
    )
    fields = {
        "raw": "raw \ud800 日本",
        "pydantic": report,
        "json_dict": {"a": 1},
        "tasks_output": [task],
        "token_usage": UsageMetrics(total_tokens=7, successful_requests=2),
    }
    return CrewOutput(**{**fields, **change})


def back(value: Any) -> Any:
    return outputs.decode(json.loads(plain.dumps(outputs.encode(value))))


def test_a_crew_output_comes_back_whole() -> None:
    """Texts, structured outputs with their classes, every task, messages, tool failures and tokens."""
    told, given_ = back(output()), output()
    assert told.raw == given_.raw
    assert type(told.pydantic) is Report
    assert told.pydantic == given_.pydantic
    assert told.pydantic.ratio == math.inf
    assert told.json_dict == {"a": 1}
    assert told["title"] == "T"
    assert str(told) == str(given_)
    assert told.token_usage == given_.token_usage
    (task,) = told.tasks_output
    (was,) = given_.tasks_output
    for name in ("description", "name", "expected_output", "summary", "raw", "pydantic", "agent", "output_format"):
        assert getattr(task, name) == getattr(was, name)
    assert task.messages == was.messages
    assert task.tool_failures == was.tool_failures
    assert math.isnan(task.json_dict["a"][1])
    assert told.has_tool_failures


def test_a_root_model_comes_back() -> None:
    """A list is a structured output, too."""
    assert back(output(pydantic=Names(["a", "b"]))).pydantic == Names(["a", "b"])


def test_what_a_callback_put_in_the_place_of_the_output_comes_back() -> None:
    """CrewAI hands out whatever an after-kickoff callback returns."""
    assert back({"answer": (1, 2)}) == {"answer": (1, 2)}
    assert back("text") == "text"


def test_what_an_agent_and_a_flow_give_come_back_whole() -> None:
    """CrewAI's own parts of it by their types, the user's models where the reader defines them."""
    agent = LiteAgentOutput(
        raw="r",
        pydantic=Part(),
        agent_role="Writer",
        usage_metrics={"total_tokens": 3},
        tool_failures=[ToolFailureRecord(tool_name="search", failure=ToolFailure(message="no"))],
        todos=[TodoExecutionResult(step_number=1, description="look", status="completed")],
    )
    for output in (agent, outputs.FlowOutput(agent, Part()), outputs.FlowOutput([1, Part()], {"n": 1})):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert outputs.decode(json.loads(json.dumps(outputs.encode(output)))) == output


def test_an_agent_and_a_flow_that_are_damaged_are_refused_or_plain() -> None:
    """No class that a file names is built, and what is no output is none."""
    state = {"$": "model", "class": "subprocess:Popen", "v": {"args": "true"}}
    with pytest.warns(UserWarning, match="it is no data model that is defined here"):
        assert not isinstance(outputs.decode({"flow": {"value": 1}, "state": state}).state, subprocess.Popen)
    for tree in ({"agent": {"raw": 3, "agent_role": "a"}}, {"agent": 3}, {"flow": 3, "state": 1}):
        with pytest.raises((RecordError, AttributeError)):
            outputs.decode(tree)


def test_a_class_that_is_not_there_gives_a_look_alike_and_says_so() -> None:
    """Its fields can be read as before; a cell that was not run yet is no reason to lose an answer."""
    module = types.ModuleType("a_module_of_a_test")
    sys.modules["a_module_of_a_test"] = module
    gone = type(
        "Gone", (BaseModel,), {"__annotations__": {"title": str, "json": int, "_x": int}, "__module__": module.__name__}
    )
    module.Gone = gone  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = json.loads(plain.dumps(outputs.encode(output(pydantic=gone(title="T", json=3)))))
        assert type(outputs.decode(tree).pydantic) is gone
    del sys.modules["a_module_of_a_test"]
    with pytest.warns(UserWarning, match=r"a_module_of_a_test\.Gone: it is no data model that is defined here"):
        look_alike = outputs.decode(tree).pydantic
    assert look_alike.title == "T"
    assert look_alike.model_dump()["json"] == 3
    assert type(look_alike).__name__ == "Gone"


def test_a_class_that_refuses_what_it_once_held_gives_a_look_alike() -> None:
    """A validator that changes its values, or a class that was edited, is no reason to lose an answer."""
    with pytest.warns(UserWarning, match="its fields no longer fit it"):
        told = back(output(pydantic=Doubles(n=6)))
    assert told.pydantic.n == 12


def test_reading_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a record must not run code by naming a module, nor an array by naming numpy."""
    (tmp_path / "module_with_a_class.py").write_text(
        "from pydantic import BaseModel\nclass R(BaseModel):\n    x: int\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    tree = {"$": "model", "class": "module_with_a_class:R", "v": {"x": 1}}
    with pytest.warns(UserWarning, match="look-alike"):
        assert plain.unplain(tree).x == 1
    assert "module_with_a_class" not in sys.modules
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    assert plain.unplain({"$": "array", "v": [1, 2], "dtype": "int64"}) == [1, 2]
    assert "numpy" not in sys.modules


class Opens(BaseModel):
    path: Path

    def model_post_init(self, context: Any) -> None:
        self.path.write_text("ran")


class Begins(BaseModel):
    path: Path

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.path.write_text("ran")


class Holds(BaseModel):
    inner: Begins


class Imports(BaseModel):
    what: ImportString[Any]


@dataclass
class Point:
    path: Path

    def __post_init__(self) -> None:
        self.path.write_text("ran")


class WithPoint(BaseModel):
    points: list[Point]


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Lazy(types.ModuleType):
    """Imports what it is asked for, as many packages do."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("Opens", {"path": "ran.txt"}),
        ("Begins", {"path": "ran.txt"}),
        ("Holds", {"inner": {"path": "ran.txt"}}),
        ("WithPoint", {"points": [{"path": "ran.txt"}]}),
        ("Imports", {"what": "module_that_a_file_names"}),
    ],
)
def test_a_class_that_does_more_than_hold_data_is_not_built(
    name: str, fields: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one of the reader's own either, at any depth of it; its fields are shown as they are."""
    (tmp_path / "module_that_a_file_names.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="look-alike"):
        told = plain.unplain({"$": "model", "class": f"{__name__}:{name}", "v": fields})
    assert type(told).__name__ == name
    assert type(told).__module__ != __name__
    assert not Path("ran.txt").exists()
    assert "module_that_a_file_names" not in sys.modules


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:object",
        "pydantic.main:BaseModel",
        "crewai.crews.crew_output:CrewOutput",
        "crewai.agent.core:Agent",
        "crewai.tasks.task_output:TaskOutput",
        "openai.types.chat.chat_completion:ChatCompletion",
        "a_lazy_module:Anything",
        "nowhere:Report",
        "nowhere",
        "",
        ":",
        "tests.unit.test_codec:Report.__init__",
        "tests.unit.test_codec:Report.parts.x",
    ],
)
def test_a_class_of_a_librarys_is_not_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CrewAI's agents and knowledge sources import and read what their fields name."""
    import crewai  # noqa: F401 - it is here, and still not used
    import openai  # noqa: F401

    monkeypatch.setitem(sys.modules, "a_lazy_module", Lazy("a_lazy_module"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = plain.unplain({"$": "model", "class": name, "v": {"a": 1}})
    assert told.a == 1
    assert {kind.__module__.partition(".")[0] for kind in type(told).__mro__} <= {
        "abc",
        "crew_nb",
        "pydantic",
        "builtins",
    }


def test_a_data_model_that_holds_itself_comes_back() -> None:
    """Trees are data, too, and so are models with validators of the reader's own."""
    tree = Node(name="a", children=[Node(name="b")])
    assert type(through(tree)) is Node
    assert through(tree) == tree


def test_what_is_nested_without_end_is_nothing() -> None:
    """`plain` writes no such depth; whoever wrote it by hand stops nobody."""
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    assert plain.unplain(deep) is None


@pytest.mark.parametrize(
    "change",
    [
        {"status": "lost"},
        {"index": True},
        {"index": "1"},
        {"queued": "now"},
        {"queued": 1e300},
        {"queued": {"$": "float", "v": "nan"}},
        {"tasks": {}},
        {"tasks": [None]},
        {"usage": []},
        {"usage": {"total_tokens": 1e3}},
        {"error": "no"},
        {"error": {"type": 1}},
        {"label": None},
        {"offline": 1},
    ],
)
def test_a_record_with_a_value_of_another_type_is_refused(change: dict[str, Any]) -> None:
    """What reads it later may count on the types."""
    whole = codec.encode(RunState(index=0, queued=1.0, last_event=2.0))
    assert codec.decode(RunState, whole).queued == 1.0
    with pytest.raises((TypeError, ValueError, KeyError)):
        codec.decode(RunState, {**whole, **change})
