"""Any value to JSON and back; nothing that is to be kept makes it raise.

JSON's own types stand for themselves. Everything else is an object with the key `$`, which names its type. A value
that cannot be rebuilt comes back as the nearest plain thing, and a class that cannot be found as a look-alike with
the same fields. `scrub` sees every text on its way out, so that a secret is gone before the JSON exists.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, cast

from crew_nb._state.models import data_model

Json = Any
"""None, bool, int, float, str, or a list or dict of them."""
Scrub = Callable[[str], str]
Encode = Callable[[Any, Scrub], Json]
"""What makes JSON of an output."""

DEEPEST = 100
"""Levels of nesting that are kept; what lies deeper is kept as text, so that JSON can be read back."""
REPR_KEPT = 10_000
"""Characters kept of an object that has no better form than its repr."""
INT_BITS = 4_096
"""Longer integers are written as hex: Python refuses to read very long decimal ones."""


def same(text: str) -> str:
    """The text as it is: the scrub that leaves everything."""
    return text


def dumps(tree: Json) -> str:
    """JSON on one line, readable in any language; pure ASCII only where a lone surrogate asks for it."""
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return json.dumps(tree, separators=(",", ":"))
    return text


# -- any value -------------------------------------------------------------------------------------------------


def plain(value: object, scrub: Scrub = same) -> Json:
    """The value as JSON; never raises and never follows a cycle.

    Args:
        value: Anything.
        scrub: Applied to every text in it, keys, bytes and reprs included.
    """
    return _plain(value, scrub, ())


def _plain(value: Any, scrub: Scrub, above: tuple[int, ...]) -> Json:
    kind = type(value)
    if kind is str:
        return scrub(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if value.bit_length() <= INT_BITS else {"$": "int", "v": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$": "float", "v": repr(value)}
    if id(value) in above or len(above) >= DEEPEST:
        return {"$": "repr", "v": f"<{kind.__name__} nested too deep>"}
    try:
        return _odd(value, scrub, (*above, id(value)))
    except Exception:  # a user's class may raise in anything that it defines
        return {"$": "repr", "v": _repr(value, scrub)}


def _odd(value: Any, scrub: Scrub, above: tuple[int, ...]) -> Json:
    def inner(item: object) -> Json:
        return _plain(item, scrub, above)

    def tag(name: str, content: Json) -> Json:
        return {"$": name, "v": content}

    kind = type(value)
    if isinstance(value, Enum):
        return inner(value.value)
    if isinstance(value, Mapping):
        if "$" not in value and all(type(k) is str for k in value):
            return {scrub(k): inner(v) for k, v in value.items()}
        return tag("dict", [[inner(k), inner(v)] for k, v in value.items()])
    if isinstance(value, tuple):
        return tag("tuple", [inner(v) for v in value])
    if isinstance(value, list):
        return [inner(v) for v in value]
    if isinstance(value, set | frozenset):
        return tag("set", sorted((inner(v) for v in value), key=_sorted_dumps))
    if isinstance(value, bytes | bytearray | memoryview):
        text = bytes(value).decode("utf-8", "surrogateescape")
        return tag("bytes", base64.b64encode(scrub(text).encode("utf-8", "surrogateescape")).decode())
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return tag(next(name for name in _TIMES if isinstance(value, _TIMES[name])), value.isoformat())
    if isinstance(value, dt.timedelta):
        return tag("timedelta", [value.days, value.seconds, value.microseconds])
    if isinstance(value, Decimal):
        return tag("decimal", str(value))
    if isinstance(value, PurePath):
        return tag("path", scrub(str(value)))
    if isinstance(value, uuid.UUID):
        return tag("uuid", str(value))
    if kind.__module__ == "numpy":
        if value.ndim == 0:
            return inner(value.item())
        return {"$": "array", "v": inner(value.tolist()), "dtype": str(value.dtype)}
    if hasattr(kind, "model_fields") and hasattr(kind, "model_dump"):
        return {"$": "model", "class": class_name(kind), "v": inner(model_fields(value))}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: inner(getattr(value, f.name)) for f in fields(value)}
    for base in (str, int, float):
        if isinstance(value, base):
            return inner(base(value))
    return tag("repr", _repr(value, scrub))


_TIMES: dict[str, type] = {"datetime": dt.datetime, "date": dt.date, "time": dt.time}  # a datetime is a date, too


def _sorted_dumps(tree: Json) -> str:
    return json.dumps(tree, sort_keys=True)


def _repr(value: object, scrub: Scrub) -> str:
    try:
        text = scrub(repr(value))
    except Exception:
        return f"<{type(value).__name__} without a repr>"
    return text if len(text) <= REPR_KEPT else f"{text[:REPR_KEPT]}… ({len(text) - REPR_KEPT:,} characters left out)"


def unplain(tree: Json) -> Any:
    """The value that `plain` was given, or the nearest thing to it; never raises.

    What is read may have been written by anybody: nothing is imported for it, and of classes only data models that
    are defined here, by the reader's own code, are built.
    """
    try:
        return _unplain(tree)
    except RecursionError:  # written by hand: `plain` keeps no such depth
        return None


def unplain_as(tree: Json, models: Iterable[Any] = ()) -> Any:
    """The value again, with these models where they are meant and look-alikes of all others.

    Raises:
        Exception: Where one of the models does not take what is there.
    """
    if type(tree) is list:
        return [unplain_as(v, models) for v in tree]
    if type(tree) is not dict or tree.get("$", "model") != "model":
        return unplain(tree)
    if "$" not in tree:
        return {k: unplain_as(v, models) for k, v in tree.items()}
    name = tree["class"].rpartition(":")[2]
    for model in models:
        if model.__qualname__ == name:
            return model.model_validate(unplain(bare(tree["v"])))
    values = unplain_as(tree["v"], models)
    return _look_alike(name.rpartition(".")[2], tuple(values))(**values)


def bare(tree: Json) -> Json:
    """The tree without its classes' names: models as dicts."""
    if type(tree) is list:
        return [bare(item) for item in tree]
    if type(tree) is not dict:
        return tree
    return bare(tree["v"]) if tree.get("$") == "model" else {name: bare(item) for name, item in tree.items()}


def _unplain(tree: Json) -> Any:
    if type(tree) is list:
        return [_unplain(v) for v in tree]
    if type(tree) is not dict:
        return tree
    if "$" not in tree:
        return {k: _unplain(v) for k, v in tree.items()}
    try:
        if tree["$"] == "model":
            return _model(tree["class"], _unplain(tree["v"]))
        build = _BUILD[tree["$"]]
        return build(tree["v"] if tree["$"] in _LEAVES else _unplain(tree["v"]))
    except RecursionError:
        raise
    except Exception:  # written by a newer version, or by hand
        return tree.get("v")


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "float": float,
    "bytes": base64.b64decode,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": lambda v: dt.timedelta(*v),
    "decimal": Decimal,
    "path": Path,
    "uuid": uuid.UUID,
    "repr": lambda v: v,
}


def _frozen(value: Any) -> Any:
    """The value as a member of a set or a key of a dict."""
    if isinstance(value, list):
        return tuple(_frozen(v) for v in value)
    return frozenset(value) if isinstance(value, set) else value


def _array(values: list[Any]) -> Any:
    numpy = sys.modules.get("numpy")
    return values if numpy is None else numpy.array(values)


_BUILD: dict[str, Callable[[Any], Any]] = {
    **_LEAVES,
    "tuple": tuple,
    "set": lambda v: {_frozen(x) for x in v},
    "dict": lambda v: {_frozen(k): x for k, x in v},
    "array": _array,
}


# -- pydantic models -------------------------------------------------------------------------------------------


def class_name(kind: type) -> str:
    """Where a class is defined: `module:qualname`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def model_fields(model: Any) -> dict[str, Any]:
    """Fields by name with their values as they are, extras too; a dump would lose subclasses and odd types."""
    values = {name: getattr(model, name) for name in type(model).model_fields}
    return {**values, **(model.model_extra or {})}


def _model(name: str, values: dict[str, Any]) -> Any:
    kind = data_model(name)
    if kind is not None:
        try:
            of_root = kind.__pydantic_root_model__
            return kind.model_validate(values["root"] if of_root else values, by_name=True, by_alias=True)
        except Exception as error:
            why = f"its fields no longer fit it ({type(error).__name__})"
    else:
        why = (
            "it is no data model that is defined here (if it is one of yours, run its cell, or import its module,"
            " and load again)"
        )
    warnings.warn(f"{name.replace(':', '.')}: {why}; a look-alike with the same fields is shown.", stacklevel=2)
    return _look_alike(name.rpartition(".")[2].rpartition(":")[2], tuple(values))(**values)


@lru_cache(1_000)
def _look_alike(name: str, names: tuple[str, ...]) -> Any:
    from pydantic import BaseModel, ConfigDict, create_model

    base = type(name, (BaseModel,), {"model_config": ConfigDict(extra="allow", arbitrary_types_allowed=True)})
    good = {n: (Any, None) for n in names if n.isidentifier() and not n.startswith("_") and not hasattr(BaseModel, n)}
    return create_model(name, __base__=base, **cast("Any", good))
