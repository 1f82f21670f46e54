"""Definitions: crews, agents and flows as CrewAI's project files write them, by path or as objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crew_nb._state.errors import BlueprintError

SUFFIXES = (".json", ".jsonc", ".yaml", ".yml")

_OBJECTS = {"CrewDefinition": "crew", "FlowDefinition": "flow", "AgentDefinition": "agent"}


def is_definition(value: object) -> bool:
    """Whether it is the path of a definition, or one that was read already."""
    if isinstance(value, os.PathLike):
        return True
    if isinstance(value, str):
        return "\n" not in value and (value.lower().endswith(SUFFIXES) or _is_folder(value))
    if isinstance(value, Mapping):
        return bool(_sort(value))
    return type(value).__name__ in _OBJECTS and type(value).__module__.startswith("crewai.")


def _is_folder(text: str) -> bool:
    try:
        return Path(text).expanduser().is_dir()
    except (OSError, RuntimeError):  # it is too long for one, or of nobody's home
        return False


def started(definition: Any) -> Any:
    """The Crew, Flow or Agent that CrewAI makes of a definition; the inputs that it brings are there unless others are.

    Args:
        definition: The path of a JSON, JSONC or YAML file, of a folder with a `crew.json(c)`, its content as a dict, or
            an object of CrewAI's.

    Raises:
        BlueprintError: When it cannot be read or is none, in CrewAI's words.
    """
    try:
        if isinstance(definition, str | os.PathLike):
            return _of_file(Path(definition).expanduser())
        sort = _sort(definition) if isinstance(definition, Mapping) else _OBJECTS[type(definition).__name__]
        return _of(definition, sort, "the definition", Path.cwd())
    except BlueprintError:
        raise
    except Exception as error:  # CrewAI's own, pydantic's, those of YAML and of modules that it names
        what = definition if isinstance(definition, str | os.PathLike) else "the definition"
        raise BlueprintError(f"{what} cannot be started: {error}") from error


def _of_file(path: Path) -> Any:
    from crewai.project.json_loader import find_crew_json_file, load_jsonc_file

    if path.is_dir():
        found = find_crew_json_file(path)
        if found is None:
            raise BlueprintError(f"{path} is a folder without a crew.json or crew.jsonc. Give the definition's path.")
        path = found
    if not path.is_file():
        raise BlueprintError(f"there is no file {path}. Give the path of a definition, or a Crew.")
    if path.suffix.lower() in (".yaml", ".yml"):
        import yaml

        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    else:
        content = load_jsonc_file(path)
    sort = _sort(content) if isinstance(content, Mapping) else ""
    if not sort:
        raise BlueprintError(
            f"{path} defines no crew (agents and tasks), no agent (role, goal, backstory) and no flow (methods). "
            "For the agents.yaml and tasks.yaml of a @CrewBase class, write `lambda: MyCrew().crew()`."
        )
    if sort == "flow":
        from crewai.flow.flow import Flow

        return Flow.from_declaration(path=path)  # which knows from then on where it was read, for what it refers to
    root = path.parent.parent if sort == "agent" and path.parent.name == "agents" else path.parent
    return _of(content, sort, str(path), root)


def _sort(content: Mapping[Any, Any]) -> str:
    """What a definition with this content defines; empty where that is nothing."""
    if "agents" in content and "tasks" in content:
        return "crew"
    if "methods" in content:
        return "flow"
    return "agent" if {"role", "goal", "backstory"} <= set(content) else ""


def _of(definition: Any, sort: str, source: str, root: Path) -> Any:
    if sort == "flow":
        from crewai.flow.flow import Flow

        return Flow.from_declaration(contents=definition)
    if sort == "agent":
        return _agent(definition, source, root)
    return _crew(definition, source, root)


def _agent(definition: Any, source: str, root: Path) -> Any:
    from crewai.project.json_loader import load_agent_from_definition

    if isinstance(definition, Mapping):
        definition = {"input": "", **definition}  # of an agent inside a flow; here inputs["messages"] is asked
    agent, response = load_agent_from_definition(definition, source=source, project_root=root)
    if response is not None:
        raise BlueprintError(
            f"{source} has a response_format. Leave it out there, and write response_format={response.__name__} "
            "beside the inputs."
        )
    return agent


def _crew(definition: Any, source: str, root: Path) -> Any:
    from crewai.project.crew_loader import load_crew, load_crew_from_definition

    agents = definition["agents"] if isinstance(definition, Mapping) else {}
    named = isinstance(agents, list) and all(isinstance(agent, str) for agent in agents)
    if named and Path(source).suffix.lower().startswith(".json"):
        crew, defaults = load_crew(source)  # its agents are files beside it
    else:
        crew, defaults = load_crew_from_definition(definition, source=source, project_root=root)
    if defaults:
        crew.before_kickoff_callbacks.insert(0, _Defaults(defaults))
    return crew


class _Defaults:
    """Puts the inputs that a definition brings beside those of the run, as `load_crew_and_kickoff` does."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.inputs = dict(inputs)

    def __call__(self, inputs: dict[str, Any] | None) -> dict[str, Any]:
        return {**self.inputs, **(inputs or {})}
