"""What the user's functions write to while they build or run a crew, read off their syntax; nothing of theirs is run.

A fingerprint leaves it out: the entry or attribute that is written (a counter, a log), never the object around it.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import functools
import inspect
import re
import sys
import sysconfig
import textwrap
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_PACKAGES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
OURS = frozenset({"crew_nb", "crewai", "crewai_tools"})
_CHANGING = frozenset(
    {"append", "appendleft", "extend", "insert", "add", "discard", "update", "pop", "popleft", "remove", "clear"}
)
_READING = re.compile(r"(safe_|full_)?(open|read|load)")
_MEMO = re.compile(r"(?i)cache|memo(?!r)")
_NOTHING: Any = object()


class Written:
    """What the user's functions write to while they build or run a crew: entries and attributes, by their object."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[object, set[Any]]] = {}  # the object is held, so that its id stays its own
        self._seen: dict[tuple[types.CodeType, int], object] = {}
        self._sources: dict[types.CodeType, Source | None] = {}

    def __len__(self) -> int:
        return sum(len(names) for _, names in self._names.values())

    def by(self, thing: object) -> set[Any]:
        """The keys or attributes of a thing that are written."""
        return self._names.get(id(thing), (thing, set()))[1]

    def look_at(self, function: types.FunctionType, bound: object = _NOTHING) -> Source | None:
        """Learn what a function writes, and what the methods write that it calls.

        Args:
            function: The user's function.
            bound: The object that it is a method of.
        """
        code = function.__code__
        if code not in self._sources:
            tree = _source(function)
            self._sources[code] = None if tree is None else Source(tree)
        source = self._sources[code]
        if source is None or (code, id(bound)) in self._seen:
            return source
        self._seen[code, id(bound)] = bound
        scope = collections.ChainMap(_cells(function), function.__globals__)
        if bound is not _NOTHING and code.co_argcount:
            scope = scope.new_child({code.co_varnames[0]: bound})
        for container, key in source.writes:
            thing = _resolve(container, scope)
            if thing is not _NOTHING:
                self._names.setdefault(id(thing), (thing, set()))[1].add(key)
        for attribute in source.attributes:
            owner = _resolve(attribute.value, scope)
            if owner is not _NOTHING and is_users(type(owner)):
                self._look_at_method(owner, attribute.attr)
        return source

    def look_at_entries(self, thing: object) -> None:
        """Learn what an object writes to itself in the methods by which a library calls it."""
        known = {name for base in type(thing).__mro__ if not is_users(base) for name in vars(base)}
        for kind in filter(is_users, type(thing).__mro__):
            for name in list(vars(kind)):
                if name == "__call__" or (name in known and not is_dunder(name) and name != "model_post_init"):
                    self._look_at_method(thing, name)

    def _look_at_method(self, owner: object, name: str) -> None:
        member = within(inspect.getattr_static(type(owner), name, None))
        member = member.fget if isinstance(member, property) else member
        if isinstance(member, types.FunctionType) and is_users(member):
            self.look_at(inspect.unwrap(member), owner)


class Source:
    """A function's syntax, and what it does to what it did not make itself."""

    def __init__(self, tree: ast.AST) -> None:
        self.text = ast.unparse(tree)
        called = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call))
        names = (
            f.attr if isinstance(f, ast.Attribute) else f.id for f in called if isinstance(f, ast.Attribute | ast.Name)
        )
        self.reads = any(map(_READING.match, names))
        """Whether it reads files."""
        self.attributes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)]
        """Where it reads an attribute, a method perhaps."""
        self.writes: list[tuple[ast.expr, Any]] = []
        """Each container with the key or attribute that is written."""
        self._above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self._places: dict[str, bool] = {}
        for node in self._above:
            if isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
                place = node.id if isinstance(node, ast.Name) else ast.unparse(node)
                self._places[place] = self._places.get(place, True) and self._only_writes(node)
        declared = {n for node in self._above if isinstance(node, ast.Global | ast.Nonlocal) for n in node.names}
        stored = {n.id for n in self._above if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
        logs = {place for place, only in self._places.items() if only}
        self.skipped = frozenset(declared & stored | logs)
        """Names whose value it sets itself, and those that it writes to and never reads: a log."""
        for node in self._above:
            self._note_writes(node)

    def _note_writes(self, node: ast.AST) -> None:
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            self._note(node.value, [_key(node)])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            self._note(node.func.value, _keys_of(node))

    def _note(self, container: ast.expr, keys: list[Any]) -> None:
        if _NOTHING not in keys:
            self.writes += [(container, key) for key in keys]
        # It is not told which entries: all of them are left out where none is read, or where they only save work.
        elif isinstance(container, ast.Attribute | ast.Subscript):
            key, place = _key(container), ast.unparse(container)
            if key is not _NOTHING and (self._places.get(place) or _MEMO.search(str(key))):
                self.writes.append((container.value, key))
        elif isinstance(container, ast.Name) and _MEMO.search(container.id):
            self.skipped |= {container.id}

    def _only_writes(self, node: ast.AST) -> bool:
        """Whether a name or a place stands where it is written to, or counted, and not read."""
        above = self._above.get(node)
        if isinstance(above, ast.Call):
            return isinstance(above.func, ast.Name) and above.func.id == "len"
        if not isinstance(above, ast.Attribute | ast.Subscript) or above.value is not node:
            return False
        if not isinstance(above.ctx, ast.Load):
            return True
        call = self._above.get(above)
        if isinstance(above, ast.Attribute) and isinstance(call, ast.Call) and call.func is above:
            return above.attr in _CHANGING and isinstance(self._above.get(call), ast.Expr)
        return self._only_writes(above)


def _key(node: ast.Attribute | ast.Subscript) -> Any:
    """The attribute's name or the constant key; `_NOTHING` where it is not told."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.slice.value if isinstance(node.slice, ast.Constant) else _NOTHING


def _keys_of(call: ast.Call) -> list[Any]:
    """The keys that a call of `update` or `pop` writes, `_NOTHING` for those that are not told."""
    assert isinstance(call.func, ast.Attribute)
    if call.func.attr == "pop" and call.args:
        return [call.args[0].value if isinstance(call.args[0], ast.Constant) else _NOTHING]
    if call.func.attr != "update":
        return [_NOTHING]
    keys: list[Any] = [keyword.arg or _NOTHING for keyword in call.keywords]
    for argument in call.args:
        given = argument.keys if isinstance(argument, ast.Dict) else [None]
        keys += [key.value if isinstance(key, ast.Constant) else _NOTHING for key in given]
    return keys


def _cells(function: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    return found


def _resolve(place: ast.expr, scope: Mapping[str, Any]) -> Any:
    """The object at a place such as `CONFIG["styles"]` or `self.state`; `_NOTHING` where code would have to run."""
    if isinstance(place, ast.Name):
        return scope.get(place.id, _NOTHING)
    if not isinstance(place, ast.Attribute | ast.Subscript):
        return _NOTHING
    owner, key = _resolve(place.value, scope), _key(place)
    if owner is _NOTHING or key is _NOTHING:
        return _NOTHING
    if isinstance(place, ast.Subscript):
        try:
            return owner[key] if type(owner) in (dict, list, tuple) else _NOTHING
        except (LookupError, TypeError):
            return _NOTHING
    for own in (getattr(owner, "__dict__", {}), private(owner)):
        if key in own:
            return own[key]
    found = inspect.getattr_static(type(owner), key, _NOTHING)
    return _NOTHING if hasattr(type(found), "__get__") else found


def within(member: Any) -> Any:
    """The method inside a decorator's object (`@agent`, `@task`, `@cache`), or the member itself."""
    inside = getattr(member, "_meth", None) or getattr(member, "__wrapped__", None)
    return inside if isinstance(inside, types.FunctionType) and not isinstance(member, types.FunctionType) else member


def _source(function: types.FunctionType) -> ast.AST | None:
    """The function's syntax; None where there is none, or only that of the statement around a lambda."""
    if function.__name__ == "<lambda>":
        return None
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    except (OSError, TypeError, SyntaxError):
        return None


def private(model: Any) -> Mapping[str, Any]:
    """The private attributes of a pydantic model; none of anything else."""
    return getattr(model, "__pydantic_private__", None) or {}


def is_dunder(name: str) -> bool:
    """Whether it is a name like `__init__`."""
    return name.startswith("__") and name.endswith("__")


def is_users(thing: Any) -> bool:
    """Whether a function or a class is the user's own code, rather than an installed package's."""
    return is_users_module(getattr(thing, "__module__", None) or "__main__")


@functools.cache
def is_users_module(name: str) -> bool:
    """Whether the module is the user's own: neither installed nor part of Python or crew_nb."""
    if name.partition(".")[0] in OURS or name in sys.builtin_module_names:
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return name == "__main__" or not is_packages_file(file)


def is_packages_file(file: str | None) -> bool:
    """Whether a module's file belongs to Python or to an installed package."""
    return file in ("built-in", "frozen") or (file is not None and str(Path(file).resolve()).startswith(_OF_PACKAGES))
