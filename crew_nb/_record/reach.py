"""What the code of a user's function reaches outside itself: globals, modules, files, variables of the environment."""

from __future__ import annotations

import contextlib
import dis
import importlib
import importlib.util
import itertools
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb._record.writes import (
    is_packages_file,
    is_users_module,
)
from crew_nb._state.secret_looks import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FILE = re.compile(r"\A[^\n{}]{1,250}\.\w{1,8}\Z")


_FOLDER = re.compile(r"[\w./-]{1,60}")


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]+")


def all_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from all_names(constant)


def imported(name: str, names: Mapping[str, Any]) -> types.ModuleType | None:
    """A module that a function imports when it is called, if it is the user's; imported for it if it is not yet."""
    level = len(name) - len(name.lstrip("."))
    name = importlib.util.resolve_name(name, names.get("__package__")) if level else name
    if name not in sys.modules:
        top = importlib.util.find_spec(name.partition(".")[0])
        if top is not None and is_packages_file(top.origin):
            return None
        importlib.import_module(name)  # noqa: TID251 - a module of the user
    return sys.modules[name] if is_users_module(name) else None


def of_module(module: types.ModuleType, name: str) -> Any:
    """What a module has under a name; one of its own modules, if that is not imported yet."""
    if not hasattr(module, name) and hasattr(module, "__path__"):
        with contextlib.suppress(ImportError):
            importlib.import_module(f"{module.__name__}.{name}")  # noqa: TID251 - a module of the user
    return getattr(module, name, None)


def folder_of(module: str) -> Path:
    """The folder of a module's file; the current one where it has none."""
    return Path(getattr(sys.modules.get(module), "__file__", None) or "x").parent


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code and those of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def files_named(code: types.CodeType) -> set[str]:
    """The names of files among the constants, joined to those of folders: `HERE / "config" / "agents.yaml"`."""
    constants = [c for inner in _codes(code) for c in inner.co_consts]
    texts = {t for c in constants for t in (c if isinstance(c, tuple) else (c,)) if isinstance(t, str)}
    files = {text for text in texts if FILE.fullmatch(text)}
    return files | {f"{folder}/{file}" for file in files for folder in texts if _FOLDER.fullmatch(folder)}


def variables(code: types.CodeType) -> list[str]:
    """The environment variables that the code reads by name, save secret ones."""
    names = {name for inner in _codes(code) for name in inner.co_names}
    if not names & {"environ", "getenv"}:
        return []
    constants = {c for inner in _codes(code) for c in inner.co_consts if isinstance(c, str)}
    return sorted(c for c in constants if _VARIABLE.fullmatch(c) and not is_secret_name(c))


Reached = tuple[str, tuple[str, ...]]
"""A global's name, or `:` and a module's, and the attributes that are taken on the way from there."""


def reached_by(code: types.CodeType, imports: Mapping[str, Reached]) -> set[Reached]:
    """What the code reads that is not its own.

    Args:
        code: A function's.
        imports: Modules, or what is taken from them, by the local names that code around it gives them.
    """
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("PUSH_NULL", "EXTENDED_ARG")]
    imports = {**imports, **_imports(steps)}
    reached = set()
    for n, step in enumerate(steps):
        names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
        chain = tuple(
            str(s.argval)
            for s in itertools.takewhile(lambda s: s.opname in ("LOAD_ATTR", "LOAD_METHOD"), steps[n + 1 :])
        )
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            reached.add((str(step.argval), chain))
        elif "LOAD_FAST" in step.opname or step.opname == "LOAD_DEREF":  # from 3.13 on also as half of a step
            for place, name in enumerate(names):
                if name in imports:
                    base, taken = imports[name]
                    reached.add((base, (*taken, *(chain if place == len(names) - 1 else ()))))
    return reached.union(*(reached_by(c, imports) for c in code.co_consts if isinstance(c, types.CodeType)))


def _imports(steps: list[dis.Instruction]) -> dict[str, Reached]:
    """What the code imports, by the local names that it gives it."""
    imports: dict[str, Reached] = {}
    module, whole, listed = "", "", False
    taken: tuple[str, ...] = ()
    for n, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            module = ":" + "." * steps[n - 2].argval + str(step.argval)
            listed, taken = bool(steps[n - 1].argval), ()
            whole = module if listed or steps[n + 1].opname == "IMPORT_FROM" else module.partition(".")[0]
        elif step.opname == "IMPORT_FROM" and listed:
            taken = (str(step.argval),)
        elif step.opname.startswith("STORE_") and module:
            name = step.argval[0] if isinstance(step.argval, tuple) else step.argval
            imports[str(name)] = whole, taken
            if steps[n + 1].opname != "IMPORT_FROM":
                module = ""
    return imports
