"""Whether what a batch runs can travel to another process, said before launch."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from crew_nb._cluster import said
from crew_nb._crewai import kinds as _kinds
from crew_nb._state.errors import BlueprintError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._crewai.blueprint import Plan


def travelling(plans: Sequence[Plan]) -> dict[int, said.Blueprint]:
    """What the plans run, ready to travel, by the ids of their sources.

    Raises:
        BlueprintError: When a crew or an input cannot travel to another process.
    """
    blueprints: dict[int, said.Blueprint] = {}
    for plan in plans:
        if id(plan.source) not in blueprints:
            blueprints[id(plan.source)] = said.Blueprint(len(blueprints), _pickled_source(plan.source))
        _check_inputs(plan)
    return blueprints


def _pickled_source(source: Any) -> bytes:
    kind = _kinds.find(source)
    if kind is not None and not isinstance(source, type):
        word = kind.name.capitalize()
        raise BlueprintError(
            f"a {word} object cannot travel to another process: it holds locks and connections. Give a factory, which "
            f"builds the {kind.name} on the worker:\n\n"
            f"    def build_{kind.name}(topic):\n        ...  # all that it needs made here\n"
            f"        return {word}(...)\n\n"
            f"and pass build_{kind.name} instead of the {word}."
        )
    try:
        return said.pickled(source)
    except Exception as error:
        name = getattr(source, "__name__", type(source).__name__)
        culprit = _culprit(source)
        what = f"it uses {culprit}, which cannot be pickled" if culprit else f"it cannot be pickled ({error})"
        raise BlueprintError(
            f"{name}() cannot travel to another process: {what}. Make everything that the crew needs inside {name}()."
        ) from error


def _culprit(source: Any) -> str:
    """The name and type of a global or closed-over value of a function that cannot be pickled."""
    function = inspect.unwrap(source)
    found: dict[str, Any] = {}
    with contextlib.suppress(TypeError, ValueError):
        names = inspect.getclosurevars(function)
        found = {**names.globals, **names.nonlocals}
    if inspect.ismethod(source):
        found["self"] = source.__self__
    for name, value in found.items():
        try:
            said.pickled(value)
        except Exception:
            return f"{name} (a {type(value).__name__})"
    return ""


def _check_inputs(plan: Plan) -> None:
    try:
        said.pickled((plan.inputs, plan.how))
    except Exception:
        for name, value in (plan.inputs or {}).items():
            try:
                said.pickled(value)
            except Exception as error:
                raise BlueprintError(
                    f"the input {name} of run {plan.index} is a {type(value).__name__}, which cannot travel to "
                    f"another process ({error}). Give its text or its path."
                ) from error
        raise
