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

FLOW = """
from crewai.flow.flow import Flow, listen, router, start
class Work(Flow[dict]):
    @start()
    def research(self):
        return build("").kickoff({"topic": self.state["topic"]}).raw
    @router(research)
    def route(self):
        return "good"
    @listen("good")
    def report(self):
        return f"report on topic={self.state['topic']}: whole"
    @listen("bad")
    def drop(self):
        return "dropped"
"""
"""Its next cell, where flows are run."""

MIXED = """
def mixed(name, n):
    kinds = (lambda t: (build, {"topic": t}), lambda t: (Work, {"topic": t}),
             lambda t: (crews.agent(llm), {"messages": f"Write topic={t}"}))
    return [kinds[i % 3](f"{name}x{i}") for i in range(n)]
"""
"""And the next: crews, flows and agents for one `gather`."""


def kernel(home: Path) -> Kernel:
    """The kernel, whose record is kept under `home`."""
    return Kernel(env={"CREW_NB_HOME": str(home), "PYTHONPATH": str(ROOT)})
