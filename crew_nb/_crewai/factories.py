"""Functions that build what is run: called with the inputs that they take by name."""

from __future__ import annotations

import contextlib
import datetime
import inspect
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai.inputs import missing_text, own, plain_value
from crew_nb._state.errors import BlueprintError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crew_nb._crewai.inputs import Verb


def built(factory: Callable[..., Any], inputs: Mapping[str, Any] | None) -> Any:
    """What the factory returns for these inputs.

    Raises:
        BlueprintError: When that is no Crew, or an input is missing.
    """
    crew = factory(**arguments(factory, inputs or {}))
    if inspect.iscoroutine(crew):
        crew.close()
        raise BlueprintError(
            f"{name_of(factory)}() returned a coroutine. Write a plain function that returns the Crew."
        )
    if _kinds.find(crew) is None:
        got = "nothing (is its `return` missing?)" if crew is None else f"a {type(crew).__name__}"
        raise BlueprintError(f"{name_of(factory)}() returned {got}. A factory returns a Crew, a Flow or an Agent.")
    return crew


def call(factory: Callable[..., Any], inputs: Mapping[str, Any] | None) -> tuple[Any, frozenset[int]]:
    """What the factory returns, made this run's own, and what it left in braces in which texts."""
    begun = datetime.datetime.now()  # in local time, as CrewAI's own stamps are
    subject = built(factory, inputs)
    return _kinds.kind_of(subject).adopt(subject, begun, factory)


def arguments(factory: Callable[..., Any], inputs: Mapping[str, Any], verb: Verb = "kickoff") -> dict[str, Any]:
    """Those of the inputs that the factory's signature takes by name.

    Raises:
        BlueprintError: When a parameter without a default has no input.
    """
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # builtins tell no signature
        return {}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        named = {p.name for p in parameters if p.kind is p.POSITIONAL_ONLY}
        return {k: own(v) for k, v in inputs.items() if k not in named}
    by_name = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in by_name if p.default is p.empty and p.name not in inputs]
    if missing:
        raise BlueprintError(missing_text(missing, inputs, {p.name for p in by_name}, verb, of=f"{name_of(factory)}()"))
    unnamed = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    if unnamed:
        raise BlueprintError(
            f"{name_of(factory)}() takes {', '.join(unnamed)} by position only, and inputs are given by name. "
            f"Write def {name_of(factory)}({', '.join(unnamed)}), without the slash."
        )
    return {p.name: own(inputs[p.name]) for p in by_name if p.name in inputs}


def defaults(factory: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a factory's parameters that a prompt can show."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # builtins tell no signature
        return {}
    shown = {}
    for parameter in parameters:
        if parameter.default is not parameter.empty and parameter.default is not None:
            with contextlib.suppress(BlueprintError):  # an LLM object, say
                shown[parameter.name] = plain_value(parameter.default, parameter.name)
    return shown


def name_of(source: Any) -> str:
    """What a factory is called."""
    source = getattr(source, "func", source)  # of a partial
    return str(getattr(source, "__name__", None) or getattr(type(source), "__name__", "factory"))
