"""What a run is known by: a digest of its blueprint's content, its inputs and its repeat, the same in every kernel.

It covers what can change an answer: a crew's agents, tasks, LLM settings and tools; a factory's source with the values
and the functions of the user that it reaches. It leaves out what cannot: keys, ids, callbacks that only watch, the
crew's name, and what the user's functions write themselves (a counter, a log): the entry or attribute that they write,
never the object around it. Where that cannot be told, all counts: a run too many costs money, but an old answer taken
for a new one is wrong. Code of installed packages counts by its name, so that an upgrade does not run paid work again.
"""

from __future__ import annotations

import abc
import builtins
import collections
import contextlib
import functools
import hashlib
import inspect
import json
import os
import pickle
import re
import types
import typing
import uuid
import warnings
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb._record.reach import FILE, all_names, files_named, folder_of, imported, of_module, reached_by, variables
from crew_nb._record.writes import (
    OURS,
    Written,
    is_dunder,
    is_users,
    is_users_module,
    private,
    within,
)
from crew_nb._state import plain as _plain
from crew_nb._state.secret_looks import is_secret, is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterable

DEEPEST = 100
"""Levels of values within values that are followed; what is deeper is not seen."""
MOST = 200_000
"""Values that are looked at; what comes after them is not seen."""

# Fields of CrewAI's classes that a run changes, or that change no answer.
_LEFT_OUT = frozenset(
    {"id", "crew", "name", "entity_type", "security_config", "execution_context", "tracing", "verbose", "share_crew"}
    | {"agent_executor", "cache_handler", "tools_handler", "tools_results", "tools_errors", "used_tools", "delegations"}
    | {"usage_metrics", "token_usage", "execution_logs", "output", "processed_by_agents", "start_time", "end_time"}
    | {"retry_count", "prompt_context", "current_usage_count", "description_updated", "env_vars", "output_log_file"}
    | {"checkpoint", "checkpoint_inputs", "checkpoint_train", "checkpoint_kickoff_event_id"}
    | {"checkpoint_original_description", "checkpoint_original_expected_output", "task_execution_output_json_files"}
    | {"step_callback", "task_callback", "callback", "callbacks", "max_rpm", "stream", "timeout", "max_retries"}
    | {"interceptor", "client_params", "default_headers", "knowledge", "knowledge_storage", "storage", "chunks"}
    | {"chunk_embeddings", "safe_file_paths"}
)
_DATA = frozenset({"numpy", "pandas", "polars", "pyarrow"})
# Their objects change by themselves, or say nothing: of these, what they openly hold counts, and no more.
# Modules by their names without an underscore, which many of Python's have in C.
_MACHINERY = frozenset({"threading", "thread", "logging", "asyncio", "concurrent", "random", "queue", "weakref"})
_HANDLES = (
    _MACHINERY
    | OURS
    | {"abc", "contextvars", "io", "tempfile", "subprocess", "multiprocessing", "socket", "ssl", "selectors"}
    | {"sqlite3", "sqlalchemy", "httpx", "httpcore", "requests", "urllib3", "aiohttp", "grpc", "openai", "anthropic"}
    | {"google", "boto3", "botocore", "litellm", "instructor", "mcp", "chromadb", "lancedb", "qdrant_client", "redis"}
    | {"pymongo", "psycopg", "psycopg2", "opentelemetry", "distributed", "dask", "rich", "tqdm", "IPython"}
    | {"ipykernel", "ipywidgets", "traitlets"}
)
_ATOMS = (str, int, float, bool, types.NoneType)
_CONFIG = re.compile(r"\A[^\n{}]{1,250}\.(ya?ml|toml|jinja2?|j2)\Z")
"""Names of files that are read, wherever they stand; those of others may be the names of what a run writes."""
_FILE_KEPT = 10_000_000
"""Bytes of such a file that count."""
_MODEL_NAMES = ("MODEL", "MODEL_NAME", "OPENAI_MODEL_NAME")
"""Environment variables by which CrewAI chooses the LLM of an agent that names none."""
_DARK = frozenset({"eval", "exec", "globals", "__import__"})
_BARE_BASES = (object, abc.ABC, typing.Generic, typing.Protocol)
_ID_NAME = re.compile(r"(?i)(^|_)u?u?id$|Id$")
_ID = re.compile(r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
PASSES = 5
"""How often a blueprint is walked, at the most, until all that its functions write is known."""


class Key(str):
    """A digest; where something could not be looked into, like no other, and `unseen` says in words what that was."""

    __slots__ = ("unseen",)
    unseen: tuple[str, ...]

    @classmethod
    def of(cls, tree: object, unseen: Iterable[str]) -> Key:
        """The key of such content."""
        key = cls(_digest(tree))
        key.unseen = tuple(dict.fromkeys(unseen))
        return key


def fingerprint(crew_or_factory: object) -> Key:
    """What a crew or a factory is known by."""
    written = Written()
    for _ in range(PASSES):
        known = len(written)
        content = _Content(written)
        whole = content.whole(crew_or_factory)
        if len(written) == known:
            break
    return Key.of(whole, content.unseen)


def run_key(blueprint: str, inputs: Mapping[str, Any] | None, repeat: int = 0) -> Key:
    """What a run is known by in the record.

    Args:
        blueprint: Its crew's `fingerprint`.
        inputs: Its inputs; the order of their names makes no difference.
        repeat: How many runs with the same blueprint and inputs come before it in its batch.
    """
    content = _Content(None)
    given = [[name, content.named(f"the input {name}", value)] for name, value in sorted((inputs or {}).items())]
    return Key.of([blueprint, given, repeat], [*getattr(blueprint, "unseen", ()), *content.unseen])


def _digest(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


class _Content:
    """Walks an object and returns its content as JSON; one walk meets each object once.

    Args:
        written: What the functions of a blueprint write, which is left out; None for inputs.
    """

    def __init__(self, written: Written | None) -> None:
        self.unseen: list[str] = []
        self._of_inputs = written is None
        self._written = Written() if written is None else written
        self._known: dict[int, tuple[object, str]] = {}
        self._above: dict[int, int] = {}
        self._looked_at = 0
        self._names: list[str] = []
        self._folders: list[Path] = []
        """Where files that are named may be, beside the current directory."""
        self._spaces: dict[int, int] = {}
        """Numbers of the modules, or cells, that functions stand in, as they are met; their names say nothing."""
        self._reached: dict[tuple[int, str, tuple[str, ...]], Any] = {}
        """What functions reach outside themselves: walked on its own, however long the way to it is."""

    def whole(self, value: Any) -> Any:
        """The content of a blueprint, with all that its functions reach."""
        content = [self.named("it", value), [os.environ.get(name) for name in _MODEL_NAMES if callable(value)]]
        done: list[Any] = []
        while len(done) < len(self._reached):
            for (space, name, chain), found in list(self._reached.items())[len(done) :]:
                done.append([space, name, chain, self.named(".".join([name, *chain]), found)])
        return [content, done]

    def named(self, name: str, value: Any) -> Any:
        """The content of what people know by this name."""
        self._names.append(name)
        try:
            return self.of(value)
        finally:
            self._names.pop()

    def of(self, value: Any) -> Any:
        """The content of anything."""
        if type(value) in _ATOMS:
            return self._text(value, _CONFIG) if type(value) is str else _plain.plain(value)
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        depth = len(self._above)
        if id(value) in self._above:
            return ["again", depth - self._above[id(value)]]
        self._looked_at += 1
        if depth > DEEPEST or self._looked_at > MOST:
            return self._unlike(value)
        self._above[id(value)] = depth
        try:
            digest = _digest(self._inside(value))
        except Exception:  # a user's object may raise anything when it is looked at, and change meanwhile
            digest = _digest(self._unlike(value))
        finally:
            del self._above[id(value)]
        self._known[id(value)] = value, digest  # the value is held, so that its id stays its own
        return digest

    def _text(self, text: str, names: re.Pattern[str]) -> Any:
        """A text, with the content of the file where it names one that is there."""
        if not names.fullmatch(text):
            return _plain.plain(text)
        found = []
        for folder in (Path(), *self._folders):
            try:
                with (folder / text).open("rb") as file:
                    found.append(hashlib.sha256(file.read(_FILE_KEPT)).hexdigest())
            except (OSError, ValueError):
                continue
        return ["file", text, found] if found else _plain.plain(text)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return ["enum", type(value).__qualname__, self.of(value.value)]
        if isinstance(value, str | int | float):
            return self._as(value, _plain.plain(value))
        if isinstance(value, dict | types.MappingProxyType | collections.UserDict):
            entries = ((k, v) for k, v in list(value.items()) if k not in self._written.by(value))
            return self._as(value, "dict", [[self.of(k), self.of(v)] for k, v in entries])
        if isinstance(value, list | tuple):
            written = self._written.by(value)
            return self._as(value, *(self.of(None if n in written else v) for n, v in enumerate(list(value))))
        if isinstance(value, collections.deque):
            return self._as(value, value.maxlen, *map(self.of, list(value)))
        if isinstance(value, set | frozenset):
            return self._as(value, *sorted(map(self.of, value), key=_digest))
        if isinstance(value, KeysView | ValuesView | ItemsView):
            return [type(value).__name__, *map(self.of, list(value))]
        if isinstance(value, types.ModuleType):
            return self._module(value)
        if isinstance(value, type):  # code, wherever it stands
            if not self._of_inputs:
                return self._class(value)
            key = fingerprint(value)
            self.unseen += key.unseen
            return ["class", key]
        if isinstance(value, functools.partial):
            return ["partial", *map(self.of, (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            function = inspect.unwrap(value.__func__)
            if isinstance(function, types.FunctionType) and is_users(function):
                self._written.look_at(function, value.__self__)
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType):
            return ["method", value.__qualname__, self.of(value.__self__)]
        if isinstance(value, types.FunctionType):
            if not self._of_inputs:
                return self._function(value)
            key = fingerprint(value)
            self.unseen += key.unseen
            return ["function", key]
        if isinstance(value, staticmethod | classmethod):
            return self.of(value.__func__)
        if isinstance(value, property):
            return ["property", *map(self.of, (value.fget, value.fset))]
        if isinstance(value, functools.cached_property | functools.partialmethod):
            return [
                "method",
                self.of(value.func),
                *map(self.of, (getattr(value, "args", ()), getattr(value, "keywords", {}))),
            ]
        if isinstance(value, re.Pattern):
            return ["pattern", self.of(value.pattern), value.flags]
        if typing.get_origin(value) is not None:
            return ["generic", self.of(typing.get_origin(value)), *map(self.of, typing.get_args(value))]
        if _package(type(value)) == "crewai_files" and hasattr(value, "read_chunks"):
            return _file(value)
        if hasattr(type(value), "model_fields"):
            return self._model(value)
        if self._of_inputs and is_dataclass(value):
            content = [[field.name, self.of(getattr(value, field.name))] for field in fields(value)]
            return ["dataclass", self.of(type(value)), content]
        return self._object(value)

    def _as(self, value: Any, *content: Any) -> Any:
        """Content of one of Python's own kinds; of a subclass of one, with what that adds."""
        kind = type(value)
        if not is_users(kind):
            return [kind.__name__, *content, self.of(getattr(value, "default_factory", None))]
        return [kind.__name__, *content, self.of(kind), self.of(dict(_attributes(value)))]

    def _module(self, module: types.ModuleType) -> Any:
        """A module as such: of one of the user's, all that it holds, as it is not told what is taken from it."""
        if not is_users_module(module.__name__) or module.__name__ == "__main__":
            return ["module", module.__name__]
        written = self._written.by(module)
        held = {n: v for n, v in vars(module).items() if n not in written and not is_dunder(n) and not is_secret(n, v)}
        return ["module", module.__name__, self._sorted(held)]

    def _sorted(self, items: Mapping[str, Any]) -> Any:
        return [[name, self.of(items[name])] for name in sorted(items)]

    def _model(self, model: Any) -> Any:
        """A crew, an agent, a task, an LLM, a tool, or any other pydantic model: what differs from the defaults."""
        kind = type(model)
        # A model that a factory takes as an input is the question itself, whatever its fields are called.
        whole = self._of_inputs and not any(c.__module__.partition(".")[0] in OURS for c in kind.__mro__)
        left_out = frozenset() if whole else self._left_out(model)
        added = dict(model.model_extra or {}) if whole or is_users(kind) else {}
        if not whole:
            added |= {name: item for name, item in private(model).items() if name in _own_names(kind)}
        content = [[name, self.of(item)] for name, item in added.items() if name not in left_out]
        for name, field in kind.model_fields.items():
            if name in left_out:
                continue
            value = vars(model).get(name)  # `getattr` would warn of deprecated fields
            # CrewAI writes the inputs into these and keeps the templates aside.
            value = getattr(model, f"_original_{name}", None) or value
            if not _is_default(field, value):
                content.append([name, self.of(value)])
        if is_users(kind):
            self._written.look_at_entries(model)
        return ["model", self.of(kind), sorted(content)]

    def _left_out(self, model: Any) -> set[str]:
        """Names of its attributes that are no content."""
        kind = type(model)
        left_out = {*self._written.by(model), *getattr(kind, "pace_and_failures", ())}
        # What a user's own model holds under the same name is content.
        libraries = {name for base in kind.__mro__ if not is_users(base) for name in _fields(base)}
        left_out |= {name for name in libraries if name in _LEFT_OUT or is_secret_name(name)}
        if "args_schema" in libraries:
            left_out.discard("name")  # the LLM is told the names of its tools
        values = {**vars(model), **private(model)}
        return left_out | {n for n, v in values.items() if n not in libraries and (is_secret(n, v) or _is_id(n, v))}

    def _object(self, value: Any) -> Any:
        if within(value) is not value:
            return self.of(within(value))
        kind, package = type(value), _package(type(value))
        if package in _DATA:
            return ["pickle", hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()]
        plain = _plain.plain(value)
        odd = isinstance(plain, dict) and plain.get("$") in ("repr", "model", None)
        if not odd:
            return self._text(str(value), _CONFIG) if isinstance(value, Path) else [plain, self.of(kind)]
        if self._of_inputs or not (is_users(kind) or package in _HANDLES):
            return self._reduced(value)
        if not is_users(kind):
            return ["object", _plain.class_name(kind), self._sorted(_plain_attributes(value))]
        written = self._written.by(value)
        self._written.look_at_entries(value)
        content = {
            name: item
            for name, item in _attributes(value)
            if name not in written and not is_secret(name, item) and not _is_id(name, item)
        }
        return ["object", self.of(kind), self._sorted(content)]

    def _reduced(self, value: Any) -> Any:
        """An object by what it would be made of anew, as `pickle` does it; its parts need not be known to pickle."""
        try:
            with _silent(value):
                made = value.__reduce_ex__(4)
        except TypeError:  # it is no data
            held = getattr(value, "__dict__", None)
            return ["object", self.of(type(value)), self._sorted(held)] if held else self._unlike(value)
        if isinstance(made, str):
            return ["named", getattr(value, "__module__", None), made]
        parts = [list(part) if isinstance(part, Iterator) and n > 2 else part for n, part in enumerate(made)]
        return ["object", *map(self.of, parts)]

    def _unlike(self, value: Any, name: str = "") -> Any:
        name, kind = name or (self._names[-1] if self._names else ""), type(value).__qualname__
        self.unseen.append(f"{name} ({kind})" if name else kind)
        return ["unlike", uuid.uuid4().hex]

    def _class(self, kind: type) -> Any:
        if not is_users(kind):
            return ["class", _plain.class_name(kind)]
        written = {*self._written.by(kind), *(("base_directory",) if hasattr(kind, "is_crew_class") else ())}
        self._folders.append(folder_of(kind.__module__))
        members = {
            name: self.named(f"{kind.__name__}.{name}", within(member))
            for name, member in sorted(vars(kind).items())
            if name not in written and (_is_code(member) or not (is_dunder(name) or is_secret(name, member)))
        }
        self._folders.pop()
        members |= {
            f"={n}": self.of((f.default, f.default_factory)) for n, f in _fields(kind).items() if n in _own_names(kind)
        }
        try:
            schema = kind.model_json_schema(schema_generator=_quiet_schema())  # type: ignore[attr-defined]
        except Exception:  # no pydantic model, or one that has no schema
            schema = None
        bases = [self.of(base) for base in (*kind.__bases__, type(kind))]
        return ["class", kind.__name__, bases, members, self.of(schema)]

    def _function(self, function: types.FunctionType) -> Any:
        module = str(function.__globals__.get("__name__"))  # `__module__` may be that of a wrapped one
        closure = list(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        if not is_users_module(module):
            inner = [[name, self._cell(name, cell)] for name, cell in closure if module.partition(".")[0] not in OURS]
            return ["function", module, function.__qualname__, self.of(getattr(function, "__wrapped__", None)), inner]
        source = self._written.look_at(function)
        skipped = source.skipped if source else frozenset()
        written = self._written.by(function)
        marks = {k: v for k, v in vars(function).items() if not is_dunder(k) and k not in written}
        reads = bool(source and source.reads)
        self._folders.append(folder_of(module))
        reached = [
            self._reach(function, base, chain, reads=reads)
            for base, chain in sorted(reached_by(function.__code__, {}))
            if base not in skipped
        ]
        content = [
            "function",
            source.text if source else self._code(function.__code__),
            self.of(function.__defaults__),
            self.of(function.__kwdefaults__),
            [[name, self._cell(name, cell)] for name, cell in closure if name not in skipped],
            reached,
            [self._text(name, FILE if reads else _CONFIG) for name in sorted(files_named(function.__code__))],
            [os.environ.get(name) for name in variables(function.__code__)],
            self._sorted(marks),
        ]
        self._folders.pop()
        return content

    def _reach(self, function: types.FunctionType, base: str, chain: tuple[str, ...], *, reads: bool) -> Any:
        """A name that a function reads: of the user's own modules only what it takes from them."""
        names, (name, _, module) = function.__globals__, base.partition(":")
        if module:
            try:
                value = imported(module, names)
            except Exception as error:  # it runs the module
                return self._unlike(error, f"import {module}")
            if value is None:
                return ["package", module, chain]
        elif name in names:
            value = names[name]
        else:
            return self._unlike(getattr(builtins, name), name) if name in _DARK else None
        left = list(chain)
        while left and isinstance(value, types.ModuleType) and is_users_module(value.__name__):
            if left[0] in self._written.by(value):
                return None
            value = of_module(value, left.pop(0))
        if reads and isinstance(value, str | Path):
            return self._text(str(value), FILE)
        space = self._spaces.setdefault(id(names), len(self._spaces))
        self._reached.setdefault((space, base, chain), value)
        return [space, base, chain]

    def _cell(self, name: str, cell: types.CellType) -> Any:
        try:
            return self.named(name, cell.cell_contents)
        except ValueError:  # not filled yet
            return ["empty"]

    def _code(self, code: types.CodeType) -> Any:
        constants = [self._code(c) if isinstance(c, types.CodeType) else self.of(c) for c in code.co_consts]
        return ["code", code.co_code.hex(), constants, *map(list, (code.co_names, code.co_varnames, code.co_freevars))]


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """What a user's object holds; of what a framework's class set in it, only what the user's code names."""
    kind = type(value)
    slots = [n for base in kind.__mro__ for n in _as_names(vars(base).get("__slots__", ()))]
    own = {**{n: getattr(value, n) for n in slots if hasattr(value, n)}, **getattr(value, "__dict__", {})}
    is_crew_class = hasattr(kind, "is_crew_class")
    framework = is_crew_class or not all(is_users(base) or base in _BARE_BASES for base in kind.__mro__)
    named = _named(kind) if framework else frozenset()
    for name, item in own.items():
        derived = isinstance(inspect.getattr_static(kind, name, None), functools.cached_property)
        built = is_crew_class and name in ("agents", "tasks")
        if not (derived or built or is_dunder(name) or (framework and name.startswith("_") and name not in named)):
            yield name, item


def _as_names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _named(kind: type) -> frozenset[str]:
    """The names of attributes in the user's code of a class and its bases."""
    members = (within(member) for base in kind.__mro__ if is_users(base) for member in vars(base).values())
    functions = (inspect.unwrap(member) for member in members if isinstance(member, types.FunctionType))
    return frozenset(name for function in functions for name in all_names(function.__code__))


def _plain_attributes(value: Any) -> dict[str, Any]:
    """What an installed package's object openly holds that is data, or a model of CrewAI's: a template's text, say."""
    if _package(type(value)) in _MACHINERY:
        return {}
    own = getattr(value, "__dict__", None)
    if not isinstance(own, dict):
        return {}
    return {n: v for n, v in own.items() if not n.startswith("_") and not is_secret_name(n) and _is_plain(v)}


def _file(file: Any) -> Any:
    """A file for the LLM by its name and what is in it, wherever it lies."""
    digest = hashlib.sha256()
    for chunk in file.read_chunks():
        digest.update(chunk)
    return ["file", file.filename, digest.hexdigest()]


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0].lstrip("_")


def _is_plain(value: Any, depth: int = 0) -> bool:
    if type(value) is dict and depth < DEEPEST:
        return all(_is_plain(item, depth + 1) for entry in value.items() for item in entry)
    if type(value) in (list, tuple, set, frozenset) and depth < DEEPEST:
        return all(_is_plain(item, depth + 1) for item in value)
    return isinstance(value, str | bytes | int | float | types.NoneType | re.Pattern) or hasattr(
        type(value), "model_fields"
    )


def _fields(kind: type) -> Mapping[str, Any]:
    """A pydantic class's fields and private attributes, those of its bases too."""
    fields_of = vars(kind).get("__pydantic_fields__") or {}
    return {**fields_of, **(vars(kind).get("__private_attributes__") or {})}


def _own_names(kind: type) -> set[str]:
    """Names of a pydantic class that no class of an installed package brings."""
    return set(_fields(kind)) - {n for b in kind.__mro__ if not is_users(b) for n in _fields(b)}


@functools.cache
def _quiet_schema() -> Any:
    """What writes JSON schemas for pydantic, without the warnings of what has no place in one."""
    from pydantic.json_schema import GenerateJsonSchema

    kinds = {"skipped-choice", "non-serializable-default"}
    return type("QuietJsonSchema", (GenerateJsonSchema,), {"ignored_warning_kinds": kinds})


@contextlib.contextmanager
def _silent(value: object) -> Iterator[None]:
    """No word of itertools that from Python 3.14 on its iterators are not pickled: what they hold is only looked at."""
    if type(value).__module__ != "itertools":
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _is_code(member: object) -> bool:
    return isinstance(within(member), types.FunctionType | staticmethod | classmethod | property)


def _is_id(name: str, value: object) -> bool:
    """Whether an attribute is an id, which is another one each time."""
    if isinstance(value, uuid.UUID):
        return True
    named = _ID_NAME.search(name) is not None
    return named and isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_default(field: Any, value: object) -> bool:
    try:
        return bool(value == field.get_default(call_default_factory=True, validated_data={}))
    except Exception:  # a factory or an `==` of the user's class
        return False
