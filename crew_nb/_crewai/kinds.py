"""The kinds of things that CrewAI can start, each a module of its own; nobody else tells one from another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crew_nb._crewai.agents import AGENT
from crew_nb._crewai.crews import CREW
from crew_nb._crewai.flows import FLOW

if TYPE_CHECKING:
    from crew_nb._crewai.kind import Kind

KINDS: tuple[Kind, ...] = (CREW, FLOW, AGENT)


def find(value: object) -> Kind | None:
    """The kind of the value, or None: a factory, or nothing that can be started."""
    return next((kind for kind in KINDS if kind.owns(value)), None)


def kind_of(value: object) -> Kind:
    """The kind of what was built.

    Raises:
        TypeError: When it is nothing that can be started.
    """
    kind = find(value)
    if kind is None:
        raise TypeError(f"a {type(value).__name__} is nothing that CrewAI can start")
    return kind
