"""The launcher's form as plain data: fields, rows, inputs, code and estimates."""

from __future__ import annotations

import datetime
import enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pytest
from crewai import Crew, Process
from crewai.flow.flow import Flow, start
from crewai.project import CrewBase, agent, crew, task
from pydantic import BaseModel

from crew_nb._cells import form as _form
from crew_nb._cells.form import Field
from crew_nb._crewai.offline import OfflineLLM
from crew_nb._state.errors import BlueprintError
from tests.support import crews

LLM = OfflineLLM(latency=0, tokens_per_second=None)


class Tone(enum.Enum):
    PLAIN = "plain words"
    FORMAL = "formal words"


def factory(
    topic: str,
    tone: Literal["plain", "formal"] = "plain",
    mood: Tone = Tone.PLAIN,
    depth: int = 2,
    weight: float | None = None,
    sources: bool = False,
    paper: Path | None = None,
    tags: list[str] | None = None,
    note: Annotated[str, "anything"] = "",
    day: datetime.date = datetime.date(2026, 1, 31),
    when: datetime.date | datetime.datetime | None = None,
    since=datetime.date(2026, 1, 1),  # type: ignore[no-untyped-def]
    guess=3,  # type: ignore[no-untyped-def]
    llm: OfflineLLM = LLM,
) -> Crew:
    raise AssertionError("a factory with a required argument is not called for its form")


def test_a_crew_gives_its_placeholders_in_the_order_in_which_they_are_read() -> None:
    """Fields come from the tasks first, then from the agents; all are needed."""
    made = crews.one(LLM)
    made.tasks[0].description = "Ask {zeta} about {alpha}"
    made.agents[0].backstory = "Of {country}."
    shape = _form.shape(made)
    assert [f.name for f in shape.fields] == ["zeta", "alpha", "country"]
    assert all(f.required and f.kind == "text" for f in shape.fields)
    assert (shape.title, shape.calls, shape.exactly) == ("one", 1, True)


class Draft(BaseModel):
    topic: str = "tides"
    words: int = 200


def test_a_flow_gives_what_its_state_has_and_an_agent_its_request() -> None:
    """With the types and what it begins with. A declaration's state does, too."""

    class Write(Flow[Draft]):
        @start()
        def plan(self) -> str:
            return self.state.topic

    declared = {
        "schema": "crewai.flow/v1",
        "name": "greeting",
        "state": {"type": "dict", "default": {"topic": "the sea"}},
        "methods": {"greet": {"start": True, "do": {"call": "expression", "expr": "'On ' + state.topic"}}},
    }
    for given in (Write, Write(), lambda: Write()):
        told = [(f.name, f.kind, f.default, f.required) for f in _form.shape(given).fields]
        assert told == [("topic", "text", "tides", False), ("words", "integer", 200, False)]
    assert [(f.name, f.default) for f in _form.shape(declared).fields] == [("topic", "the sea")]
    editor = _form.shape(crews.agent(LLM, "Editor of {kind}")).fields
    assert sorted((f.name, f.required) for f in editor) == [("kind", True), ("messages", True)]


def test_annotations_and_defaults_choose_the_control() -> None:
    """Text, number, choice, switch, file, literal and date; what a form cannot fill and need not is left out."""
    shape = _form.shape(factory)
    assert {f.name: f.kind for f in shape.fields} == {
        "topic": "text",
        "tone": "choice",
        "mood": "choice",
        "depth": "integer",
        "weight": "number",
        "sources": "switch",
        "paper": "file",
        "tags": "literal",
        "note": "text",
        "day": "date",
        "when": "datetime",
        "since": "date",
        "guess": "integer",
    }
    fields = {f.name: f for f in shape.fields}
    assert [f.name for f in shape.fields if f.required] == ["topic"]
    assert list(fields["mood"].choices) == ["PLAIN", "FORMAL"]
    assert fields["mood"].value("formal") is Tone.FORMAL
    assert fields["day"].words(fields["day"].default) == "2026-01-31"
    assert shape.calls is None


def test_a_factory_without_needs_is_asked_for_its_placeholders_and_tasks() -> None:
    """It is called once: parameters and placeholders together are the form."""
    called = []

    def build_market_crew(tone: str = "plain") -> Crew:
        called.append(tone)
        return crews.chain(LLM, 3)

    shape = _form.shape(build_market_crew)
    assert [(f.name, f.required) for f in shape.fields] == [("tone", False), ("topic", True)]
    assert (shape.title, shape.calls, called) == ("market crew", 3, ["plain"])


def test_a_crewbase_method_is_named_after_its_class() -> None:
    """`ResearchCrew().crew` has the placeholders of the crew it builds."""

    @CrewBase
    class ResearchCrew:
        agents_config: dict[str, Any] = {}  # noqa: RUF012 - CrewAI reads it from the class
        tasks_config: dict[str, Any] = {}  # noqa: RUF012

        @agent
        def researcher(self) -> Any:
            return crews.agent(LLM)

        @task
        def research(self) -> Any:
            return crews.one(LLM).tasks[0]

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)

    shape = _form.shape(ResearchCrew().crew)
    assert [f.name for f in shape.fields] == ["topic"]
    assert "ResearchCrew" in shape.title


@pytest.mark.parametrize("given", [None, 3, "crew", lambda: None])
def test_what_is_no_crew_is_refused_in_the_cell(given: Any) -> None:
    """The message says what it is; no form is shown."""
    with pytest.raises(BlueprintError, match=r"not a crew|returned a NoneType"):
        _form.shape(given)


def test_calls_are_exact_only_where_nothing_may_add_more() -> None:
    """A tool, a manager or a guardrail may ask again."""
    assert _form.shape(crews.one(LLM)).exactly
    assert not _form.shape(crews.one(LLM, tools=[crews.search])).exactly
    managed = crews.chain(LLM, 2)
    managed.process, managed.manager_llm = Process.hierarchical, LLM
    assert not _form.shape(managed).exactly


@pytest.mark.parametrize(
    ("kind", "words", "value"),
    [
        ("text", " as it is ", " as it is "),
        ("integer", " 12 ", 12),
        ("number", "1e-3", 0.001),
        ("switch", "Yes", True),
        ("switch", "off", False),
        ("file", "data/a b.txt", Path("data/a b.txt")),
        ("literal", "['a', 1]", ["a", 1]),
        ("date", " 2026-01-31 ", datetime.date(2026, 1, 31)),
        ("date", "2026-01-31T00:00:00", datetime.date(2026, 1, 31)),  # as pandas writes a date
        ("datetime", "2026-01-31 09:30", datetime.datetime(2026, 1, 31, 9, 30)),
        ("datetime", "2026-01-31T09:30:05Z", datetime.datetime(2026, 1, 31, 9, 30, 5, tzinfo=datetime.UTC)),
        ("datetime", "2026-01-31", datetime.datetime(2026, 1, 31)),
    ],
)
def test_words_mean_values(kind: Any, words: str, value: object) -> None:
    """Each control's words become the value that a factory is given."""
    found = Field(name="x", kind=kind).value(words)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("integer", "1.5", "“1.5” is not a whole number."),
        ("number", "nan", "“nan” is not a number."),
        ("number", "", "“” is not a number."),
        ("switch", "maybe", "“maybe” is neither yes nor no."),
        ("date", "31.1.2026", "“31.1.2026” is not a date. Write it as in 2026-01-31."),
        ("date", "2026-01-31 09:30", "“2026-01-31 09:30” is not a date. Write it as in 2026-01-31."),
        ("datetime", "noon", "“noon” is not a date with a time. Write it as in 2026-01-31 09:30."),
        ("literal", "__import__('os')", "write it as in Python, such as ['a', 'b'] or {'a': 1}."),
    ],
)
def test_words_that_mean_nothing_are_refused_in_words(kind: Any, words: str, said: str) -> None:
    """The message says what is wrong with the cell; nothing is evaluated."""
    with pytest.raises(ValueError) as caught:
        Field(name="x", kind=kind).value(words)
    assert str(caught.value) == said


def test_a_choice_names_what_may_be_chosen() -> None:
    """A word from a CSV that is none of the choices is named with them."""
    field = Field(name="tone", kind="choice", choices={"plain": "plain", "formal": "formal"})
    assert field.value(" FORMAL ") == "formal"
    with pytest.raises(ValueError, match="“loud” is not one of plain, formal"):
        field.value("loud")


# --- inputs that are given --------------------------------------------------------------------------------------------

TOPIC = (Field(name="topic"),)


def test_a_data_frame_becomes_rows_and_comes_back_in_its_types() -> None:
    """Columns that the crew does not take are kept; missing values are not given."""
    frame = pd.DataFrame(
        {
            "topic": ["AI", None],
            "year": [2020, 2021],
            "share": [0.5, float("nan")],
            "on": [True, False],
            "day": [datetime.date(2026, 1, 2)] * 2,
        }
    )
    fields, rows = _form.given(TOPIC, frame)
    assert [f.kind for f in fields] == ["text", "integer", "number", "switch", "text"]
    assert [f.required for f in fields] == [True, False, False, False, False]
    inputs, wrong = _form.inputs_of(fields, rows)
    assert wrong == {}
    assert inputs == [
        {"topic": "AI", "year": 2020, "share": 0.5, "on": True, "day": "2026-01-02"},
        {"year": 2021, "on": False, "day": "2026-01-02"},
    ]


def test_dates_of_a_data_frame_reach_a_factory_as_dates() -> None:
    """A parameter's annotation decides: a column of days or of time stamps becomes what is asked for."""

    def build(day: datetime.date, when: datetime.datetime) -> Crew:
        raise AssertionError("a factory with a required argument is not called for its form")

    stamps = pd.to_datetime(["2026-01-02", "2026-01-03"])
    fields, rows = _form.given(_form.shape(build).fields, pd.DataFrame({"day": stamps, "when": stamps}))
    inputs, wrong = _form.inputs_of(fields, rows)
    assert wrong == {}
    assert inputs[1] == {"day": datetime.date(2026, 1, 3), "when": datetime.datetime(2026, 1, 3)}
    assert type(inputs[1]["day"]) is datetime.date


def test_a_dict_of_lists_is_a_grid() -> None:
    """Every combination, the last name fastest; a single value stands for a list of one."""
    _, rows = _form.given(TOPIC, {"topic": ["AI", "ML"], "n": (1, 2), "tone": "plain"})
    assert [(r["topic"], r["n"], r["tone"]) for r in rows] == [
        ("AI", "1", "plain"),
        ("AI", "2", "plain"),
        ("ML", "1", "plain"),
        ("ML", "2", "plain"),
    ]


@pytest.mark.parametrize("inputs", [[], "AI", ["AI"], 3, [{"topic": object()}]])
def test_inputs_that_a_form_cannot_hold_are_refused(inputs: Any) -> None:
    """With the words of the verbs."""
    with pytest.raises(BlueprintError):
        _form.given(TOPIC, inputs)


def test_too_many_rows_are_for_the_verb() -> None:
    """The message names it."""
    with pytest.raises(BlueprintError, match="kickoff_for_each"):
        _form.given(TOPIC, [{"topic": "x"}] * (_form.ROWS_MOST + 1))


# --- words that are pasted --------------------------------------------------------------------------------------------

TWO = (Field(name="topic"), Field(name="max_words", kind="integer", required=False))


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("AI\r\n\r\n  ML, deeply \n", [{"topic": "AI"}, {"topic": "ML, deeply"}]),
        (
            "\ufeffTopic,Max words\nAI,100\n\nML,\n",
            [{"topic": "AI", "max_words": "100"}, {"topic": "ML"}],
        ),
        ('topic;max_words\n"a;b";5', [{"topic": "a;b", "max_words": "5"}]),
        ('topic,id\n"two\nlines",7', [{"topic": "two\nlines", "id": "7"}]),
        ("AI\t100\nML\t200", [{"topic": "AI", "max_words": "100"}, {"topic": "ML", "max_words": "200"}]),
        ('topic\nAI\n"ML, deeply"', [{"topic": "AI"}, {"topic": "ML, deeply"}]),
        ("", []),
    ],
    ids=[
        "lines",
        "csv with a mark at its start",
        "semicolons",
        "quoted line",
        "tabs, no names",
        "one column",
        "nothing",
    ],
)
def test_pasted_words_become_rows(words: str, rows: list[dict[str, str]]) -> None:
    """A header or tabs make a table; otherwise each line is a row of the first field."""
    assert _form.read(words, TWO) == rows


def test_lines_may_go_to_another_field() -> None:
    """The one that was chosen."""
    assert _form.read("1\n2", TWO, "max_words") == [{"max_words": "1"}, {"max_words": "2"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("topic,Topic\n1,2", "same name"),
        ("a\tb\tc", "more columns"),
        (f'topic,id\n"{"x" * 200_000}",1', "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(words: str, said: str) -> None:
    """Nothing of it is taken."""
    with pytest.raises(ValueError, match=said):
        _form.read(words, TWO)


def test_a_grid_is_every_combination_once() -> None:
    """Values given twice count once, fields without a value are left out, and too many are refused."""
    assert _form.grid({"a": ["1", "2", "1"], "b": ["x"], "c": []}) == [{"a": "1", "b": "x"}, {"a": "2", "b": "x"}]
    assert _form.grid({}) == []
    many = [str(n) for n in range(101)]
    with pytest.raises(ValueError, match="10,201 combinations"):
        _form.grid({"a": many, "b": many})


# --- what is meant ----------------------------------------------------------------------------------------------------


def test_an_empty_cell_is_not_given() -> None:
    """So that a default applies; only a switch that must be given is off."""
    fields = (*TWO, Field(name="loud", kind="switch"))
    inputs, wrong = _form.inputs_of(fields, [{"topic": "AI", "max_words": " "}, {"topic": "ML", "max_words": "x"}])
    assert inputs == [{"topic": "AI", "loud": False}, {"topic": "ML", "loud": False}]
    assert wrong == {1: {"max_words": "“x” is not a whole number."}}


def test_bad_rows_say_what_the_verbs_would() -> None:
    """Every row that cannot be run is named with its BlueprintError."""
    found = _form.faults(crews.one(LLM), [{"topic": "AI"}, {}, {"other": "x"}])
    assert set(found) == {2}, "without inputs texts go out as they are"
    assert found[2].startswith("inputs[2]: the crew needs topic, but the inputs have only other. Write inputs=[{")
