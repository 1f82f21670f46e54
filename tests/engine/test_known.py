"""What was given is what is run, and what is known of it; what cannot be seen is run again, and the row says so."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import crew_nb as cnb
from crew_nb._crewai.blueprint import plans_for
from tests.support import crews
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from pathlib import Path

    from crewai import Crew


@dataclass
class Style:
    words: list[str]


class Shelf(dict[str, list[str]]):
    """A dict of the user's own class."""


def test_what_is_done_to_the_inputs_after_the_launch_reaches_no_run(server: Server) -> None:
    """At every depth, and in objects too: each run has its inputs as they were, and so has the record."""
    server.configure(hold=True)
    shared = llm(server)

    def build(topic: str, words: list[str], style: Style, shelf: Shelf, table: Any, deep: Any) -> Crew:
        crew = crews.one(shared)
        said = [*words, *style.words, *shelf["a"], table["x"][0], *deep["in"][0], *sorted(deep["set"])]
        crew.tasks[0].description = f"Research topic={topic} with {' '.join(map(str, said))} and report"
        words.append("of this run alone")
        return crew

    def given() -> dict[str, Any]:
        table = pd.DataFrame({"x": ["tea"]})
        return {"words": ["tea"], "style": Style(["tea"]), "shelf": Shelf(a=["tea"]), "table": table} | {
            "deep": {"in": (["tea"],), "set": {"tea"}}
        }

    common = given()
    inputs = [{"topic": topic, **common} for topic in ("A", "B")]
    batch = cnb.kickoff_for_each(build, inputs, max_concurrency=1, name="shared", show=False)
    server.wait_for(lambda stats: stats.in_flight == 1)
    for of in (common, batch[1].inputs):  # the next cell
        assert of is not None
        of["words"][0] = of["style"].words[0] = of["shelf"]["a"][0] = of["deep"]["in"][0][0] = "ice"
        of["table"].loc[0, "x"] = "ice"
        of["deep"]["set"].add("ice")
    inputs[1]["topic"] = "C"
    server.configure(hold=False)
    server.release()
    batch.wait(60)
    prompts = [request.prompt for request in server.stats(prompts=True).requests]
    assert ["tea tea tea tea tea tea and" in prompt for prompt in prompts] == [True, True]
    again = [{"topic": topic, **given()} for topic in ("A", "B")]
    resumed = cnb.kickoff_for_each(build, again, resume="shared", show=False)
    resumed.wait(60)
    assert [run.state.from_record for run in resumed] == [True, True]
    changed = cnb.kickoff_for_each(build, [{"topic": "A", **common}], resume="shared", show=False)
    changed.wait(60)
    assert not changed[0].state.from_record


def test_what_can_be_read_once_is_refused(server: Server) -> None:
    """A generator would be empty when the run is tried again."""
    with pytest.raises(cnb.BlueprintError, match=r'is a generator, which can be read once.*\{"words": list'):
        cnb.kickoff(lambda words: crews.one(llm(server)), {"words": (word for word in "ab")}, show=False)


def test_rows_of_different_crews_are_told_apart(server: Server) -> None:
    """By what is run where the inputs are the same, and by the values that a function brings with it."""
    shared = llm(server)
    named, other = crews.one(shared), crews.chain(shared, 1)
    same = [crews.one(shared), crews.one(shared)]
    for n, crew in enumerate(same):
        crew.name = "crew"
        crew.tasks[0].name, crew.tasks[0].description = None, f"Look into part {n} of topic={{topic}}"

    def labels(*given: Any) -> list[str]:
        return [plan.label for plan in plans_for(given)]

    def around(t: str) -> Any:
        return lambda: (t, named)[1]

    inputs = {"topic": "A"}
    assert labels((named, inputs), (other, inputs)) == ["one: topic=A", "chain: topic=A"]
    assert labels((named, inputs), (other, {"topic": "B"})) == ["topic=A", "topic=B"]
    first, second = labels((same[0], inputs), (same[1], inputs))
    assert (first, second) == (
        "Look into part 0 of topic={topic}: topic=A",
        "Look into part 1 of topic={topic}: topic=A",
    )
    assert labels(*(lambda t=t: named for t in "AB")) == ["t=A", "t=B"]
    assert labels(*(partial(lambda topic: named, topic=t) for t in "AB")) == ["topic=A", "topic=B"]
    assert labels(*map(around, "AB")) == ["t=A", "t=B"]

    def columns(*given: Any) -> list[dict[str, str]]:
        return [{column.name: column.value for column in plan.columns} for plan in plans_for(given)]

    assert columns(named, other) == [{"crew": "one"}, {"crew": "chain"}]
    assert columns((named, inputs), (other, inputs))[1] == {"crew": "chain", "topic": "A"}
    assert columns((named, inputs), (other, {"topic": "B"})) == [{"topic": "A"}, {"topic": "B"}]
    assert columns(*(lambda t=t: named for t in "AB")) == [{"t": "A"}, {"t": "B"}]
    assert columns(lambda: named) == [{"function": "<lambda>"}]
    assert [list(row) for row in columns((same[0], inputs), (same[1], inputs))] == [["task", "topic"]] * 2


def test_a_task_without_a_name_is_called_by_its_text_with_the_values(server: Server) -> None:
    """Not by the template, which is the same in all rows; braces that came with a value stay."""
    crew = crews.one(llm(server))
    crew.tasks[0].name = None
    batch = cnb.kickoff_for_each(crew, [{"topic": "A"}, {"topic": "{x}"}], show=False)
    batch.wait(60)
    assert [run.tasks[0].spec.name for run in batch] == [f"Research topic={t} and report" for t in ("A", "{x}")]


def test_a_run_whose_content_cannot_be_seen_is_run_and_its_row_says_why(server: Server) -> None:
    """The record has the run, but whether it is the same one nobody can tell."""
    shared = llm(server)
    words = (word for word in ("never", "read"))

    def build(topic: str) -> Crew:
        assert words
        return crews.one(shared)

    for _ in range(2):
        batch = cnb.kickoff_for_each(build, [{"topic": "A"}], name="blind", resume=True, show=False)
        batch.wait(60)
        told = [line.text for line in batch[0].state.log if "record" in line.text]
        assert told == ["run, not taken from the record: words (generator) cannot be looked into, and may have changed"]
        assert any("words (generator)" in note for note in batch.state().notes)
    assert server.stats().by_topic == {"A": 2}


def test_of_a_run_whose_content_is_seen_nothing_is_said(server: Server) -> None:
    """It comes from the record, or it is run as it was not there."""
    shared = llm(server)
    told: list[Any] = []
    for _ in range(2):
        batch = cnb.kickoff_for_each(crews.one(shared), [{"topic": "A"}], name="seen", resume=True, show=False)
        batch.wait(60)
        said = [line.text for line in batch[0].state.log if "record" in line.text]
        told.append((batch[0].state.from_record, said, batch.state().notes))
    assert told == [(False, [], ()), (True, [], ())]


def test_a_file_that_several_runs_write_is_told_of(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the board and by `check`; not where an input is in its name, of a crew or of a function, nor of one run."""
    monkeypatch.chdir(tmp_path)
    shared = llm(server)

    def notes(given: Any, *topics: str) -> list[str]:
        batch = cnb.kickoff_for_each(given, [{"topic": topic} for topic in topics], show=False)
        batch.wait(60)
        return [note for note in batch.state().notes if "write" in note]

    fixed, own = crews.one(shared, output_file="fixed/report.md"), crews.one(shared, output_file="own/{topic}.md")
    (told,) = notes(fixed, "A", "B", "C")
    assert told.startswith("Several runs write fixed/report.md, each over the one before.")
    assert notes(own, "A", "B") == notes(fixed, "A") == []
    assert notes(lambda topic: crews.one(shared, output_file=f"{topic}.md"), "A", "B") == []
    assert len(notes(lambda topic: crews.one(shared, output_file="fixed.md"), "A", "B")) == 1
    assert [f.code for f in cnb.check(fixed)] == ["fixed-output-file"]
    assert not cnb.check(own)
    assert not cnb.check((lambda topic: crews.one(llm(server), output_file=f"{topic}.md"), {"topic": "A"}))


def test_a_result_has_all_that_a_crew_output_has(server: Server) -> None:
    """By name, and with the same values; of a failed run each raises its error."""
    result = cnb.kickoff(crews.one(llm(server)), {"topic": "A"}, show=False).batch.wait(60)[0]
    names = [name for name in dir(type(result.output)) if not name.startswith("_")]
    names += list(type(result.output).model_fields)
    assert {"json", "model_dump", "tool_failures", "has_tool_failures", "usage_metrics", "raw"} <= set(names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, of names that it will give up
        assert [name for name in names if name != "json" and not hasattr(result, name)] == []
    assert result.model_dump() == result.output.model_dump()
    assert result.usage_metrics == result.output.usage_metrics
    assert result.tool_failures == []
    with pytest.raises(ValueError, match="No JSON output"):
        _ = result.json
    assert not hasattr(result, "no_such_name")
    server.configure(faults=[{"kind": 401, "share": 1.0}])
    failed = cnb.kickoff(crews.one(llm(server)), {"topic": "B"}, show=False).batch
    with pytest.raises(cnb.RunFailedError):
        failed.wait(60)[0].model_dump()
