"""What crew_nb touches of CrewAI's insides: listed, there, and said where it is not."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import crewai.events.types
import pytest
from crewai.agents.agent_executor import AgentExecutor
from crewai.events.base_events import BaseEvent
from crewai.llms.base_llm import BaseLLM

from crew_nb._crewai import connections as _connections
from crew_nb._crewai import listen as _listen
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import patches as _patches
from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path


PRIVATE = re.compile(r"_[a-z]\w*")
LISTED = {name for names in (*_crewai.NAMES.values(), _connections.NAMES) for name in names.split()}
OF_OTHERS = {
    "_async": "how some names of CrewAI's async methods end",
    "_current_frames": "sys's",
    "_data": "os.environ's",
    "_embedding_function": "chromadb's, read where it is there",
    "_find_and_load": "importlib's",
    "_getframe": "sys's",
    "_initializing": "importlib's mark on a module that is not whole",
    "_blank": "a value of `target` in HTML",
    "_crew_nb": "our mark on functions that stand in CrewAI's place",
    "_get_running_loop": "asyncio's, which `nest_asyncio` replaces",
    "_make": "a named tuple's",
    "_meth": "a FlowMethod's, read where it is there",
    "_nest_patched": "nest_asyncio's mark",
    "_original_": "how CrewAI names the templates of texts, which are listed",
    "_parent_header": "ipykernel's",
    "_proxy": "how the names of some environment variables end",
    "_raw_response": "instructor's, read where it is there",
    "_repr_mimebundle_": "IPython's",
    "_sock": "the socket module's, of what urllib3 reads from",
    "_self_wrapper": "wrapt's",
    "_supports_kernel_subshells": "ipykernel's",
}
"""Private names in the package that are not listed, and whose they are."""


def used_and_own(source: str) -> tuple[set[str], set[str]]:
    """The private names that a module reads, imports or spells, and those that it makes itself."""
    used: set[str] = set()
    own: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                own.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                own.add(name)
                used.add(name)
            case ast.Attribute(attr=name):
                used.add(name)
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] in ("crewai", "crewai_core"):
                used.update(alias.name for alias in names)
            case ast.Constant(value=str(text)):
                used.add(text)
    return {name for name in used if PRIVATE.fullmatch(name)}, own


def test_every_listed_name_is_there() -> None:
    """A name that this CrewAI has no more is told with its place."""
    assert _crewai.missing() == []


def test_every_private_name_that_is_used_is_listed() -> None:
    """No module of the package reaches into CrewAI behind the list's back."""
    package = ROOT / "crew_nb"
    found = {str(file.relative_to(package)): used_and_own(file.read_text()) for file in package.rglob("*.py")}
    for module, base in (("_crewai/direct.py", AgentExecutor), ("_crewai/offline.py", BaseLLM)):
        used, own = found[module]
        crewais = {n for n in own if hasattr(base, n) or n in base.__private_attributes__}
        own -= crewais  # what a subclass overrides, or sets, is CrewAI's all the same
        used |= {n for n in crewais if PRIVATE.fullmatch(n)}
    used = set().union(*(names for names, _ in found.values()))
    own = {folder.name for folder in package.iterdir()}.union(*(names for _, names in found.values()))
    assert sorted(used - own - LISTED - set(OF_OTHERS)) == []
    assert sorted(set(OF_OTHERS) - used) == []
    assert sorted(n for n in LISTED if PRIVATE.fullmatch(n) and n not in used and not n.startswith("_original_")) == []


def test_a_name_that_moved_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function, an attribute of instances and a whole module that are gone are named."""
    from crewai.crew import Crew
    from crewai.utilities import agent_utils

    gone = {
        "crewai.crew:Crew": f"{_crewai.NAMES['crewai.crew:Crew']} _never_there",
        "crewai.utilities.agent_utils:": "_proactively_summarize_context",
        "crewai.no_such_module:": "_x",
        "crewai.crew:NoSuchClass": "_x",
    }
    monkeypatch.setattr(_crewai, "NAMES", gone)
    monkeypatch.delattr(agent_utils, "_proactively_summarize_context")
    monkeypatch.delattr(Crew, "_create_manager_agent")
    found = _crewai.missing()
    assert "crewai.crew.Crew._never_there" in found
    assert found[-3:] == [
        "crewai.utilities.agent_utils._proactively_summarize_context",
        "crewai.no_such_module",
        "crewai.crew.NoSuchClass",
    ]


def test_every_event_that_is_heard_is_one_of_crewais() -> None:
    """The listener waits for no event that CrewAI calls by another name."""
    for module in pkgutil.iter_modules(crewai.events.types.__path__):
        import_module(f"crewai.events.types.{module.name}")
    kinds: set[str] = set()
    classes = [BaseEvent]
    while classes:
        classes += (cls := classes.pop()).__subclasses__()
        kinds.add(str(cls.model_fields["type"].default))
    assert (set(_listen._HEARD) | _listen._STOPPABLE | _patches._CHUNKS) - kinds == set()


@pytest.mark.parametrize("moved", [False, True])
def test_a_new_crewai_is_taken_by_its_source(tmp_path: Path, moved: bool) -> None:
    """A version nobody has heard of keeps the direct path; one with another function under it is told by that name."""
    meta = tmp_path / "crewai-1.99.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: crewai\nVersion: 1.99.0\n")
    (tmp_path / "newer.py").write_text("def finalize(self):\n    return 'completed'\n")
    code = f"""
from crewai import Agent, Crew, Task
from crewai.agents.agent_executor import AgentExecutor
import crew_nb as cnb
import newer
if {moved}:
    AgentExecutor.finalize = newer.finalize
def build():
    one = Agent(role="R", goal="g", backstory="b", llm=cnb.OfflineLLM(latency=0.0, tokens_per_second=None))
    return Crew(agents=[one], tasks=[Task(description="d", expected_output="e", agent=one)])
print(cnb.environment())
batch = cnb.gather(build, show=False)
batch.wait()
run = batch[0]
print(run.status, run.state.path, "|", run.state.why)
print("note:", *batch.state().notes)
"""
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    words = "in CrewAI 1.99.0, AgentExecutor.finalize ("
    assert done.returncode == 0, done.stderr
    if not moved:
        assert "done direct |" in done.stdout
        assert done.stdout.strip().endswith("note:")
        return
    assert f"CrewAI's own executor: {words}" in done.stdout
    assert f"done stock | {words}" in done.stdout
    assert f"note: crews take CrewAI's own executor: {words}" in done.stdout
