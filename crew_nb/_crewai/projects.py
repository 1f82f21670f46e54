"""@CrewBase classes: which object a crew comes from, and what one run's end would close for others."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from crew_nb._crewai.callables import looked_through


def project_of(crew: Any) -> Any:
    """The @CrewBase object that the crew comes from; None where there is none."""
    for callback in getattr(crew, "after_kickoff_callbacks", ()):  # it has one to close its MCP server
        function = inspect.unwrap(callback)
        if getattr(function, "__module__", "") == "crewai.project.annotations":
            with contextlib.suppress(TypeError, ValueError):
                return inspect.getclosurevars(function).nonlocals.get("instance")
    return None


def closing_project(source: Any) -> Any:
    """The @CrewBase object whose MCP server the first run that ends would close for others; None for other sources."""
    if (project := project_of(source)) is not None:
        return project if getattr(project, "_mcp_server_adapter", None) is not None else None
    owner: Any = getattr(looked_through(source), "__self__", None)
    return owner if getattr(type(owner), "is_crew_class", False) and owner.mcp_server_params else None


def closed_for_others(project: Any) -> str:
    """In words, that its server would be closed, and what to write."""
    name = type(project).__name__
    return (
        f"the runs would share the MCP server of one {name}(), and the first that ends closes it for the others. "
        f"Give `lambda: {name}().crew()`, which starts one for each run."
    )
