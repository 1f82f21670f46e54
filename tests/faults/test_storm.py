"""A seeded storm of every fault a provider knows: each input ends exactly once, and no answer goes to another."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

import crew_nb as cnb
from tests.support import crews
from tests.support.kernel import ROOT
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from pathlib import Path

    from crewai import LLM

FAULTS = [
    {"kind": 429, "share": 0.06, "retry_after": 0.05},
    {"kind": 500, "share": 0.05},
    {"kind": 503, "share": 0.03},
    {"kind": "cut", "share": 0.03},
    {"kind": "malformed", "share": 0.02},
    {"kind": "slow", "share": 0.02},
    {"kind": "hang", "share": 0.01},
]


def test_five_hundred_runs_in_a_storm(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 runs with five retries: every run ends, what was answered is right, and the rest says why."""
    monkeypatch.setattr("crew_nb._engine.retry.backoff", lambda tries, verdict, rng=None: verdict.retry_after or 0.05)
    server.configure(seed=7, latency=(0.01, 0.1), faults=FAULTS)
    topics = [f"S{i}" for i in range(500)]
    shared = llm(server)
    batch = cnb.kickoff_for_each(
        lambda topic: crews.one(shared),
        [{"topic": topic} for topic in topics],
        max_concurrency=64,
        max_retries=5,
        timeout=5,
        stream=True,
        show=False,
    )
    results = batch.wait(150)
    assert len(results) == 500
    assert {r.status for r in results} <= {"done", "failed"}
    right = [f"topic={topic}:" in r.raw for topic, r in zip(topics, results, strict=True) if r.status == "done"]
    assert all(right)
    late = [r for r in results if isinstance(r.error, cnb.RunTimeoutError)]  # more of them on a busy machine
    assert len(right) + len(late) > 450
    assert len(right) > len(late)
    assert all(str(r.error) for r in results if r.status == "failed")
    stats = server.wait_for(lambda stats: stats.in_flight == 0)
    assert all(request.topics == [request.topic] for request in stats.requests)
    assert max(stats.by_topic.values()) <= 6
    print(f"\n{len(right)} done, {Counter(str(r.state.error.type) for r in results if r.status == 'failed')}")


def test_secrets_are_found_nowhere(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in an LLM, in inputs and in an exception's text is in no store, saved notebook, log or event."""
    keys = {"llm": "sk-test-4f9aQ2bV7cX1zL8mN3kJ", "input": "tok-93XyZ81-secret-value", "error": "hunter2-98w7e6r5"}
    home = tmp_path / "home"
    monkeypatch.setenv("CREW_NB_HOME", str(home))
    monkeypatch.setenv("SOME_SERVICE_TOKEN", keys["error"])
    cell = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import crew_nb as cnb
from crewai import LLM
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url={server.base_url!r}, api_key=open("llm").read())
def build(topic, api_key):
    if topic == "B":
        raise ValueError(f"cannot log in with {{open('error').read()}} and {{api_key}}")
    crew = crews.one(llm)
    crew.tasks[0].description += " using api_key={{api_key}}"
    return crew
inputs = [{{"topic": t, "api_key": open("input").read()}} for t in "AB"]
batch = cnb.kickoff_for_each(build, inputs, max_retries=0)
"""
    for name, key in keys.items():
        (tmp_path / name).write_text(key)
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(code) for code in (cell, "batch.results", "batch")]
    )
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    saved = nbformat.writes(book)
    assert "1 done" in saved
    assert "1 failed" in saved
    stored = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"topic" in stored
    for name, key in keys.items():
        assert key not in saved, f"the {name} key is in the saved notebook"
        assert key.encode() not in stored, f"the {name} key is in the store"


K = "qz9Wx" * 4
"""A key of no known shape; each test adds to it, since what is once learnt is hidden for good."""


def build_with_key_1(server: Server, topic: str) -> object:
    return crews.one(llm(server, api_key=f"{K}1"))


def fail_with_an_llm(server: Server) -> None:
    made: LLM = llm(server, api_key=f"{K}2")
    raise RuntimeError(f"401 for the key {made.api_key}")


def fail_with_the_environment(server: Server) -> None:
    os.environ["SERVICE_KEY"] = f"{K}3"
    raise RuntimeError(f"401 for the key {K}3")


@pytest.mark.parametrize(
    ("source", "inputs", "key"),
    [
        (lambda server: lambda topic: build_with_key_1(server, topic), {"topic": f"see {K}1"}, f"{K}1"),
        (lambda server: lambda: fail_with_an_llm(server), {}, f"{K}2"),
        (lambda server: lambda: fail_with_the_environment(server), {}, f"{K}3"),
        (lambda server: crews.one(llm(server, api_key=f"{K}4")), {"topic": f"see {K}4"}, f"{K}4"),
        (lambda server: lambda groq_key: crews.one(llm(server)), {"groq_key": f"{K}5", "topic": ""}, f"{K}5"),
        (lambda server: lambda cfg: crews.one(llm(server)), {"cfg": {"key": f"{K}6"}, "topic": f"{K}6"}, f"{K}6"),
    ],
    ids=["factory's LLM", "failing factory", "environment", "Crew's LLM", "named input", "nested input"],
)
def test_a_key_that_is_learnt_late_is_found_nowhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: object, inputs: dict[str, object], key: str
) -> None:
    """Where it is known only once the factory has built or failed, nothing was written before."""
    monkeypatch.setenv("SERVICE_KEY", "")
    record = tmp_path / "record"
    record.mkdir()
    cnb.set_record(record)
    batch = cnb.kickoff_for_each(source(server), [inputs], max_retries=0, show=False)  # type: ignore[operator]
    results = batch.wait(60)
    results.save(record / "saved.jsonl")
    results.to_html(record / "saved.html")
    shown = [
        repr(batch),
        repr(batch[0]),
        repr(results),
        repr(results[0]),
        results[0]._repr_html_(),
        *map(str, results.errors),
    ]
    assert key not in "".join(shown)
    kept = {path.name: path.read_bytes() for path in record.iterdir()}
    assert len(kept) >= 3
    assert [name for name, content in kept.items() if key.encode() in content] == []
    again = cnb.kickoff_for_each(source(server), [inputs], resume=True, max_retries=0, show=False).wait(60)  # type: ignore[operator]
    assert key not in repr(again[0])


def test_a_secret_in_a_structured_output_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as text nor in the table of its fields, nor where two outputs are compared."""
    from pydantic import BaseModel

    class Verdict(BaseModel):
        reason: str
        token: str = "attention"

    monkeypatch.setenv("SERVICE_KEY", f"{K}7")
    answer = f'{{"reason": "{K}7 says so", "token": "attention"}}'
    batch = cnb.gather(
        *((crews.one(cnb.OfflineLLM(responses=[answer]), output_pydantic=Verdict), {"topic": t}) for t in "AB"),
        show=False,
        name=f"with {K}7",
    )
    results = batch.wait(60)
    shown = [
        repr(batch),
        results._repr_html_(),
        results[0]._repr_html_(),
        results.to_html(),
        str(results.compare(0, 1)),
    ]
    assert K not in "".join(shown)
    assert "*** says so" in shown[1]
    assert "attention" in shown[1]
    assert results[0].pydantic.reason == f"{K}7 says so"


def test_libraries_say_nothing_in_the_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools of the user's classes, memory and the hooks of `@CrewBase`: CrewAI and pydantic do not warn of them."""
    monkeypatch.setenv("CREW_NB_HOME", str(tmp_path / "home"))
    cell = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import crew_nb as cnb
from crewai import Agent, Crew, Task
from crewai.memory.unified_memory import Memory
from crewai.project import CrewBase, after_kickoff, agent, before_kickoff, crew, task
from crewai.tools import BaseTool
from tests.support.scripted_llm import ScriptedLLM
class Search(BaseTool):
    name: str = "search"
    description: str = "Looks something up"
    def _run(self, query: str) -> str:
        return query
@CrewBase
class Research:
    agents: list
    tasks: list
    @before_kickoff
    def before(self, inputs):
        return inputs
    @after_kickoff
    def after(self, output):
        return output
    @agent
    def writer(self):
        return Agent(role="writer", goal="g", backstory="b", llm=cnb.OfflineLLM(), tools=[Search()])
    @task
    def write(self):
        return Task(description="about {{topic}}", expected_output="e", agent=self.writer())
    @crew
    def crew(self):
        return Crew(agents=self.agents, tasks=self.tasks)
def embed(texts):
    return [[len(text) % 7, 1.0, 0.5, 0.2] for text in texts]
memory = Memory(llm=ScriptedLLM(['{{"memories": []}}']), embedder=embed, storage={str(tmp_path / "memory")!r})
base = Research()
made = base.crew()
with_memory = Crew(agents=made.agents, tasks=made.tasks, memory=memory)
inputs = [{{"topic": "A"}}, {{"topic": "B"}}]
"""
    runs = (
        "r = await cnb.kickoff_for_each(base.crew, inputs, show=False)",
        "r2 = await cnb.kickoff_for_each(with_memory, inputs, show=False)",
        "print([x.status for x in [*r, *r2]])",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (cell, *runs)])
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [output.get("text", "") for number in (1, 2, 3) for output in book.cells[number].outputs]
    assert said == ["['done', 'done', 'done', 'done']\n"]
