"""A sweep of an unedited crew on several models: counted by the server, resumed after kill -9, widened by a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.kernel import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

SCRIPT = """
import json, sys
import crew_nb as cnb
from crewai import LLM
from tests.support import crews

crew = crews.chain(LLM(model="openai/gpt-4o-mini"), 3)
crew.tasks[0].description += " in a {tone} tone"
rows = [{"topic": f"T{n}"} for n in range(5)]
over = {"llm": sys.argv[1:], "tone": ["dry", "warm", "kind", "odd"]}
def length(output, inputs):
    return len(output.raw)

batch = cnb.sweep(
    crew, rows, over, repeats=3, scores=[length], resume=True, show=False, max_concurrency=12
)
results = batch.wait()
print(json.dumps({
    "status": [r.status for r in results],
    "cells": [[r.cell.input, r.cell.variant["llm"], r.cell.variant["tone"], r.cell.repeat] for r in results],
    "kept": sum(r.state.from_record for r in results),
    "models": sorted({call.name for r in results for call in r.state.all_calls}),
    "scored": sum(row["length scored"] for row in results.summary()),
}))
"""
MODELS = ["openai/gpt-4o", "openai/gpt-4.1", "openai/gpt-4o-mini"]
PATIENCE = 500.0


def _start(server: Server, home: Path, models: list[str]) -> subprocess.Popen[bytes]:
    env = {**os.environ, "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.base_url, "CREW_NB_HOME": str(home)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *models], cwd=ROOT, env=env, stdout=subprocess.PIPE)


def _end(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    told: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert set(told["status"]) == {"done"}
    return told


def _by_model(server: Server) -> Counter[str]:
    return Counter(request.model for request in server.stats().requests)


@pytest.mark.timeout(1500)
def test_a_killed_sweep_loses_nothing(server: Server, tmp_path: Path) -> None:
    """180 runs of three calls: what is on disk is asked once; a model more asks for its own cells only."""
    first = _start(server, tmp_path, MODELS)
    server.wait_for(lambda stats: len(stats.requests) >= 250, PATIENCE)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    told = _end(_start(server, tmp_path, MODELS))
    asked = _by_model(server)
    assert 540 <= asked.total() <= 540 + 12
    assert all(180 <= asked[model.partition("/")[2]] <= 180 + 12 for model in MODELS)
    assert told["cells"] == [
        [n, model, tone, repeat]
        for n in range(5)
        for model in MODELS
        for tone in ("dry", "warm", "kind", "odd")
        for repeat in range(3)
    ]
    assert told["kept"] >= (250 - 12) // 3 - 12
    assert told["scored"] == 180

    more = _end(_start(server, tmp_path, [*MODELS, "openai/gpt-4.1-mini"]))
    assert _by_model(server) - asked == Counter({"gpt-4.1-mini": 180})
    assert (more["kept"], more["scored"], len(more["status"])) == (180, 240, 240)
    again = _end(_start(server, tmp_path, [*MODELS, "openai/gpt-4.1-mini"]))
    assert (again["kept"], _by_model(server).total()) == (240, asked.total() + 180)
