"""Bad input gets a clear error that says what to write instead, and nothing is half-started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from crewai import Crew
from pydantic import BaseModel, ConfigDict

import crew_nb as cnb
from tests.support import crews
from tests.support.server import ROOT, Server, llm

if TYPE_CHECKING:
    from pathlib import Path


async def _async_factory() -> Crew:
    raise AssertionError("never called")


def test_crews_that_are_none(server: Server) -> None:
    """Whatever is not a crew is refused with what to write instead."""
    crew = crews.one(llm(server))
    cases: list[tuple[Any, str]] = [
        (lambda: cnb.gather(show=False), "was given no crew"),
        (lambda: cnb.gather([crew], show=False), "with the star"),
        (lambda: cnb.gather("crew", show=False), "a function that returns one"),
        (lambda: cnb.gather(None, show=False), "a function that returns one"),
        (lambda: cnb.gather(crew.akickoff(inputs={"topic": "x"}), show=False), "Give the crew itself"),
        (lambda: cnb.gather(_async_factory, show=False), "async factory"),
        (lambda: cnb.gather(crew.agents[0], show=False), "needs messages"),
        (lambda: cnb.gather(crew.tasks[0], show=False), "a Task is not a Crew"),
        (lambda: cnb.gather(Crew, show=False), "is a class"),
        (lambda: cnb.gather((crew, "AI"), show=False), "not a dict"),
        (lambda: cnb.gather(({"topic": "AI"}, crew), show=False), r"Write \(crew, inputs\)"),
        (lambda: cnb.gather((crew, {"topic": "AI"}, 3), show=False), r"a tuple of 3 .* Write \(crew, inputs\)"),
        (lambda: cnb.kickoff(crew, [{"topic": "AI"}], show=False), "kickoff_for_each"),
        (lambda: cnb.kickoff(crew, {1: "AI"}, show=False), r'Write \{"1": \.\.\.\}'),
        (lambda: cnb.gather(crew, inputs={"topic": "AI"}, show=False), r"cnb\.gather\(\(crew_a, "),
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
    results = batch.wait(60)
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
    result = cnb.kickoff(crews.one(llm(server)), inputs, show=False).wait(60)
    assert "topic=2026-11-21" in result.raw


class Who(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    password: str = "wrong-horse-battery-7"


@dataclass
class Where:
    city: str


def test_what_a_factory_takes_by_name_may_be_any_object(server: Server) -> None:
    """Models, dataclasses, LLM objects and bytes reach the factory as they are; a prompt gets what has a text."""
    shared = llm(server)
    got: list[Any] = []

    def build(who: Who, where: Where, model: Any, data: bytes, lock: Any) -> Crew:
        got.append((who, where, model, data, lock))
        crew = crews.one(model)
        crew.tasks[0].description = f"Research topic={who.name} in {{where}}"
        return crew

    given = {"who": Who(name="Bob"), "where": Where("Rome"), "model": shared, "data": b"\xff", "lock": threading.Lock()}
    run = cnb.kickoff(build, given, show=False)
    run.wait(60)
    assert got == [tuple(given.values())]
    assert "topic=Bob in {'city': 'Rome'}" in server.stats(prompts=True).requests[0].prompt
    assert "wrong-horse" not in f"{run.state.label} {run.state.columns}"
    assert f"model={type(shared).__name__}," in run.state.label


def test_a_prompt_cannot_show_every_object(server: Server) -> None:
    """A placeholder that names an object without a text fails its run with what to write; nothing is asked."""
    shared = llm(server)

    def build(model: Any) -> Crew:
        crew = crews.one(shared)
        crew.tasks[0].description = "Research topic={model}"
        return crew

    run = cnb.kickoff(build, {"model": shared}, show=False)
    with pytest.raises(cnb.RunFailedError, match=r'a prompt cannot show. Write \{"model": str'):
        run.wait(60)
    assert server.stats().requests == []


def test_inputs_without_an_end_are_refused(server: Server) -> None:
    """A dict that holds itself, or more levels than anybody reads, is told of before anything starts."""
    crew = crews.one(llm(server))
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(cnb.BlueprintError, match="more than 40 levels deep"):
        cnb.kickoff(crew, {"topic": endless}, show=False)
    with pytest.raises(cnb.BlueprintError, match="hold themselves"):
        cnb.kickoff(lambda topic: crew, {"topic": endless}, show=False)


RESUMED = """
import sys
from dataclasses import dataclass
from pydantic import BaseModel, SecretStr
import crew_nb as cnb
from tests.support import crews

class Who(BaseModel):
    name: str
    password: str = "wrong-horse-battery-7"

@dataclass
class Where:
    city: str
    known_for: set

def build(who, where, key):
    crew = crews.one(cnb.OfflineLLM(latency=0.0, tokens_per_second=None))
    crew.tasks[0].description = f"Research topic={who.name} in {where.city} with {who.password}"
    return crew

where = Where("Rome", {"food", "art", "ruins"})
rows = [{"who": Who(name=name), "where": where, "key": SecretStr("hidden-thing-42")} for name in sys.argv[1:]]
results = cnb.kickoff_for_each(build, rows, show=False, resume=True, name="objects").wait(60)
print(*(f"{r.raw.split()[1]}:{r.state.from_record}" for r in results))
print(cnb.load("objects")[0].inputs["who"])
"""


def test_objects_are_resumed_by_their_content(tmp_path: Path) -> None:
    """Another process knows them again, one from the other by every field, and no secret in them is on disk."""
    script = tmp_path / "sweep.py"
    script.write_text(RESUMED)
    environment = {**os.environ, "CREW_NB_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}

    def sweep(*names: str) -> list[str]:
        command = [sys.executable, str(script), *names]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert sweep("Bob", "Ann") == ["Bob:False Ann:False", "name='Bob' password='***'"]
    assert sweep("Bob", "Ann", "Cy") == ["Bob:True Ann:True Cy:False", "name='Bob' password='***'"]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert b"Ann" in kept
    assert b"wrong-horse" not in kept
    assert b"hidden-thing" not in kept


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

    with pytest.raises(cnb.BlueprintError, match=r'have only town\. Write inputs=\[\{"city": \.\.\., "days": \.\.\.\}'):
        cnb.kickoff_for_each(build, [{"town": "Rome"}])
