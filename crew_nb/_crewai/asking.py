"""One question to an LLM outside of any agent, with a form to fill."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


def llm_of(llm: Any) -> Any:
    """CrewAI's LLM object for a name; an LLM object as it is."""
    if not isinstance(llm, str):
        return llm
    from crewai import LLM

    return LLM(model=llm)


def ask(llm: Any, messages: list[dict[str, str]], form: type[BaseModel]) -> Any:
    """What the LLM answers: the form filled, or its text."""
    parameters = inspect.signature(type(llm).call).parameters
    takes_forms = "response_model" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return llm.call(messages, response_model=form) if takes_forms else llm.call(messages)
