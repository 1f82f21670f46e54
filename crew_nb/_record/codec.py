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
    if hasattr(hint, "__dataclass_fields__"):
        hints = typing.get_type_hints(hint)
        readers = {f.name: _reader(hints[f.name]) for f in fields(hint)}
        return lambda tree: hint(**{name: read(tree[name]) for name, read in readers.items() if name in tree})
    origin = typing.get_origin(hint)
    if origin is tuple:
        item = _reader(typing.get_args(hint)[0])
        return lambda tree: tuple([item(part) for part in tree])
    if origin in (typing.Union, types.UnionType):
        option: Any
        for option in typing.get_args(hint):
            if hasattr(option, "__dataclass_fields__"):
                read = _reader(option)
                return lambda tree: None if tree is None else read(tree)
    return unplain


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
        with suppress(TypeError, ValueError, KeyError, AttributeError):
            kind = getattr(ev, tree["event"], None)
            if isinstance(kind, type) and issubclass(kind, ev.Event):
                events.append(decode(kind, tree))
    return events
