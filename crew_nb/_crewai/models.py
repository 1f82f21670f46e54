"""One run on other models than its crew names, by CrewAI's own `llm_overlay`; a call on any other fails the run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from crew_nb._state.errors import BlueprintError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crew_nb._state.call import Asked

LLMS = "llms"
"""The argument of a kickoff that says so: a model by the role, or by `ALL`."""

ALL = "*"
"""Every LLM of the run."""


@contextlib.contextmanager
def on(models: Mapping[str, str] | None) -> Iterator[None]:
    """While it lasts, what is built and copied in this context is on these models."""
    if not models:
        yield
        return
    from crewai.llm_overlay import llm_overlay

    with llm_overlay({"model:*" if role == ALL else role: model for role, model in models.items()}):
        yield


def resolve(agent: Any) -> None:
    """Put a copied agent on the model that it has in this context; CrewAI looks when it makes one."""
    from crewai.llm_overlay import active

    if active.get() is not None:
        from crewai.utilities.llm_utils import overlay_llm_for

        agent.llm = overlay_llm_for(agent.role, agent.llm)


def check_roles(models: Mapping[str, str], roles: Iterable[str]) -> None:
    """Refuse a role that no agent has, before a token is paid for.

    Raises:
        BlueprintError: It names the roles that there are.
    """
    known = {role.strip() for role in roles}
    for role in models:
        if role != ALL and role not in known:
            raise BlueprintError(
                f"the factor 'llm:{role}' changes nothing: no agent of the crew has this role. "
                f"There are: {', '.join(sorted(known))}."
            )


def trouble(models: Mapping[str, str], asked: Asked) -> str:
    """Why a call is on no model of the run, in words; empty where it is."""
    wanted = models.get(asked.agent.strip(), models.get(ALL))
    if wanted is None or asked.llm is None:
        return ""
    from crewai.llm_overlay import llm_overlay, overlay_model_for_model

    with llm_overlay({f"model:{wanted}": wanted}):
        if overlay_model_for_model(asked.model, getattr(asked.llm, "provider", None)):
            return ""
    by = f" of {asked.agent}" if asked.agent else ""
    model = asked.model or type(asked.llm).__name__
    return (
        f"a call{by} is on {model}, and not on {wanted}: CrewAI's llm_overlay reaches "
        "what CrewAI builds in a run, and no LLM object that code of yours made earlier and asks by itself. "
        "Make it in the function that builds the crew, or give that a parameter `llm`."
    )
