"""Definitions as runs: crews, agents and flows as CrewAI's project files write them, by path and as objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from crewai.project import CrewDefinition
from crewai.project.crew_loader import load_crew, load_crew_and_kickoff

import crew_nb as cnb

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import Server

WRITER = {"role": "Writer of {topic}", "goal": "write", "backstory": "You write.", "llm": "openai/gpt-4o-mini"}
TASK = {"name": "write", "description": "Write on topic={topic} in a {tone} tone.", "expected_output": "A line."}


@pytest.fixture
def project(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `crewai create` makes one: a crew with comments, its agent beside it, and an input of its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "writer.jsonc").write_text(json.dumps(WRITER))
    crew = {"name": "team", "agents": ["writer"], "tasks": [{**TASK, "agent": "writer"}], "inputs": {"tone": "dry"}}
    (tmp_path / "crew.jsonc").write_text(f"// the team\n{json.dumps(crew)}")
    return tmp_path


def asked(server: Server) -> list[str]:
    """The prompts of all requests, in order."""
    return [request.prompt for request in server.stats(prompts=True).requests]


def test_a_crew_by_path_asks_what_crewai_asks(project: Path, server: Server) -> None:
    """By the folder, the file and a string: the requests of `load_crew_and_kickoff`, its own inputs among them."""
    load_crew_and_kickoff(project / "crew.jsonc", {"topic": "bees"})
    wanted = asked(server)
    for given in (project, str(project), project / "crew.jsonc", str(project / "crew.jsonc")):
        server.reset()
        results = cnb.kickoff_for_each(given, [{"topic": "bees"}], show=False).wait()  # type: ignore[arg-type]
        results.raise_for_errors()
        assert asked(server) == wanted
        assert "in a dry tone" in wanted[0]


def test_inputs_of_the_run_come_before_those_of_the_definition(project: Path, server: Server) -> None:
    """And of runs that vary them each has its own."""
    rows = [{"topic": "bees", "tone": tone} for tone in ("warm", "cold")]
    assert cnb.kickoff_for_each(project, rows, show=False, max_concurrency=1).wait().raise_for_errors()
    assert [next(t for t in ("warm", "cold", "dry") if t in text) for text in asked(server)] == ["warm", "cold"]


def inline() -> dict[str, Any]:
    """A definition that has its agents in it."""
    return {"name": "team", "agents": {"writer": WRITER}, "tasks": [{**TASK, "agent": "writer"}]}


def test_a_definition_in_yaml_as_a_dict_and_as_crewais_object(project: Path, server: Server) -> None:
    """All three start the same crew; a placeholder that no input fills is refused before anything is asked."""
    path = project / "team.yaml"
    path.write_text(yaml.safe_dump(inline()))
    inputs = {"topic": "bees", "tone": "warm"}
    texts = []
    for given in (path, inline(), CrewDefinition.model_validate(inline())):
        server.reset()
        assert cnb.kickoff(given, inputs, show=False).wait().raw
        texts.append(asked(server))
    assert texts[0] == texts[1] == texts[2]
    server.reset()
    with pytest.raises(cnb.BlueprintError, match="tone"):
        cnb.kickoff(path, {"topic": "bees"}, show=False)
    assert not asked(server)


def test_an_agent_by_path(project: Path, server: Server) -> None:
    """It is asked its messages."""
    output = cnb.kickoff(
        project / "agents" / "writer.jsonc", {"messages": "Say hi", "topic": "bees"}, show=False
    ).wait()
    assert output.raw
    assert "Say hi" in asked(server)[0]
    assert "Writer of bees" in asked(server)[0]


def test_a_flow_by_path_and_as_content(tmp_path: Path) -> None:
    """Inputs go into its state."""
    flow = {
        "schema": "crewai.flow/v1",
        "name": "greet",
        "state": {"type": "dict", "default": {"topic": "none"}},
        "methods": {"begin": {"start": True, "do": {"call": "expression", "expr": "'about ' + state.topic"}}},
    }
    path = tmp_path / "greet.yml"
    path.write_text(yaml.safe_dump(flow))
    for given in (path, flow):
        results = cnb.kickoff_for_each(given, [{"topic": "bees"}, {"topic": "ants"}], show=False).wait()
        assert [result.output for result in results] == ["about bees", "about ants"]


def test_a_crew_that_crewai_has_loaded(project: Path, server: Server) -> None:
    """What `load_crew` gives is a Crew like any other."""
    crew, inputs = load_crew(project / "crew.jsonc")
    assert cnb.kickoff(crew, {**inputs, "topic": "bees"}, show=False).wait().raw


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.json", None, "there is no file"),
        ("half.json", "{", "invalid JSON"),
        ("list.yaml", "- a\n- b\n", "defines no crew"),
        ("tasks.yaml", "research:\n  description: x\n", r"lambda: MyCrew\(\).crew\(\)"),
        ("bad.yaml", "a: [", "cannot be started"),
        ("crew.json", '{"agents": ["nobody"], "tasks": []}', "nobody"),
        ("", None, "folder without a crew.json"),
    ],
)
def test_what_is_no_definition_is_refused_with_words(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    """Nothing is started."""
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(cnb.BlueprintError, match=words):
        cnb.kickoff_for_each(tmp_path / name, [{}], show=False)


def test_the_launcher_makes_its_form_of_a_path(project: Path) -> None:
    """Its code names the path."""
    path = project / "team.yaml"
    path.write_text(yaml.safe_dump(inline()))
    form = cnb.launcher(str(path), [{"topic": "bees", "tone": "warm"}])
    assert form.inputs == [{"topic": "bees", "tone": "warm"}]
    assert repr(str(path)) in form.code()
