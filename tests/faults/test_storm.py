"""A seeded storm of every fault a provider knows: each input ends exactly once, and no answer goes to another."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

import crew_nb as cnb
from tests.support import crews
from tests.support.kernel import ROOT
from tests.support.server import Server, llm

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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
    monkeypatch.setattr("crew_nb._retry.backoff", lambda tries, verdict, rng=None: verdict.retry_after or 0.05)
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
    assert len(right) > 450
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
