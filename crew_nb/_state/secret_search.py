"""Where secrets are kept in what a user gave: fields, private attributes, slots, closures, inputs."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from crew_nb._state.secret_looks import (
    SHORTEST,
    in_address,
    is_plain_word,
    is_secret,
    is_secret_name,
    is_surely_secret,
    looks_chosen,
    texts_of,
)

DEEPEST = 6
"""How far an object is searched for secrets."""
SHARED = "shared"
"""The mark of a client that LLM objects share: what it is made of stands in each of them, and in the environment."""
MOST = 20_000
"""How many objects are searched for secrets."""


def texts_in(inputs: Mapping[str, Any] | None) -> Iterator[str]:
    """The texts in inputs that are long enough to be a secret, at any depth."""
    return (text for leaf in leaves(inputs or {}, 0) for text in texts_of(leaf) if len(text) >= SHORTEST)


def leaves(value: Any, depth: int) -> Iterator[Any]:
    """What is in containers, but is none."""
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        yield value
    elif depth <= DEEPEST:
        for item in list(value.values()) if isinstance(value, Mapping) else value:
            yield from leaves(item, depth + 1)


def search(thing: Any, found: list[str], seen: set[int], depth: int, most: int) -> None:
    if isinstance(thing, str):
        found.extend(in_address(thing))
        return
    if isinstance(thing, bytes | int | float | None) or depth > DEEPEST or len(seen) >= most or id(thing) in seen:
        return
    seen.add(id(thing))
    if hasattr(type(thing), "get_secret_value"):
        with suppress(Exception):  # a class of the user's
            found.extend(texts_of(thing))
        return
    try:
        entries = _entries(thing)
    except Exception:  # the methods of a user's class
        return
    for name, value in entries:
        if isinstance(name, str) and (is_secret_name(name) or is_secret(name, value)):
            sure = is_surely_secret(name)
            texts = [text for text in texts_of(value) if not is_plain_word(text)]
            found.extend(text for text in texts if sure or (len(text.split()) == 1 and looks_chosen(text)))
        search(value, found, seen, depth + 1, most)


def _entries(thing: Any) -> list[tuple[Any, Any]]:
    """What an object holds, with its names: attributes, private ones and slots too, and what its class says."""
    if isinstance(thing, Mapping):
        return list(thing.items())
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return list(zip(thing._fields, thing, strict=False))
    if isinstance(thing, list | tuple | set | frozenset):
        return [("", item) for item in list(thing)]
    if isinstance(thing, types.MethodType):
        return [("", thing.__self__), ("", thing.__func__)]
    if isinstance(thing, types.FunctionType):
        return _of_function(thing)
    if isinstance(thing, functools.partial):
        return [("", thing.func), ("", thing.args), ("", thing.keywords)]
    if isinstance(thing, type):
        return _of_class(thing)
    if type(thing).__module__ in ("builtins", "_thread", "threading", "logging"):
        return []
    entries: list[tuple[Any, Any]] = []
    with suppress(Exception):
        if object.__getattribute__(thing, "__dict__").get("_crew_nb") == SHARED:
            return []
    for place in ("__dict__", "__pydantic_private__", "__pydantic_extra__"):
        with suppress(Exception):
            entries += list((object.__getattribute__(thing, place) or {}).items())
    for kind in type(thing).__mro__:
        for name, member in list(vars(kind).items()):
            if isinstance(member, types.MemberDescriptorType) and not name.startswith("__"):
                with suppress(Exception):  # it is not set
                    entries.append((name, member.__get__(thing)))
    return entries + _of_class(type(thing))


def _of_class(kind: type) -> list[tuple[Any, Any]]:
    """The plain values that a class and its bases hold."""
    return [
        (name, value)
        for base in kind.__mro__
        if base.__module__ != "builtins"
        for name, value in list(vars(base).items())
        if not name.startswith("__") and isinstance(value, str | bytes | dict | list | tuple)
    ]


def _of_function(function: types.FunctionType) -> list[tuple[Any, Any]]:
    """What a function has at hand: the variables around it, its defaults, and the globals that it names."""
    code = function.__code__
    entries: list[tuple[Any, Any]] = [("", function.__defaults__), ("", function.__kwdefaults__)]
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        with suppress(ValueError):  # it is empty yet
            entries.append((name, cell.cell_contents))
    names = [name for name in code.co_names if name in function.__globals__]
    values = [(name, function.__globals__[name]) for name in names]
    return entries + [(name, value) for name, value in values if isinstance(value, str | bytes | dict | list | tuple)]
