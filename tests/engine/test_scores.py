"""Scores of any kind, judges and evaluators: each in its place, through the gate, whatever it gives or does."""

from __future__ import annotations

import asyncio
import enum
import json
import sys
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import BaseModel

import crew_nb as cnb
from crew_nb._engine.engine import engine
from tests.support import crews

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crewai import Crew

ROWS = [{"topic": f"T{n}"} for n in range(6)]


def llm(words: str) -> cnb.OfflineLLM:
    return cnb.OfflineLLM(lambda _messages: words, latency=0, tokens_per_second=None, model=words)


def build(topic: str, llm: cnb.OfflineLLM) -> Crew:
    return crews.one(llm)


class Judging:
    """An LLM that judges, and keeps what it was asked."""

    def __init__(self, answer: Any = None) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        self.answer = answer
        self.llm = cnb.OfflineLLM(self._answer, latency=0, tokens_per_second=None, model="the-judge")

    def _answer(self, messages: list[dict[str, Any]]) -> Any:
        self.asked.append(messages)
        if self.answer is not None:
            return self.answer
        output = json.loads(messages[-1]["content"])["output"]
        return json.dumps({"reason": f"It says {output}.", "score": 5 if "good" in output else 1})


async def test_a_judge_scores_at_once_and_never_sees_the_variant() -> None:
    """It gets rubric, examples, inputs and output; its score, reason and cost have places of their own."""
    judging = Judging()
    judge = cnb.judge("Is it good?", judging.llm, (1, 5), [("nice", 4, "nice is near")], name="quality")
    levels = [llm("bad words"), llm("good words")]
    results = await cnb.sweep(build, ROWS, {"llm": levels}, scores=[judge], show=False)

    assert [row["quality"] for row in results.scores] == [1.0, 5.0] * 6
    assert results.reasons[1] == {"quality": "It says good words."}
    (row,) = results.versus("llm")
    assert row["verdict"] == "better"
    assert len(judging.asked) == 12
    assert all(json.loads(messages[-1]["content"])["inputs"].keys() == {"topic"} for messages in judging.asked)
    assert "nice is near" in str(judging.asked[0])
    assert results.usage.successful_requests == 12, "the runs' own calls only"
    assert results.scoring_usage.successful_requests == 12
    assert results.scoring_cost == 0.0
    assert any("Judges took" in note for note in results.summary().notes)
    assert results.to_frame()["score.quality.reason"].iloc[0] == "It says bad words."


@pytest.mark.parametrize(
    ("scale", "answer", "said"),
    [
        ((1, 5), '{"reason": "", "score": 9}', "not on its scale"),
        ((1, 5), "I would say four", "No JSON"),
        (["bad", "good"], '{"reason": "", "score": "great"}', "score"),
        (bool, ValueError("down"), "down"),
    ],
)
async def test_a_bad_answer_of_a_judge_is_an_error_in_its_place(scale: Any, answer: Any, said: str) -> None:
    """What is not on the scale, no form at all, or an error of the provider's is told where the score would be."""
    results = await cnb.kickoff_for_each(crews.one(llm("good")), ROWS[:1], show=False)
    await results.score(cnb.judge("Is it good?", Judging(answer).llm, scale))
    assert said in results.scores[0]["judge"]


async def test_a_judge_keeps_to_the_budget_of_the_batch() -> None:
    """What the runs have spent counts: once the budget is reached, no judge is asked."""
    judging = Judging()
    batch = cnb.kickoff_for_each(crews.one(llm("good")), ROWS, show=False, max_total_tokens=10_000, max_concurrency=1)
    results = await batch
    spent = results.usage.total_tokens
    batch = cnb.kickoff_for_each(
        crews.one(llm("good")), ROWS, show=False, max_total_tokens=spent + 1, max_concurrency=1
    )
    results = (await batch).raise_for_errors()
    await results.score(cnb.judge("Is it good?", judging.llm, (1, 5)))
    assert len(judging.asked) == 1
    assert sum("max_total_tokens" in str(row["judge"]) for row in results.scores) == 5


async def test_a_judge_reads_words_and_can_be_tried_by_hand() -> None:
    """One that answers in prose around its JSON is understood."""
    judge = cnb.judge("Which?", Judging('Here: ```json\n{"reason": "r", "score": "good"}\n```').llm, ["bad", "good"])
    assert await judge("an output", {"topic": "T"}) == {"score": "good", "reason": "r"}


def test_what_cannot_be_a_judge_is_refused() -> None:
    """A rubric, an LLM and a scale that can be meant."""
    for given in ({"rubric": " "}, {"llm": None}, {"scale": (5, 1)}, {"scale": "abc"}, {"scale": 3}):
        with pytest.raises(cnb.OptionError):
            cnb.judge(**{"rubric": "r", "llm": "openai/x", **given})
    with pytest.raises(cnb.OptionError, match="examples"):
        cnb.judge("r", "openai/x", (1, 5), [("text", 9)])


async def test_evaluators_of_pydantic_evals_are_scores() -> None:
    """As they are: their names, their reasons, and the case's expected output from the input of that name."""
    from pydantic_evals.evaluators import Contains, EqualsExpected, EvaluationReason, Evaluator, EvaluatorContext

    class Length(Evaluator):
        def evaluate(self, ctx: EvaluatorContext) -> Any:
            return {"words": EvaluationReason(len(ctx.output.split()), "counted"), "quick": ctx.duration < 60}

    rows = [{"topic": "a", "expected_output": "good"}, {"topic": "b", "expected_output": "bad"}]
    results = await cnb.kickoff_for_each(crews.one(llm("good")), rows, show=False)
    await results.score(EqualsExpected(), Contains("oo"), Length())
    assert [row["EqualsExpected"] for row in results.scores] == [True, False]
    assert results.scores[0]["Contains"] is True
    assert (results.scores[0]["Length.words"], results.scores[0]["Length.quick"]) == (1.0, True)
    assert results.reasons[0]["Length.words"] == "counted"


@pytest.mark.parametrize("saved", [True, False])
async def test_cells_and_scores_are_kept(saved: bool, tmp_path: Path) -> None:
    """What is read back from a file, or from the record in a later kernel, is compared as it was; a part of it, too."""
    cnb.set_record(tmp_path / "record.sqlite")

    def right(output: Any, inputs: Mapping[str, Any]) -> bool:
        return "good" in output.raw

    judge = cnb.judge("Is it good?", Judging().llm, (1, 5))
    levels = [llm("bad words"), llm("good words")]
    results = await cnb.sweep(build, ROWS, {"llm": levels}, scores=[right, judge], show=False, name="kept")
    await asyncio.wrap_future(engine.submit(asyncio.sleep(0)))  # what the scores have queued is there

    if saved:
        results.save(tmp_path / "file")
        loaded = cnb.load(tmp_path / "file")
        part = results[3:6]
        part.save(tmp_path / "part")
        again = cnb.load(tmp_path / "part")
        assert again.scores == part.scores
        assert len(again.summary()) == 2
    else:
        loaded = cnb.load("kept")
    assert loaded.scores == results.scores
    assert loaded.reasons == results.reasons
    assert loaded.versus("llm").rows == results.versus("llm").rows
    assert loaded.to_frame().index.equals(results.to_frame().index)
    assert loaded.scoring_usage == results.scoring_usage


async def test_a_report_and_a_brief_tell_what_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, inputs, tables, plot, best, worst and failed runs; nothing in them runs, and no secret is told."""
    monkeypatch.setenv("SOME_API_KEY", "sk-verysecret123456789")
    hostile = "<script>alert(1)</script> good | sk-verysecret123456789"

    def failing(topic: str, llm: cnb.OfflineLLM) -> Crew:
        if topic == "T0":
            raise ValueError("<img src=x onerror=alert(2)>")
        return crews.one(llm)

    def right(output: Any, inputs: Mapping[str, Any]) -> bool:
        return "good" in output.raw

    results = await cnb.sweep(
        failing, ROWS, {"llm": [llm("bad"), llm(hostile)]}, scores=[right], show=False, name="<b>tides</b>"
    )
    page = results.report(tmp_path / "report.html").read_text()
    brief = results.brief()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "<b>" not in page
    assert page.count("data:image/png;base64,") == 1
    for text in (page, brief):
        assert "verysecret" not in text
        assert "crewai" in text
        assert "T5" in text
        assert all(word in text for word in ("best", "worst", "failed", "Versus: llm"))
    assert all(line.startswith("    ") for line in brief.splitlines() if "<img" in line), "code, if anything"
    (await cnb.kickoff_for_each(crews.one(llm("good")), ROWS[:1], show=False)).brief()


async def test_two_batches_are_compared_where_they_differ() -> None:
    """By inputs, wherever they stand; what is the same is not shown, what has no counterpart is counted."""

    def build_on(word: str) -> Any:
        return lambda topic: crews.one(llm(word if topic == "T1" else "alike"))

    old = await cnb.kickoff_for_each(build_on("old <b>"), ROWS, show=False)
    new = await cnb.kickoff_for_each(build_on("new"), ROWS[:3][::-1], show=False)
    found = old.compare(new)
    assert found.text.startswith("1 of 3 runs over the same inputs differ; 3 runs have no counterpart")
    assert "alike" not in found.text
    assert "<b>" not in found.html
    assert old.compare(old).text.startswith("0 of 6")
    for wrong in (0, "another"):
        with pytest.raises(cnb.OptionError):
            old.compare(wrong)


class _Grade(enum.Enum):
    FINE = "fine"


class _Model(BaseModel):
    depth: int = 2


async def test_what_a_score_gives_or_does_is_told_in_its_cell() -> None:
    """Numbers of any library and models count; nonsense, exits and hangs are errors in their place."""
    never = threading.Event()
    loop: dict[str, Any] = {}
    loop["again"] = loop

    async def waits(output: Any, inputs: Any) -> Any:
        import asyncio

        await asyncio.Event().wait()

    gives: dict[str, Any] = {
        "decimal": Decimal("0.5"),
        "numpy": np.bool_(True),
        "model": _Model(),
        "grade": _Grade.FINE,
        "half": "a\udc80",
        "array": np.zeros(3),
        "huge": 10**400,
        "ring": loop,
        "many": {str(n): n for n in range(200)},
        "name": {"x" * 500: 1},
        "nothing": None,
    }

    def giving(name: str) -> Any:
        def score(output: Any, inputs: Mapping[str, Any]) -> Any:
            return gives[name]

        score.__name__ = name
        return score

    def leaves(output: Any, inputs: Any) -> None:
        sys.exit("enough")

    def empty(output: Any, inputs: Any) -> Any:
        return next(iter(()))

    def hangs(output: Any, inputs: Any) -> None:
        never.wait()

    class Callable:
        async def __call__(self, output: Any, inputs: Any) -> float:
            return 3

    results = await cnb.kickoff_for_each(crews.one(llm("good")), ROWS[:3], show=False)
    await results.score(*map(giving, gives), leaves, empty, Callable())
    try:
        await results.score(hangs, waits, timeout=0.05)
    finally:
        never.set()
    found = results.scores[0]
    assert (
        found["decimal"],
        found["numpy"],
        found["model.depth"],
        found["grade"],
        found["half"],
        found["Callable"],
    ) == ((0.5, True, 2.0, "fine", "a?", 3.0))
    for name in ("array", "huge", "ring", "many", "name", "nothing", "leaves", "empty"):
        assert isinstance(found[name], str), name
    assert "longer than 0.05 s" in found["hangs"]
    assert "longer than 0.05 s" in found["waits"]
    assert "not asked: it hung on runs 0, 1" in results.scores[2]["hangs"]
    results.summary()
