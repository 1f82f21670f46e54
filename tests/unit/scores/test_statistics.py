"""Intervals cover what they say, and comparisons find what is there: by simulation, with a seed."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from crew_nb._scores import statistics as _statistics

if TYPE_CHECKING:
    from collections.abc import Callable

TRIALS = 2_000
SIZES = list(itertools.product((10, 30, 100), (1, 3)))
SHARES = np.arange(0.05, 0.96, 0.05)
Interval = tuple[np.ndarray, np.ndarray]


def _normal(rng: np.random.Generator, inputs: int, repeats: int) -> np.ndarray:
    """Values around 0.7 by (input, repeat, trial): inputs differ among each other as much as their repeats do."""
    return 0.7 + rng.normal(size=(inputs, 1, TRIALS)) + rng.normal(size=(inputs, repeats, TRIALS))


def _shares(rng: np.random.Generator, inputs: int, repeats: int, p: float, alike: float = 0.3) -> np.ndarray:
    """Yes and no by (input, repeat, trial); `alike` is the correlation of the repeats of one input."""
    of_input = rng.beta(p * (1 / alike - 1), (1 - p) * (1 / alike - 1), size=(inputs, 1, TRIALS))
    return (rng.random((inputs, repeats, TRIALS)) < of_input).astype(float)


def _covered(found: Interval, truth: float) -> float:
    low, high = found
    return float(((low <= truth) & (truth <= high)).mean())


def _coverages(seed: int, normal: Callable[..., Interval], share: Callable[..., Interval]) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"normal": [], "share": []}
    for inputs, repeats in SIZES:
        found["normal"].append(_covered(normal(_normal(rng, inputs, repeats)), 0.7))
        found["share"] += [_covered(share(_shares(rng, inputs, repeats, p)), p) for p in SHARES]
    return found


def _holds(found: dict[str, list[float]]) -> bool:
    return all(0.93 <= np.mean(each) <= 0.97 and min(each) >= 0.90 for each in found.values())


def _clustered(values: np.ndarray) -> Interval:
    return _statistics.interval(values.mean(axis=1))


def _clustered_share(values: np.ndarray) -> Interval:
    return _statistics.share_interval(values.mean(axis=1), values.shape[0] * values.shape[1])


@pytest.mark.parametrize("seed", [1, 2])
def test_intervals_cover(seed: int) -> None:
    """95 % intervals hold the truth in 93 to 97 % on average, and nowhere in less than 90."""
    found = _coverages(seed, _clustered, _clustered_share)

    assert _holds(found), {kind: (np.mean(each), min(each)) for kind, each in found.items()}


def test_intervals_that_forget_the_clusters_do_not() -> None:
    """The same simulation finds out an interval that takes each repeat for an input of its own."""
    flat = [lambda v: v.reshape(-1, TRIALS)]

    found = _coverages(
        1,
        lambda values: _statistics.interval(flat[0](values)),
        lambda values: _statistics.share_interval(flat[0](values), values.shape[0] * values.shape[1]),
    )

    assert not _holds(found)
    assert min(found["normal"]) < 0.90
    assert min(found["share"]) < 0.90


@pytest.mark.parametrize(("inputs", "repeats"), SIZES)
@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize("kind", ["normal", "share"])
def test_what_is_not_there_is_found_in_five_percent(kind: str, levels: int, inputs: int, repeats: int) -> None:
    """Where no level differs, at most 5 % of the families of comparisons say so (and 1.5 points for the simulation)."""
    rng = np.random.default_rng(inputs * 100 + repeats)
    if kind == "normal":
        shared = rng.normal(size=(1, inputs, 1, TRIALS))
        values = shared + rng.normal(size=(levels, inputs, repeats, TRIALS))
    else:
        shared = rng.beta(2, 2, size=(1, inputs, 1, TRIALS))
        values = (rng.random((levels, inputs, repeats, TRIALS)) < shared).astype(float)
    means = values.mean(axis=2)

    ps = np.array([_statistics.p_value(means[level] - means[0]) for level in range(1, levels)])

    # The least of Holm's corrected values is Bonferroni's.
    assert (ps.min(axis=0) * (levels - 1) <= _statistics.LEVEL).mean() <= 0.065


def test_what_is_there_is_found() -> None:
    """A difference as large as its spread is found by 30 inputs in nearly every family, half as large in most."""
    rng = np.random.default_rng(5)
    found = [
        (_statistics.p_value(rng.normal(size=(30, TRIALS)) + effect) <= _statistics.LEVEL).mean() for effect in (1, 0.5)
    ]

    assert found[0] > 0.99
    assert found[1] > 0.7


def test_a_family_is_corrected_by_holm() -> None:
    """The verdicts are those of scipy's paired test, with the smallest p times the number of comparisons."""
    rng = np.random.default_rng(3)
    base, near, far = (rng.normal(m, 1, 20) for m in (0, 0.1, 2))
    found = _statistics.differences([dict(enumerate(near - base)), dict(enumerate(far - base))])

    ps = [stats.ttest_rel(near, base).pvalue, stats.ttest_rel(far, base).pvalue]
    assert found[1].p == pytest.approx(2 * ps[1])
    assert found[0].p == pytest.approx(max(ps[0], 2 * ps[1]))
    assert [d.verdict for d in found] == ["no difference shown", "better"]
    assert (found[1].low, found[1].high) == pytest.approx(stats.ttest_rel(far, base).confidence_interval(0.95))


def test_a_few_inputs_are_too_few() -> None:
    """Below six inputs nothing is called better; differences that are all the same are judged by their sign."""
    assert [d.verdict for d in _statistics.differences([dict.fromkeys(range(5), 1.0)])] == ["too few"]
    assert [d.verdict for d in _statistics.differences([dict.fromkeys(range(6), -1.0)])] == ["worse"]
    assert [d.verdict for d in _statistics.differences([dict.fromkeys(range(30), 0.0)])] == ["no difference shown"]
    assert [d.verdict for d in _statistics.differences([{}])] == ["too few"]
    assert _statistics.differences([]) == []


def test_inputs_count_and_repeats_do_not() -> None:
    """The mean weighs each input the same however often it was run; one input has no interval, a thousand noes have."""
    found = _statistics.mean([("a", 1.0), ("a", 1.0), ("a", 1.0), ("b", 0.0)], is_share=False)
    assert (found.mean, found.inputs) == (0.5, 2)
    assert math.isnan(_statistics.mean([("a", 1.0)], is_share=False).low)
    assert math.isnan(_statistics.mean([], is_share=True).mean)
    noes = _statistics.mean([(n, 0.0) for n in range(1000)], is_share=True)
    assert noes.low == 0.0
    assert 0 < noes.high < 0.01
