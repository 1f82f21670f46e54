"""A kernel with a record of its own, in which crews of two calls ask the LLM server about topics told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.kernel import ROOT, Kernel

if TYPE_CHECKING:
    from pathlib import Path

SETUP = """
from crewai import LLM
import crew_nb as cnb
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build(topic):
    return crews.chain(llm, 2)
def inputs(name, n=40):
    return [{{"topic": f"{{name}}x{{i}}"}} for i in range(n)]
def right(results, name, n=40):
    return len(results) == n and all(f"topic={{name}}x{{i}}:" in r.raw for i, r in enumerate(results))
batch = None
"""
"""Its first cell; `format` it with the server's URL."""


def kernel(home: Path) -> Kernel:
    """The kernel, whose record is kept under `home`."""
    return Kernel(env={"CREW_NB_HOME": str(home), "PYTHONPATH": str(ROOT)})
