"""Our own records and events to JSON and back; what is at its default is left out."""

from __future__ import annotations

import types
import typing
from contextlib import suppress
from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from crew_nb._state import events as ev
from crew_nb._state.plain import Json, Scrub, plain, same, unplain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")

LARGEST = 1e11
"""Times, counts and amounts beyond this (seconds of 3,000 years) are damage; no calendar has them."""


def encode(record: object, scrub: Scrub = same) -> Json:
    """One of our frozen records as JSON; fields that have their default are left out."""
    kind: Any = type(record)
    if kind is str:
        return scrub(cast("str", record))
    if kind is tuple:
        return [encode(item, scrub) for item in cast("tuple[object, ...]", record)]
    if not hasattr(kind, "__dataclass_fields__"):
        return plain(record, scrub)
    kept = ((name, getattr(record, name), default) for name, default in _defaults(kind))
    return {name: encode(value, scrub) for name, value, default in kept if value is not default and value != default}


@cache
def _defaults(kind: type) -> tuple[tuple[str, object], ...]:
    def default(field: Any) -> object:
        return field.default if field.default_factory is MISSING else field.default_factory()

    return tuple((f.name, default(f)) for f in fields(kind))


def decode(kind: type[T], tree: Json) -> T:
    """The record of that class; fields that this version does not know are left out.

    Raises:
        Exception: Where the tree is not that of such a record.
    """
    return cast("T", _reader(cast("Any", kind))(tree))


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    """What reads a value of that type, and raises where the value is of another: it was written by anybody."""
    if hasattr(hint, "__dataclass_fields__"):
        hints = typing.get_type_hints(hint)
        readers = {f.name: _reader(hints[f.name]) for f in fields(hint)}
        return lambda tree: hint(
            **{name: read(tree[name]) for name, read in readers.items() if name in _of(dict, tree)}
        )
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = _reader(typing.get_args(hint)[0])
        return lambda tree: tuple([item(part) for part in _of(list, tree)])
    if origin in (typing.Union, types.UnionType):
        (option,) = (option for option in typing.get_args(hint) if option is not types.NoneType)
        read = _reader(option)
        return lambda tree: None if tree is None else read(tree)
    if origin is typing.Literal:
        return lambda tree: typing.get_args(hint)[typing.get_args(hint).index(tree)]
    return _LEAVES[hint]


def _of(kind: type[T], value: Json) -> T:
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} wanted")
    return value


def _number(value: Json) -> float:
    value = unplain(value)
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        raise ValueError("a time or an amount wanted")
    return cast("float", value)


def _whole(value: Json) -> int:
    if abs(_of(int, value)) > LARGEST:
        raise ValueError("a count wanted")
    return cast("int", value)


_LEAVES: dict[Any, Callable[[Any], Any]] = {
    str: lambda value: _of(str, value),
    bool: lambda value: _of(bool, value),
    int: _whole,
    float: _number,
}


def encode_events(events: Collection[ev.Event], scrub: Scrub = same) -> list[Json]:
    """Events as JSON, in order.

    Pieces of a streamed answer are left out where the whole answer follows, and joined where none does: a secret
    could hide on the seam of two pieces.
    """
    whole = {e.call for e in events if isinstance(e, ev.CallFinished)}
    pieces: dict[str, list[ev.CallChunk]] = {}
    for event in events:
        if isinstance(event, ev.CallChunk) and event.call not in whole:
            pieces.setdefault(event.call, []).append(event)
    trees = []
    for event in events:
        tree = {"event": type(event).__name__, **encode(event, scrub)}
        if isinstance(event, ev.CallChunk):
            parts = pieces.get(event.call, ())
            if not parts or event is not parts[0]:
                continue
            tree["text"] = scrub("".join(part.text for part in parts))
        trees.append(tree)
    return trees


def decode_events(trees: list[Json]) -> list[ev.Event]:
    """The events; kinds that this version does not know, and what is damaged, are left out."""
    events = []
    for tree in trees:
        with suppress(TypeError, ValueError, KeyError):
            kind = getattr(ev, tree["event"], None)
            if isinstance(kind, type) and issubclass(kind, ev.Event):
                events.append(decode(kind, tree))
    return events
