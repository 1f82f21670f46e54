"""A sweep runs every cell, knows which run stands where, and tells which variant is better."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from tests.support import crews
from tests.support.server import llm as server_llm

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crewai import Crew

    from tests.support.server import Server

ROWS = [{"topic": f"T{n}", "gold": n} for n in range(8)]


def llm(words: str) -> cnb.OfflineLLM:
    return cnb.OfflineLLM(lambda _messages: words, latency=0, tokens_per_second=None, model=words)


def build(topic: str, llm: cnb.OfflineLLM) -> Crew:
    return crews.one(llm)


def right(output: Any, inputs: Mapping[str, Any]) -> bool:
    return "good" in output.raw


async def test_a_sweep_finds_the_better_llm() -> None:
    """Results go input by input, variant by variant, repeat by repeat; the better level is called better."""
    seen: list[dict[str, Any]] = []

    async def told(output: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(dict(inputs))
        return {"length": len(output.raw), "kind": "long" if len(output.raw) > 4 else "short"}

    batch = cnb.sweep(
        build, ROWS, {"llm": [llm("bad"), llm("good")]}, repeats=2, scores=[right, told], show=False, max_concurrency=4
    )
    results = await batch
    results.raise_for_errors()

    cells = [item.cell for item in results]
    assert [(c.input, c.variant["llm"], c.repeat) for c in cells if c is not None] == [
        (n, level, repeat) for n in range(8) for level in ("bad", "good") for repeat in range(2)
    ]
    assert all(set(inputs) == {"topic", "gold"} for inputs in seen), "a score does not see the variant"
    assert results.scores[2] == {"right": True, "told.length": 4.0, "told.kind": "short"}
    bad, good = results.summary()
    assert (bad["llm"], bad["runs"], bad["failed"], bad["right"], bad["right scored"]) == ("bad", 16, 0, 0.0, 16)
    assert (good["right"], good["right high"]) == (1.0, 1.0)
    assert good["right low"] < 0.75, "sixteen runs of eight inputs are eight witnesses"
    (row,) = results.versus("llm", score="right")
    assert (row["llm"], row["against"], row["verdict"], row["inputs"], row["inputs left out"]) == (
        ("good", "bad", "better", 8, 0)
    )
    assert [row["verdict"] for row in results.versus("llm", "right", baseline="good")] == ["worse"]
    frame = results.to_frame()
    assert list(frame.index.names) == ["input", "llm", "repeat"]
    assert frame.loc[(3, "good", 1), "score.right"]
    assert results.plot()._repr_png_().startswith(b"\x89PNG")


async def test_runs_start_with_the_variants_in_turn() -> None:
    """What is stopped early is balanced: each repeat of all cells begins before the next."""
    batch = cnb.sweep(build, ROWS[:2], {"llm": [llm("a"), llm("b")]}, repeats=2, show=False, max_concurrency=1)
    results = await batch

    order = sorted(results, key=lambda item: item.state.started or 0)
    cells = [item.cell for item in order if item.cell is not None]
    assert [(c.repeat, c.input, c.variant["llm"]) for c in cells] == [
        (repeat, n, level) for repeat in range(2) for n in range(2) for level in "ab"
    ]


async def test_resume_runs_only_what_is_new() -> None:
    """With a level and a repeat more, only the cells that they bring are run."""
    asked: list[str] = []

    def answer(messages: Any) -> str:
        asked.append(str(messages))
        return "an answer"

    model = cnb.OfflineLLM(answer, latency=0, tokens_per_second=None)

    def written(topic: str, tone: str) -> Crew:
        return crews.one(model)

    def sweep(tones: list[str], repeats: int) -> cnb.Batch:
        return cnb.sweep(written, ROWS[:2], {"tone": tones}, repeats=repeats, show=False, resume=True)

    await sweep(["dry", "warm"], 1)
    before = len(asked)
    results = await sweep(["dry", "warm", "kind"], 2)

    results.raise_for_errors()
    assert (before, len(asked) - before) == (4, 8)


async def test_failed_runs_and_scores_are_told() -> None:
    """A failed run leaves its pair on both sides; a score that raises or gives nonsense is an error in its place."""

    def breaks(output: Any, inputs: Mapping[str, Any]) -> Any:
        if inputs["gold"] == 1:
            raise KeyError("<b>gold</b>")
        return math.nan if inputs["gold"] == 2 else inputs["gold"]

    def failing(topic: str, tone: str) -> Crew:
        if (topic, tone) == ("T0", "warm"):
            raise ValueError("no such crew")
        return crews.one(llm("good"))

    results = await cnb.sweep(failing, ROWS, {"tone": ["dry", "warm"]}, show=False)
    await results.score(right, breaks)

    row, other = results.versus("tone")
    assert (row["verdict"], row["inputs"], row["inputs left out"], row["runs without score"]) == (
        ("no difference shown", 7, 1, 1)
    )
    assert (other["verdict"], other["inputs"]) == ("too few", 5)
    summary = results.summary()
    assert [line["failed"] for line in summary] == [0, 1]
    assert any("1 of 16 runs failed" in note for note in summary.notes)
    assert any("breaks failed on 4 runs" in note for note in summary.notes)
    assert "<b>gold" not in summary._repr_html_()
    assert "KeyError" in results.scores[2]["breaks"]
    assert "to take a mean of" in results.scores[4]["breaks"]


def test_what_would_change_nothing_is_refused() -> None:
    """A factor that reaches nothing starts no run, or fails its runs before a call."""
    crew = crews.one(llm("x"))
    with pytest.raises(cnb.BlueprintError, match="tone"):
        cnb.sweep(crew, ROWS, {"tone": ["dry"]}, show=False)
    for wrong in ({"llm": [llm("x")]}, {"llm:Writer": [llm("x")]}, {"llm": [None]}):
        with pytest.raises(cnb.BlueprintError, match="names of models"):
            cnb.sweep(crew, ROWS, wrong, show=False)
    with pytest.raises(cnb.OptionError, match="no role"):
        cnb.sweep(crew, ROWS, {"llm:": ["openai/a"]}, show=False)
    with pytest.raises(cnb.OptionError, match="twice"):
        cnb.sweep(build, ROWS, {"llm": ["a", "a"]}, show=False)
    with pytest.raises(cnb.OptionError, match="repeats"):
        cnb.sweep(build, ROWS, {"llm": ["a"]}, repeats=0, show=False)

    results = cnb.sweep(build, ROWS[:1], {"llm": [llm("x")], "tone": ["dry"]}, show=False).wait()
    assert "the factor tone changes nothing" in str(results.errors[0])


async def test_results_of_any_batch_can_be_scored() -> None:
    """Without factors there is one row for all runs; the plain join scores too."""
    results = await cnb.kickoff_for_each(crews.one(llm("good")), ROWS, show=False)
    await results.score(right)
    (row,) = results.summary()
    assert (row["runs"], row["right"]) == (8, 1.0)
    with pytest.raises(cnb.OptionError, match="no factor"):
        results.versus("llm")

    batch = cnb.sweep(build, ROWS, {"llm": [llm("good")]}, scores=[right], show=False)
    waited = await asyncio.to_thread(batch.wait)
    assert [scores["right"] for scores in waited.scores] == [True] * 8


THREE = ["openai/gpt-4o", "openai/gpt-4.1", "openai/gpt-4o-mini"]


def team(server: Server) -> Crew:
    """Three agents; nothing in it says that it is to be swept."""
    return crews.chain(server_llm(server, timeout=60), 3)


@pytest.mark.parametrize("is_factory", [True, False])
async def test_models_are_swept_without_a_word_in_the_crew(server: Server, is_factory: bool, tmp_path: Path) -> None:
    """Every model of the crew is the cell's: the server counts each exactly, and one more runs only its cells."""
    cnb.set_record(tmp_path / "record.sqlite")

    def build_team() -> Crew:
        return team(server)

    def models(levels: list[str]) -> cnb.Batch:
        crew = build_team if is_factory else build_team()
        return cnb.sweep(
            crew, [{"topic": f"T{n}"} for n in range(2)], {"llm": levels}, repeats=2, show=False, resume=True, name="m"
        )

    results = (await models(THREE)).raise_for_errors()
    asked = Counter(request.model for request in server.stats().requests)
    assert asked == {name.removeprefix("openai/"): 3 * 2 * 2 for name in THREE}
    assert {call.name for item in results for call in item.state.all_calls} == set(asked)
    assert all(item.cell is not None and item.cell.variant["llm"] in THREE for item in results)

    server.reset()
    (await models([*THREE, "openai/gpt-5"])).raise_for_errors()
    assert Counter(request.model for request in server.stats().requests) == {"gpt-5": 3 * 2 * 2}


async def test_one_role_is_put_on_other_models(server: Server) -> None:
    """The others stay on theirs; a role that is not there fails its runs before a call."""
    rows = [{"topic": "T"}]
    results = await cnb.sweep(team(server), rows, {"llm:Worker 1": THREE[:2]}, show=False)
    results.raise_for_errors()
    assert Counter(request.model for request in server.stats().requests) == {
        "gpt-4o": 1,
        "gpt-4.1": 1,
        "gpt-4o-mini": 4,
    }
    server.reset()
    results = await cnb.sweep(team(server), rows, {"llm:Nobody": THREE[:1]}, show=False)
    assert "Worker 1" in str(results.errors[0])
    assert not server.stats().requests


async def test_a_call_on_another_model_fails_its_cell(server: Server) -> None:
    """An LLM object that was made before, and is asked by code of the user's: no figure is of a mixture of models.

    The wrong model is not asked. The LLM objects of agents and of a manager are reached, whenever they were made.
    """
    made = server_llm(server)

    def checks(output: Any):
        try:
            made.call("Is it fine?")
        except Exception:  # who asks may take it for an answer
            return True, output.raw
        return True, output.raw

    def guarded() -> Crew:
        return crews.one(made, guardrail=checks)

    results = await cnb.sweep(guarded, [{"topic": "T"}], {"llm": ["openai/gpt-4.1"]}, show=False)
    assert "is on gpt-4o-mini, and not on openai/gpt-4.1" in str(results.errors[0])
    managed = crews.hierarchical(made)
    results = await cnb.sweep(managed, [{"topic": "T"}], {"llm": ["openai/gpt-4.1"]}, show=False)
    results.raise_for_errors()
    assert {request.model for request in server.stats().requests} == {"gpt-4.1"}
