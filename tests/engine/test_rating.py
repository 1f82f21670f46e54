"""What a person rates, shuffled and blind, is a score that is on disk at once; how far two agree is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

import crew_nb as cnb
from tests.support import crews

if TYPE_CHECKING:
    from crewai import Crew

ROWS = [{"topic": f"T{n}"} for n in range(8)]
LEVELS = ("secret-a", "secret-b", "secret-c")


def llm(model: str, words: str = "an answer") -> cnb.OfflineLLM:
    return cnb.OfflineLLM(lambda _messages: words, latency=0, tokens_per_second=None, model=model)


def build(topic: str, llm: cnb.OfflineLLM) -> Crew:
    return crews.one(llm)


def sweep(levels: int = 2, **given: Any) -> cnb.Batch:
    return cnb.sweep(build, ROWS, {"llm": [llm(name) for name in LEVELS[:levels]]}, show=False, **given)


async def test_ratings_are_scores_and_blind() -> None:
    """Each done output comes once, in an order of its own, with inputs and text and no word of its variant."""
    results = await sweep()
    rating = results.rate()
    assert len(rating) == 16
    order = []
    while rating.item is not None:
        order.append(rating.item)
        shown = json.dumps(rating.shown())
        assert "an answer" in shown
        assert "secret" not in shown
        rating.say(5 if rating.item[0] % 2 else 2, note="why" if len(order) == 1 else "")
    assert sorted(order) == [(n,) for n in range(16)]
    assert order != sorted(order)
    assert [row["rating"] for row in results.scores] == [2.0, 5.0] * 8
    assert results.reasons[order[0][0]] == {"rating": "why"}
    (row,) = results.versus("llm", "rating")
    assert (row["llm"], row["verdict"]) == ("secret-b", "better")
    with pytest.raises(cnb.OptionError, match="all of them"):
        rating.say(1)


async def test_rating_goes_on_where_it_was_left() -> None:
    """What was rated is on disk at each key; a later kernel has it, undoes it, and shows the rest only."""
    results = await sweep(name="rated")
    rating = results.rate("ann")
    for level in (1, 2, 3, 4):
        rating.say(level)
    rating.undo()
    undone = rating.item
    assert rating.shown()["said"] == "4"

    loaded = cnb.load("rated")
    again = loaded.rate("ann")
    assert (again.done, len(again), again.item) == (3, 16, undone), "as it was left, also what was taken back"
    again.say(5, "better")
    assert cnb.load("rated").rate("ann").done == 4
    assert [row.get("ann") for row in cnb.load("rated").scores].count(5.0) == 1
    assert loaded.rate("bob").done == 0


async def test_ratings_outlive_a_resumed_sweep() -> None:
    """The same cell with a level more keeps what was rated, each rating with its own output."""
    results = await sweep(2, name="grown", resume=True)
    rating = results.rate()
    for _ in range(5):
        assert rating.item is not None
        rating.say(rating.item[0] % 2 + 1)
    more = await sweep(3, name="grown", resume=True)
    said = [(item.cell.variant["llm"], row.get("rating")) for item, row in zip(more, more.scores, strict=True)]  # type: ignore[union-attr]
    assert sum(level is not None for _, level in said) == 5
    assert all(level == {"secret-a": 1.0, "secret-b": 2.0}[name] for name, level in said if level is not None)
    assert len(more.rate()) == 24
    assert cnb.load("grown").scores == more.scores


async def test_two_side_by_side() -> None:
    """Each pair of a factor's levels over the same input comes once; the score is the share that a run has won."""
    results = await sweep(3)
    rating = results.rate("side", pairs="llm")
    assert len(rating) == 24
    sides = set()
    first = rating.item
    rating.say("left")
    rating.undo()
    assert rating.item == first
    assert not any("side" in row for row in results.scores), "on both sides"
    rating.say("tie")
    while rating.item is not None:
        left, right = rating.item
        assert left // 3 == right // 3, "of one input"
        sides.add(left < right)
        rating.say("left" if left > right else "right")
    assert sides == {True, False}, "which stands left is left to chance"
    assert results.rate("side", pairs="llm").item is None
    wins = [row["side"] for row in results.scores]
    assert sum(wins) == pytest.approx(12)
    assert wins.count(1.0) >= 6
    for wrong in ({"pairs": "tone"}, {}, {"scale": (1, 40)}, {"scale": 3}, {"name": " "}):
        with pytest.raises(cnb.OptionError):
            results.rate(**{"name": "side", **wrong})


async def test_agreement_is_statsmodels() -> None:
    """Kappa of two people, weighted for numbers, is what statsmodels gives of the same table; of unlike scales none."""
    results = await sweep()
    rng = np.random.default_rng(4)
    table = np.zeros((5, 5), dtype=int)
    said: dict[int, int] = {}
    ann, bob = results.rate("ann"), results.rate("bob")
    while ann.item is not None:
        said[ann.item[0]] = int(rng.integers(1, 6))
        ann.say(said[ann.item[0]])
    while bob.item is not None:
        level, first = int(rng.integers(1, 6)), said[bob.item[0]]
        level = first if rng.random() < 0.5 else level
        table[first - 1, level - 1] += 1
        bob.say(level)
    (row,) = results.agreement("ann", "bob")
    wanted = cohens_kappa(table)
    assert row["outputs"] == 16
    assert row["agree"] == np.trace(table) / 16
    assert (row["kappa"], row["kappa low"], row["kappa high"]) == (
        pytest.approx((wanted.kappa, wanted.kappa_low, wanted.kappa_upp))
    )
    assert row["weighted kappa"] == pytest.approx(cohens_kappa(table, wt="quadratic", return_results=False))
    assert f"kappa {wanted.kappa:,.3g}" in bob.shown()["words"][0]

    def good(output: Any, inputs: Any) -> bool:
        return True

    await results.score(good)
    with pytest.raises(cnb.OptionError, match="one kind"):
        results.agreement("ann", "good")
    with pytest.raises(cnb.OptionError, match="no score"):
        results.agreement("ann", "nobody")


async def test_a_pair_agrees_with_what_scores_one_by_one() -> None:
    """Who saw two side by side is held against which of the two a judge scores higher."""

    def length(output: Any, inputs: Any) -> int:
        return len(output.raw)

    levels = [llm("x", "short"), llm("y", "longer words")]
    results = await cnb.sweep(build, ROWS, {"llm": levels}, scores=[length], show=False)
    rating = results.rate("side", pairs="llm")
    while rating.item is not None:
        left = rating.item[0]
        better = "left" if results[left].raw == "longer words" else "right"
        rating.say("tie" if rating.done == 0 else better)
    (row,) = results.agreement("side", "length")
    assert (row["outputs"], row["agree"]) == (8, 7 / 8)


async def test_hostile_outputs_are_harmless() -> None:
    """Markup is shown as text, a megabyte is cut, and a secret is not told; nothing where no run is done."""
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>" + "x" * 1_000_000
    results = await cnb.kickoff_for_each(crews.one(llm("m", hostile)), ROWS[:1], show=False)
    shown = json.dumps(results.rate().shown())
    assert "<script" not in shown
    assert "<img" not in shown
    assert len(shown) < 200_000
    failed = await cnb.kickoff_for_each(crews.one(cnb.OfflineLLM(lambda _: 1 / 0)), ROWS[:1], show=False)
    empty = failed.rate()
    assert (len(empty), empty.item) == (0, None)
    assert empty.shown()["total"] == 0
