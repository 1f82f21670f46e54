"""A DataFrame goes in, and its rows come back: by the same index, with what each task's model says."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from crewai import Crew, Task

import crew_nb as cnb
from crew_nb._board import view as _view
from crew_nb._crewai.blueprint import plans_for_each
from crew_nb._state.state import BatchState
from tests.support import crews


def _llm(**options: Any) -> Any:
    return cnb.OfflineLLM(latency=0, tokens_per_second=None, **options)


def _build(topic: str, fail: bool = False) -> Crew:
    llm = _llm(fail_rate=float(fail))
    first = crews.one(llm, output_pydantic=crews.Report)
    last = Task(description="Rate {topic}", expected_output="A note", agent=first.agents[0], output_json=crews.Report)
    return Crew(agents=first.agents, tasks=[*first.tasks, last])


INDEXES = [
    pd.Index(["r17", "r4"], name="review"),
    pd.Index([7, 7]),
    pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["shop", None]),
    pd.date_range("2026-01-31", periods=2, tz="UTC", name="day"),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: type(index).__name__)
def test_the_index_that_came_in_comes_back(index: pd.Index[Any]) -> None:
    """Whole, and in a part of the results too; tasks have rows of their own."""
    frame = pd.DataFrame({"topic": ["A", "B"]}, index=index)
    llm = _llm()
    for given in (frame, pd.Series([{"topic": "A"}, {"topic": "B"}], index=index)):
        results = cnb.kickoff_for_each(crews.one(llm), given, show=False).wait(60)
        table = results.to_frame()
        assert table.index.equals(index)
        assert table.index.names == index.names
        assert list(table["inputs.topic"]) == ["A", "B"]
        assert results[::-1].to_frame().index.equals(index[::-1])
        assert list(results.to_frame("tasks").index) == [0, 1]


def test_fields_of_every_task_are_columns_and_none_where_a_run_failed() -> None:
    """By the task's name, or its place where it has none; those of the last task by their names alone as well."""
    rows = [{"topic": "A", "fail": True}, {"topic": "B" * 500}]
    results = cnb.kickoff_for_each(_build, rows, max_retries=0, show=False).wait(60)
    table = results.to_frame()
    assert list(table["status"]) == ["failed", "done"]
    assert table["inputs.topic"][1] == "B" * 500
    output = results[1].output
    for name, report in [("research.", output.tasks_output[0].pydantic.model_dump()), ("task1.", output.json_dict)]:
        assert set(report) == {"title", "score", "tags"}
        for field, value in report.items():
            assert table[f"{name}{field}"][1] == value
            assert table[f"{name}{field}"].isna()[0]
    assert table["tags"][1] == output.json_dict["tags"]
    assert table["tags"][0] is None
    assert table["finished"][1] - table["started"][1] >= pd.Timedelta(0)
    assert str(table["started"].dt.tz) == "UTC"
    assert list(table.index) == [0, 1]


def test_downloads_hold_what_the_frame_holds() -> None:
    """The same columns and rows: inputs whole, objects as JSON, every task's text and fields, also of a failed run."""
    odd = {"when": dt.date(2026, 1, 31), "tags": {"a"}, "report": crews.Report(title="T", score=1, tags=["x"])}
    rows = [
        {"topic": "A" * 500, "fail": False, "extra": odd},
        {"topic": "=B", "fail": True, "extra": None},
    ]

    def build(topic: str, fail: bool, extra: Any) -> Crew:
        first = crews.one(_llm(), output_pydantic=crews.Report)
        rater = crews.agent(_llm(fail_rate=float(fail)), "Rater")
        last = Task(description="Rate {topic}", expected_output="A note", agent=rater)
        return Crew(agents=[*first.agents, rater], tasks=[*first.tasks, last])

    batch = cnb.kickoff_for_each(build, rows, max_retries=0, show=False)
    frame = batch.wait(60).to_frame()
    told = json.loads(_view.export(batch.state(), batch.table(), "json"))
    cells = list(csv.DictReader(io.StringIO(_view.export(batch.state(), batch.table(), "csv"), newline="")))
    assert list(told[0]) == list(told[1]) == list(cells[0]) == list(frame.columns)
    assert [row["inputs.topic"] for row in told] == ["A" * 500, "=B"]
    assert [row["inputs.topic"] for row in cells] == ["A" * 500, "'=B"]
    plain = {"when": "2026-01-31", "tags": ["a"], "report": {"title": "T", "score": 1, "tags": ["x"]}}
    assert told[0]["inputs.extra"] == json.loads(cells[0]["inputs.extra"]) == plain
    assert [row["status"] for row in told] == ["done", "failed"]
    first, failed = batch.results[0].tasks_output[0], batch.state().runs[1].tasks[0]
    assert [row["research.raw"] for row in told] == list(frame["research.raw"]) == [first.raw, failed.output]
    assert failed.output
    assert "task1.raw" not in frame  # the last task's text is the run's
    assert told[0]["research.score"] == int(cells[0]["research.score"]) == frame["research.score"][0]
    assert told[1]["research.score"] is None
    assert abs(pd.Timestamp(told[0]["started"]) - frame["started"][0]) <= pd.Timedelta("1us")


def test_tasks_of_one_name_are_told_apart() -> None:
    """By their places: none takes the column of another."""
    crew = crews.chain(_llm())
    for task in crew.tasks:
        task.name = "same"
    (row,) = cnb.kickoff(crew, {"topic": "A"}, show=False).batch.wait(60).table()
    assert {"task0.raw", "task1.raw"} <= set(row)
    assert "same.raw" not in row


def test_what_a_download_leaves_out_is_said() -> None:
    """An object that has nothing but a long repr."""

    class Long:
        def __repr__(self) -> str:
            return "x" * 10_007

    state = BatchState(key="k", name="", runs=(), created=0.0)
    (row,) = json.loads(_view.export(state, [{"inputs.it": Long()}], "json"))
    assert row["inputs.it"] == "x" * 10_000 + "… (7 characters left out)"


@pytest.mark.parametrize("gap", [None, np.nan, pd.NaT, pd.NA], ids=repr)
def test_a_missing_value_in_a_frame_is_refused_before_anything_runs(gap: Any) -> None:
    """Where a text names the column, or nobody knows what is named; what to write is said."""
    frame = pd.DataFrame({"topic": pd.Series(["A", gap], dtype=object), "other": "x"})
    for source in (crews.one(_llm()), _build):
        with pytest.raises(cnb.BlueprintError, match=r'inputs\[1\]: topic is missing.*dropna\(subset=\["topic"\]\)'):
            plans_for_each(source, frame)
    unused = frame.rename(columns={"topic": "other", "other": "topic"})
    assert len(plans_for_each(crews.one(_llm()), unused)) == 2


@pytest.mark.parametrize("gap", [float("nan"), np.float32("nan"), np.datetime64("NaT"), pd.NaT], ids=repr)
def test_a_nan_is_refused_wherever_it_is_given(gap: Any) -> None:
    """In the dict of one run too; None there is the user's own word."""
    crew = crews.one(_llm())
    with pytest.raises(cnb.BlueprintError, match=r'topic is missing.*Write \{"topic": "unknown"\}'):
        cnb.kickoff(crew, {"topic": gap}, show=False)
    assert plans_for_each(crew, [{"topic": None}])[0].inputs == {"topic": None}


def test_a_dict_of_lists_is_a_grid() -> None:
    """A run for each combination; a single value stands in all, and a dict without a list is no grid."""

    def build(topic: str, tone: str, words: int) -> Crew:
        return crews.one(_llm())

    for topics in (["A", "B"], ("A", "B"), pd.Series(["A", "B"]), np.array(["A", "B"])):
        plans = plans_for_each(build, {"topic": topics, "tone": ["dry", "warm"], "words": 9})
        assert [plan.inputs for plan in plans] == [
            {"topic": topic, "tone": tone, "words": 9} for topic in "AB" for tone in ("dry", "warm")
        ]
    with pytest.raises(cnb.BlueprintError, match="inputs is empty"):
        plans_for_each(build, {"topic": [], "tone": ["dry"], "words": 9})
    with pytest.raises(cnb.BlueprintError, match="one dict"):
        plans_for_each(build, {"topic": "A", "tone": "dry", "words": 9})
