"""Which classes a record or a file may bring back to life: data models of the reader's own, and nothing else.

What is read was written by anybody. So nothing is imported because it is named there, no attribute of a module or a
class is asked for (they may compute it), and what is built runs no code but the validators of the reader's own model.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = __name__.partition(".")[0]
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_INSTALLED = ("site-packages", "dist-packages")
_BASES = frozenset({"builtins", "abc", "typing", "typing_extensions", "pydantic.main", "pydantic.root_model"})
"""Modules whose classes a data model may be made of."""
_DO_MORE = frozenset({"__init__", "__new__", "__del__", "__getattr__", "__getattribute__", "__setattr__"}) | {
    "__post_init__",
    "model_post_init",
    "__get_pydantic_core_schema__",
}
"""What a class that only holds data does not define."""
_IMPORTS = "import_string"
"""pydantic's validator that imports what a text names."""


def data_model(name: str) -> Any:
    """The data model that is defined here under that name (`module:qualname`), or None."""
    module_name, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        if not isinstance(found, ModuleType | type):
            return None
        found = vars(found).get(part)
    if not isinstance(found, type) or "__pydantic_core_schema__" not in vars(found):
        return None
    return found if only_holds_data(found) else None


def only_holds_data(model: Any) -> bool:
    """Whether building such a model from data runs nothing but the reader's own validators, at any depth of it."""
    try:
        nodes = list(_nodes(model.__pydantic_core_schema__))
        return _is_data(model) and all(map(_is_harmless, nodes))
    except Exception:  # a schema that is not complete, or of another pydantic
        return False


def _is_own(module_name: str) -> bool:
    """Whether it is the reader's own code, rather than Python's, a library's or ours."""
    module = sys.modules.get(module_name)
    if module is None or module_name.partition(".")[0] in {_PACKAGE, *sys.builtin_module_names}:
        return False
    file = vars(module).get("__file__")
    if file is None:  # a notebook's, or made by hand
        return getattr(vars(module).get("__spec__"), "origin", None) is None
    return not file.startswith(_LIBRARIES) and not any(place in file for place in _INSTALLED)


def _is_data(kind: type) -> bool:
    for base in kind.__mro__:
        if base.__module__ in _BASES:
            continue
        if not _is_own(base.__module__) or _DO_MORE.intersection(vars(base)) - _given(base):
            return False
        private = vars(base).get("__private_attributes__") or {}
        if any(attribute.default_factory is not None for attribute in private.values()):
            return False
    return True


def _given(kind: type) -> frozenset[str]:
    """What was not written by the user: by the decorator for dataclasses, or by pydantic for private attributes."""
    own = vars(kind)
    given = {"__init__"} if "__dataclass_fields__" in own else set()
    if getattr(own.get("model_post_init"), "__name__", "") == "init_private_attributes":
        given.add("model_post_init")
    return frozenset(given)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of a core schema."""
    if isinstance(schema, dict):
        if "type" in schema:
            yield schema
        for name, part in schema.items():
            if name not in ("metadata", "serialization"):
                yield from _nodes(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _nodes(part)


def _is_harmless(node: dict[str, Any]) -> bool:
    kind = node["type"]
    if kind in ("model", "dataclass"):
        return _is_data(node["cls"])
    if kind in ("call", "arguments"):
        return False
    function = node.get("function")
    return not callable(function) or _is_check(function)


def _is_check(function: Any) -> bool:
    """Whether a validator is the reader's own, or one of pydantic's that only looks at its value."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    module = getattr(function, "__module__", None) or "builtins"
    if getattr(function, "__name__", "") == _IMPORTS:
        return False
    return module.partition(".")[0] in ("pydantic", "pydantic_core", "annotated_types", "builtins") or _is_own(module)
