"""Bad input gets a clear error that says what to write instead, and nothing is half-started."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import Crew

import crew_nb as cnb
from tests.support import crews
from tests.support.server import Server, llm


async def _async_factory() -> Crew:
    raise AssertionError("never called")


def test_crews_that_are_none(server: Server) -> None:
    """Whatever is not a crew is refused with what to write instead."""
    crew = crews.one(llm(server))
    cases: list[tuple[Any, str]] = [
        (lambda: cnb.gather(show=False), r"cnb\.gather\(\*crews\)"),
        (lambda: cnb.gather([crew], show=False), "with the star"),
        (lambda: cnb.gather("crew", show=False), "a function that returns one"),
        (lambda: cnb.gather(None, show=False), "a function that returns one"),
        (lambda: cnb.gather(crew.akickoff(inputs={"topic": "x"}), show=False), "Give the crew itself"),
        (lambda: cnb.gather(_async_factory, show=False), "async factory"),
        (lambda: cnb.gather(crew.agents[0], show=False), "an Agent is not a Crew"),
        (lambda: cnb.gather(crew.tasks[0], show=False), "a Task is not a Crew"),
        (lambda: cnb.gather(Crew, show=False), "is a class"),
        (lambda: cnb.gather((crew, "AI"), show=False), "not a dict"),
        (lambda: cnb.gather(crew, show=False), "needs topic"),
        (lambda: cnb.kickoff(crew, {"subject": "AI"}, show=False), '"topic": ...'),
        (lambda: cnb.kickoff(crew, {"topic": object()}, show=False), "prompt cannot show"),
        (lambda: cnb.kickoff_for_each(crew, [], show=False), "inputs is empty"),
        (lambda: cnb.kickoff_for_each(crew, {"topic": "AI"}, show=False), "one dict per run"),
        (lambda: cnb.kickoff_for_each(crew, ["AI"], show=False), r"inputs\[0\]"),
        (lambda: cnb.kickoff_for_each(crew, "AI", show=False), "one dict per run"),
        (lambda: cnb.kickoff_for_each(lambda topic: crew, [{"subject": 1}], show=False), "needs topic"),
    ]
    for call, words in cases:
        with pytest.raises(cnb.BlueprintError, match=words):
            call()
    assert server.stats().requests == []


def test_options_that_cannot_be_meant(server: Server) -> None:
    """A wrong option is refused by name, with an example."""
    crew = crews.one(llm(server))
    for options, words in [
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"max_concurrency": True}, "max_concurrency"),
        ({"timeout": -1}, "timeout=60"),
        ({"max_errors": 1.5}, "max_errors=0.1"),
        ({"max_errors": 0}, "fail_fast=True"),
        ({"max_cost": 0}, "US dollars"),
        ({"stream": "yes"}, "stream"),
        ({"n_jobs": 4}, "Did you mean max_concurrency"),
        ({"time_out": 4}, "Did you mean timeout"),
    ]:
        with pytest.raises(cnb.OptionError, match=words):
            cnb.kickoff(crew, {"topic": "x"}, **{"show": False, **options})
    assert server.stats().requests == []


def test_a_factory_whose_crew_needs_more_fails_in_its_row(server: Server) -> None:
    """A placeholder that no input fills is found before anything is asked of the LLM."""
    shared = llm(server)
    batch = cnb.kickoff_for_each(lambda: crews.one(shared), [{"subject": "x"}], show=False)
    results = batch.wait(30)
    assert results[0].status == "failed"
    assert "needs topic" in str(results[0].error)
    assert server.stats().requests == []


def test_odd_input_values_are_made_plain(server: Server) -> None:
    """Dates, decimals, paths and NumPy values reach the prompt as text and numbers."""
    import datetime
    import decimal
    import pathlib

    import numpy as np

    inputs = {
        "topic": datetime.date(2026, 11, 21),
        "a": np.float64(1.5),
        "b": np.array([1, 2]),
        "c": decimal.Decimal("2.5"),
        "d": pathlib.Path("x/y"),
        "e": {"set"},
    }
    result = cnb.kickoff(crews.one(llm(server)), inputs, show=False).wait(30)
    assert "topic=2026-11-21" in result.raw


async def test_inputs_that_reach_no_text_of_a_crew_are_said():
    """A built crew without their placeholders runs all the same, and the batch says that its runs are all alike."""
    crew = crews.one(cnb.OfflineLLM(latency=0.0, tokens_per_second=None))
    crew.tasks[0].description = "Two days in Rome"
    batch = cnb.kickoff_for_each(crew, [{"city": "Rome"}, {"city": "Oslo"}], show=False)
    assert [r.status for r in await batch] == ["done", "done"]
    (note,) = (n for n in batch.state().notes if "{city}" in n)
    assert "pass the function that builds the crew" in note
    fine = cnb.kickoff_for_each(crews.one(crew.agents[0].llm), [{"topic": "Rome"}], show=False)
    await fine
    assert not any("change nothing" in n for n in fine.state().notes)


def test_what_to_write_names_only_what_the_function_takes():
    """A wrong key is not part of the advice."""

    def build(city: str, days: int) -> None: ...

    with pytest.raises(cnb.BlueprintError, match=r'have only town\. Write inputs=\{"city": \.\.\., "days": \.\.\.\}'):
        cnb.kickoff_for_each(build, [{"town": "Rome"}])
