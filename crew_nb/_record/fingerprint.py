"""What a run is known by: a digest of its blueprint's content, its inputs and its repeat, the same in every kernel.

It covers what can change an answer: a crew's agents, tasks, LLM settings and tools; a factory's source with the values
and the functions of the user that it reaches. It leaves out what cannot: keys, ids, callbacks that only watch, the
crew's name, and what the user's functions write themselves (a counter, a log): the entry or attribute that they write,
never the object around it. Where that cannot be told, all counts: a run too many costs money, but an old answer taken
for a new one is wrong. Code of installed packages counts by its name, so that an upgrade does not run paid work again.
"""

from __future__ import annotations

import abc
import collections
import dis
import functools
import hashlib
import inspect
import json
import pickle
import re
import types
import typing
import uuid
from dataclasses import fields, is_dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from crew_nb._record.writes import OURS, Written, is_dunder, is_users, is_users_module, private, within
from crew_nb._state import plain as _plain
from crew_nb._state.secrets import is_secret, is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEEPEST = 50
"""Levels of objects that are followed."""

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
# Their objects change by themselves, or say nothing.
_MACHINERY = frozenset({"threading", "_thread", "logging", "asyncio", "concurrent", "random", "queue", "weakref"})
_BARE_BASES = (object, abc.ABC, typing.Generic, typing.Protocol)
_ID = re.compile(r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")
PASSES = 5
"""How often a blueprint is walked, at the most, until all that its functions write is known."""


def fingerprint(crew_or_factory: object) -> str:
    """The digest of a crew's or a factory's content."""
    written = Written()
    for _ in range(PASSES):
        known = len(written)
        digest = _digest(_Content(written).of(crew_or_factory))
        if len(written) == known:
            break
    return digest


def run_key(blueprint: str, inputs: Mapping[str, Any] | None, repeat: int = 0) -> str:
    """What a run is known by in the record.

    Args:
        blueprint: Its crew's `fingerprint`.
        inputs: Its inputs; an input without a stable content makes the key unlike any other.
        repeat: How many runs with the same blueprint and inputs come before it in its batch.
    """
    return _digest([blueprint, _Content(None).of(dict(inputs or {})), repeat])


def _digest(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


class _Content:
    """Walks an object and returns its content as JSON; one walk meets each object once.

    Args:
        written: What the functions of a blueprint write, which is left out; None for inputs.
    """

    def __init__(self, written: Written | None) -> None:
        self._of_inputs = written is None
        self._written = Written() if written is None else written
        self._known: dict[int, tuple[object, str]] = {}
        self._above: set[int] = set()

    def of(self, value: Any) -> Any:
        """The content of anything."""
        if isinstance(value, str | int | float | types.NoneType) and not isinstance(value, Enum):
            return _plain.plain(value)
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        if self._of_inputs and len(self._above) > DEEPEST:
            return self._unlike(value)  # what is not looked at might be another question
        if id(value) in self._above or len(self._above) > DEEPEST:
            return ["again"]
        self._above.add(id(value))
        try:
            digest = _digest(self._inside(value))
        except Exception:  # a user's object may raise anything when it is looked at, and change meanwhile
            digest = _digest(self._unlike(value))
        finally:
            self._above.discard(id(value))
        self._known[id(value)] = value, digest  # the value is held, so that its id stays its own
        return digest

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return ["enum", type(value).__qualname__, self.of(value.value)]
        if isinstance(value, dict | types.MappingProxyType | collections.UserDict):
            entries = ((k, v) for k, v in list(value.items()) if k not in self._written.by(value))
            return ["dict", sorted(([self.of(k), self.of(v)] for k, v in entries), key=_digest)]
        if isinstance(value, list | tuple):
            written = self._written.by(value)
            return [type(value).__name__, *(self.of(None if n in written else v) for n, v in enumerate(list(value)))]
        if isinstance(value, collections.deque):
            return ["deque", *map(self.of, list(value))]
        if isinstance(value, set | frozenset):
            return ["set", *sorted(map(self.of, value), key=_digest)]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        if isinstance(value, type):  # code, wherever it stands
            return ["class", fingerprint(value)] if self._of_inputs else self._class(value)
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
            return self._function(value)
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
        if hasattr(type(value), "model_fields"):
            return self._model(value)
        if self._of_inputs and is_dataclass(value):
            content = [[field.name, self.of(getattr(value, field.name))] for field in fields(value)]
            return ["dataclass", self.of(type(value)), content]
        return self._object(value)

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
        plain = _plain.plain(value)
        odd = isinstance(plain, dict) and plain.get("$") in ("repr", "model", None)
        if not odd and type(value).__module__.partition(".")[0] not in _DATA:
            return plain
        if self._of_inputs or type(value).__module__.partition(".")[0] in _DATA:
            try:
                return ["pickle", hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()]
            except Exception:  # a user's class may raise anything
                return self._unlike(value)
        if not is_users(type(value)):
            return ["object", _plain.class_name(type(value)), self.of(_plain_attributes(value))]
        written = self._written.by(value)
        self._written.look_at_entries(value)
        content = {
            name: item
            for name, item in _attributes(value)
            if name not in written and not is_secret(name, item) and not _is_id(name, item)
        }
        return ["object", self.of(type(value)), self.of(content)]

    def _unlike(self, value: Any) -> Any:
        return ["unlike", uuid.uuid4().hex if self._of_inputs else type(value).__qualname__]

    def _class(self, kind: type) -> Any:
        if not is_users(kind):
            return ["class", _plain.class_name(kind)]
        written = {*self._written.by(kind), *(("base_directory",) if hasattr(kind, "is_crew_class") else ())}
        members = {
            name: self.of(within(member))
            for name, member in list(vars(kind).items())
            if name not in written and (_is_code(member) or not (is_dunder(name) or is_secret(name, member)))
        }
        members |= {
            f"={n}": self.of((f.default, f.default_factory)) for n, f in _fields(kind).items() if n in _own_names(kind)
        }
        try:
            schema = kind.model_json_schema(schema_generator=_quiet_schema())  # type: ignore[attr-defined]
        except Exception:  # no pydantic model, or one that has no schema
            schema = None
        return ["class", kind.__name__, [self.of(base) for base in kind.__bases__], members, self.of(schema)]

    def _function(self, function: types.FunctionType) -> Any:
        if not is_users_module(str(function.__globals__.get("__name__"))):  # `__module__` may be that of a wrapped one
            return ["function", function.__qualname__, self.of(getattr(function, "__wrapped__", None))]
        source = self._written.look_at(function)
        skipped = source.skipped if source else frozenset()
        closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        written = self._written.by(function)
        marks = {k: v for k, v in vars(function).items() if not is_dunder(k) and k not in written}
        return [
            "function",
            source.text if source else self._code(function.__code__),
            self.of(function.__defaults__),
            self.of(function.__kwdefaults__),
            [[name, self._cell(cell)] for name, cell in closure if name not in skipped],
            [
                [name, attribute, self._global(function.__globals__[name], attribute)]
                for name, attribute in sorted(_reached(function.__code__))
                if name in function.__globals__ and name not in skipped
            ],
            *([self.of(marks)] if marks else []),
        ]

    def _cell(self, cell: types.CellType) -> Any:
        try:
            return self.of(cell.cell_contents)
        except ValueError:  # not filled yet
            return ["empty"]

    def _global(self, value: Any, attribute: str) -> Any:
        """A global as a function reaches it: of the user's own modules only what it takes from them."""
        if isinstance(value, types.ModuleType) and is_users_module(value.__name__):
            return None if attribute in self._written.by(value) else self.of(getattr(value, attribute, None))
        return self.of(value)

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
    return frozenset(name for function in functions for name in _all_names(function.__code__))


def _all_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all_names(constant)


def _plain_attributes(value: Any) -> dict[str, Any]:
    """What an installed package's object openly holds that is data, or a model of CrewAI's: a template's text, say."""
    if type(value).__module__.partition(".")[0] in _MACHINERY:
        return {}
    own = getattr(value, "__dict__", None)
    if not isinstance(own, dict):
        return {}
    return {n: v for n, v in own.items() if not n.startswith("_") and not is_secret_name(n) and _is_plain(v)}


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


def _is_code(member: object) -> bool:
    return isinstance(within(member), types.FunctionType | staticmethod | classmethod | property)


def _is_id(name: str, value: object) -> bool:
    """Whether an attribute is an id, which is another one each time."""
    if isinstance(value, uuid.UUID):
        return True
    named = re.search(r"(?i)(^|_)u?u?id$|Id$", name) is not None
    return named and isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_default(field: Any, value: object) -> bool:
    try:
        return bool(value == field.get_default(call_default_factory=True, validated_data={}))
    except Exception:  # a factory or an `==` of the user's class
        return False


def _reached(code: types.CodeType) -> set[tuple[str, str]]:
    """Globals that the code reads, each with the attribute that it takes from it."""
    steps = list(dis.get_instructions(code))
    reached = {
        (str(step.argval), str(after.argval) if after.opname in ("LOAD_ATTR", "LOAD_METHOD") else "")
        for step, after in pairwise(steps)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    return reached.union(*(_reached(c) for c in code.co_consts if isinstance(c, types.CodeType)))
