"""Means clustered by input, and comparisons paired by input; the mathematics is scipy's and statsmodels'.

Repeats of one input are no independent witnesses, so they are averaged first: the input is what is counted.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Verdict = Literal["better", "worse", "no difference shown", "too few"]

LEVEL = 0.05
"""What an interval may miss, and how often a family of comparisons may find what is not there."""

TOO_FEW = 6
"""Inputs below which nothing is compared: that all of five go one way happens by chance in more than 5 %."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over inputs; the interval is NaN where one input alone says nothing of the others."""

    mean: float
    low: float
    high: float
    inputs: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One level against the baseline, over the inputs that both have."""

    mean: float
    low: float
    high: float
    inputs: int
    p: float
    """Corrected by Holm over the comparisons of its family."""
    verdict: Verdict


def by_input(pairs: Iterable[tuple[Any, float]]) -> dict[Any, float]:
    """The mean of each input's values.

    Args:
        pairs: An input and a value, one for each run.
    """
    found: dict[Any, list[float]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: math.fsum(values) / len(values) for key, values in found.items()}


def mean(pairs: Sequence[tuple[Any, float]], *, is_share: bool) -> Mean:
    """The mean of values over inputs, with its 95 % interval.

    Args:
        pairs: An input and a value, one for each run.
        is_share: Whether each value is a yes or a no.
    """
    means = np.array(list(by_input(pairs).values()))
    if not len(means):
        return Mean(math.nan, math.nan, math.nan, 0)
    low, high = share_interval(means, len(pairs)) if is_share else interval(means)
    return Mean(float(means.mean()), float(low), float(high), len(means))


def interval(means: Array) -> tuple[Any, Any]:
    """The 95 % interval of a mean, by Student's t.

    Args:
        means: One for each input, along the first axis; further axes are so many samples of their own.
    """
    if len(means) < 2:
        return np.full(means.shape[1:], math.nan), np.full(means.shape[1:], math.nan)
    low, high = _sample(means).tconfint_mean(LEVEL)
    return low, high


def share_interval(means: Array, values: int) -> tuple[Any, Any]:
    """The 95 % interval of a share, by Agresti and Coull on as many values as the clusters are worth.

    Args:
        means: As `interval` has them.
        values: How many yeses and noes they are the means of, in all.
    """
    from statsmodels.stats.proportion import proportion_confint

    inputs, share = len(means), means.mean(axis=0)
    variance = means.var(axis=0) / inputs
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where all say the same, nothing tells how alike repeats are: each input counts once.
        worth = np.where(variance > 0, share * (1 - share) / variance, inputs)
    worth = np.clip(worth, inputs, values)
    low, high = proportion_confint(share * worth, worth, LEVEL, method="agresti_coull")
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def differences(samples: Sequence[Mapping[Any, float]]) -> list[Difference]:
    """What each of a family of comparisons shows, corrected by Holm over those that have enough inputs.

    Args:
        samples: For each comparison, the difference from the baseline by input; more is better.
    """
    arrays = [np.array(list(sample.values()), dtype=float) for sample in samples]
    enough = [place for place, array in enumerate(arrays) if len(array) >= TOO_FEW]
    ps = dict(zip(enough, _holm([float(p_value(arrays[place])) for place in enough]), strict=True))
    found = []
    for place, array in enumerate(arrays):
        middle = float(array.mean()) if len(array) else math.nan
        low, high = interval(array)
        p = ps.get(place, math.nan)
        verdict: Verdict = "too few"
        if place in ps:
            verdict = "no difference shown" if p > LEVEL else "better" if middle > 0 else "worse"
        found.append(Difference(middle, float(low), float(high), len(array), p, verdict))
    return found


def p_value(sample: Array) -> Any:
    """How often differences like these, or larger ones, come of chance: by the paired t-test.

    Args:
        sample: A difference for each input, along the first axis; further axes are so many samples of their own.
    """
    from scipy.stats import binomtest

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of samples that do not vary, which are next
        p = np.asarray(_sample(sample).ttest_mean(0)[1])
    # Where all differ by the same, there is no scale for t; the sign test needs none.
    all_one_way = binomtest(len(sample), len(sample)).pvalue
    alike = np.ptp(sample, axis=0) <= 1e-12 * np.abs(sample).max(axis=0)
    return np.where(alike, np.where(np.abs(sample).max(axis=0) > 0, all_one_way, 1.0), p)


def _holm(ps: Sequence[float]) -> list[float]:
    if not ps:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(ps, LEVEL, method="holm")[1]]


def _sample(values: Array) -> Any:
    from statsmodels.stats.weightstats import DescrStatsW

    return DescrStatsW(values)
