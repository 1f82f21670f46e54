"""An estimate tells what a batch will take from a few of its runs, and those are not run again."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import crew_nb as cnb
from tests.support import crews
from tests.support.server import llm as talk

if TYPE_CHECKING:
    from tests.support.server import Server

ROWS = [{"topic": f"T{n}"} for n in range(12)]
ASKED: list[str] = []


def _llm(words: int = 1, **options: Any) -> cnb.OfflineLLM:
    def answer(messages: Any) -> str:
        topic = re.findall(r"topic=(T\d+)", str(messages))[-1]
        ASKED.append(topic)
        return f"{topic} " * words * (1 + int(topic[1:]) % 3)

    return cnb.OfflineLLM(answer, latency=0, tokens_per_second=None, **options)


def _build(topic: str, words: int = 1) -> Any:
    return crews.one(_llm(words))


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    ASKED.clear()


async def test_the_pilot_counts_as_done() -> None:
    """Four of twelve are run, spread over the inputs; the real call runs the other eight, and the sums are right."""
    found = await cnb.estimate(_build, ROWS, pilot=4, show=False)
    assert sorted(ASKED) == ["T0", "T3", "T6", "T9"]
    assert found.runs == 12
    assert found.calls is not None
    assert found.cost is not None
    assert (found.calls.about, found.calls.low, found.calls.high) == (12, 12, 12)
    assert found.cost.about == 0  # of the offline LLM
    text = repr(found)
    assert text.startswith("12 runs, from 4 of 4 that were started:\n  calls    12\n")
    assert f"resume={found.name!r}" in text

    results = await cnb.kickoff_for_each(_build, ROWS, resume=found.name, show=False)
    assert Counter(ASKED) == Counter({f"T{n}": 1 for n in range(12)})
    assert [item.state.from_record for item in results] == [n % 3 == 0 for n in range(12)]


def test_the_range_has_what_it_came_to() -> None:
    """Of tokens that differ from run to run."""
    rows = [{"topic": f"T{n}", "words": 40} for n in range(14)]
    found = cnb.estimate(_build, rows, pilot=6, show=False).wait(60)
    results = cnb.kickoff_for_each(_build, rows, show=False).wait(60)
    assert found.tokens is not None
    assert found.tokens.low is not None
    assert found.tokens.high is not None
    assert found.tokens.low < results.usage.total_tokens < found.tokens.high
    assert found.tokens.low < found.tokens.about < found.tokens.high


async def test_each_variant_of_a_sweep_is_tried_and_counted_by_its_own(server: Server) -> None:
    """A cheap and a dear LLM: what each took stands for its own cells, and the sweep takes over what was run."""
    cnb.set_price("cheap-1", 1.0, 1.0)
    cnb.set_price("dear-1", 100.0, 100.0)

    def build(topic: str, llm: str) -> Any:
        return crews.one(talk(server, model=f"openai/{llm}"))

    levels = ["cheap-1", "dear-1", "without-a-price"]
    found = await cnb.estimate(build, ROWS, pilot=2, over={"llm": levels}, repeats=2, show=False)
    assert found.batch is not None
    assert found.runs == 72
    given = [(run.inputs or {})["topic"] for run in found.batch]
    assert len(given) == len(set(given)) == 3, "one of each variant, on different inputs"
    assert found.cost is None
    assert "dollars  unknown" in repr(found)

    over = {"llm": levels[:2]}
    found = await cnb.estimate(build, ROWS, pilot=6, over=over, repeats=2, show=False)
    results = await cnb.sweep(build, ROWS, over, repeats=2, resume=found.name, show=False)
    assert sum(item.state.from_record for item in results) == 6
    assert found.cost is not None
    assert found.batch is not None
    spent = (results.cost or 0) + (found.batch.results.cost or 0)
    assert found.cost.about == pytest.approx(spent, rel=0.1)


def test_nothing_is_run_for_a_pilot_of_none() -> None:
    """The crew alone tells how many calls there will be at the least."""
    found = cnb.estimate(crews.chain(_llm()), ROWS, pilot=0).wait()
    assert (found.batch, found.name, found.tokens, found.cost, found.seconds) == (None, "", None, None, None)
    assert found.calls is not None
    assert found.calls.about == 36
    assert repr(found) == "12 runs, at least 36 calls."
    assert ASKED == []


def test_failed_runs_tell_nothing() -> None:
    """And are not taken for done; a pilot larger than the batch is the batch."""
    found = cnb.estimate(crews.one(_llm(fail_rate=1.0)), ROWS[:2], pilot=5, max_retries=0, show=False).wait(60)
    assert found.batch is not None
    assert len(found.batch) == 2
    assert (found.calls, found.tokens, found.cost, found.seconds) == (None, None, None, None)
    assert "None of the 2 that were started is done" in repr(found)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"pilot": -1}, "pilot is -1"), ({"pilot": True}, "pilot is True"), ({"repeats": 2}, "over=")]
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], words: str) -> None:
    """Before anything runs."""
    with pytest.raises(cnb.OptionError, match=words):
        cnb.estimate(_build, ROWS, show=False, **wrong)
    assert ASKED == []
