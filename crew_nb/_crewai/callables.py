"""What a callable of the user's comes to, seen without calling it."""

from __future__ import annotations

import dis
import functools
import inspect
from types import FunctionType, MethodType, ModuleType
from typing import Any

from crew_nb._crewai import offload as _offload


def async_function(callback: Any, depth: int = 4) -> str:
    """The async function that calling it would end in, by name; empty where none can be seen without calling it.

    A plain function is looked through where it does nothing but return another's call: many a lambda, and what CrewAI
    makes of `@before_kickoff` and `@after_kickoff`.
    """
    while isinstance(callback, functools.partial) or _is_moved(callback):
        callback = callback.func if isinstance(callback, functools.partial) else callback.__wrapped__
    function, owner = getattr(callback, "__func__", callback), getattr(callback, "__self__", None)
    name = getattr(function, "__name__", "")
    if not inspect.isfunction(function):  # an object that can be called
        function, owner, name = type(callback).__call__, callback, f"{type(callback).__name__}.__call__"
    if inspect.iscoroutinefunction(function):
        return name
    return async_function(only_call(function, owner), depth - 1) if depth and inspect.isfunction(function) else ""


def _is_moved(callback: Any) -> bool:
    """Whether it is our wrapper of a callback of an isolated crew, which calls it in a thread."""
    return getattr(callback, "__globals__", None) is vars(_offload) and hasattr(callback, "__wrapped__")


def looked_through(source: Any, depth: int = 4) -> Any:
    """What calling it comes to, as far as that can be seen without calling it."""
    called = source.func if isinstance(source, functools.partial) else None
    if inspect.isfunction(source):
        called = only_call(source)
    return source if called is None or not depth else looked_through(called, depth - 1)


def only_call(function: FunctionType, owner: object = None) -> Any:
    """What a function calls, where all that it does is to return this one call; None otherwise."""
    steps = list(dis.get_instructions(function))
    calls = [n for n, step in enumerate(steps) if step.opname in ("CALL", "CALL_KW", "CALL_FUNCTION_EX")]
    first = next((n for n, step in enumerate(steps) if step.opname.startswith("LOAD_")), 0)  # what is called
    if (
        len(calls) != 1
        or steps[calls[0] + 1].opname != "RETURN_VALUE"
        or any("JUMP" in step.opname for step in steps)
        or not steps[first].opname.startswith(("LOAD_GLOBAL", "LOAD_DEREF", "LOAD_FAST"))
    ):
        return None
    try:
        names = inspect.getclosurevars(function)
    except ValueError:  # a name that has no value yet
        return None
    own = dict.fromkeys(function.__code__.co_varnames[:1], owner)
    found = {**names.globals, **names.nonlocals, **own}.get(steps[first].argval)
    for step in steps[first + 1 :]:
        if step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        holder, found = found, inspect.getattr_static(found, step.argval, None)  # no property of the user's is run
        if inspect.isfunction(found) and not isinstance(holder, type | ModuleType):
            found = MethodType(found, holder)
    return found
