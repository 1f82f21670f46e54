"""What a run is known by: a digest of its blueprint's content, its inputs and its repeat, the same in every kernel.

It covers what can change an answer: a crew's agents, tasks, LLM settings and tools; a factory's source with the values
and the functions of the user that it reaches. It leaves out what cannot: keys, ids, counters, callbacks that only
watch, the crew's name. Code of installed packages counts by its name, so that an upgrade does not run paid work again.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import pickle
import sys
import sysconfig
import textwrap
import types
import uuid
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crew_nb import _codec
from crew_nb._secrets import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_OF_PACKAGES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_OURS = frozenset({"crew_nb", "crewai", "crewai_tools"})
_DATA = frozenset({"numpy", "pandas", "polars", "pyarrow"})
_CHANGING = frozenset({"append", "extend", "insert", "add", "update", "setdefault", "pop", "remove", "clear"})


def fingerprint(crew_or_factory: object) -> str:
    """The digest of a crew's or a factory's content."""
    return _digest(_Content(of_inputs=False).of(crew_or_factory))


def run_key(blueprint: str, inputs: Mapping[str, Any] | None, repeat: int = 0) -> str:
    """What a run is known by in the record.

    Args:
        blueprint: Its crew's `fingerprint`.
        inputs: Its inputs; an input without a stable content makes the key unlike any other.
        repeat: How many runs with the same blueprint and inputs come before it in its batch.
    """
    return _digest([blueprint, _Content(of_inputs=True).of(dict(inputs or {})), repeat])


def _digest(tree: object) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


class _Content:
    """Walks an object and returns its content as JSON; one walk meets each object once."""

    def __init__(self, *, of_inputs: bool) -> None:
        self._of_inputs = of_inputs
        self._known: dict[int, tuple[object, str]] = {}
        self._above: set[int] = set()

    def of(self, value: Any) -> Any:
        """The content of anything."""
        if isinstance(value, str | int | float | types.NoneType) and not isinstance(value, Enum):
            return _codec.plain(value)
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
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
        if isinstance(value, dict | types.MappingProxyType):
            return ["dict", sorted(([self.of(k), self.of(v)] for k, v in value.items()), key=_digest)]
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(self.of, value)]
        if isinstance(value, set | frozenset):
            return ["set", *sorted(map(self.of, value), key=_digest)]
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__]
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, functools.partial):
            return ["partial", *map(self.of, (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, staticmethod | classmethod):
            return self.of(value.__func__)
        if isinstance(value, property):
            return ["property", *map(self.of, (value.fget, value.fset))]
        if hasattr(type(value), "model_fields"):
            return self._model(value)
        return self._object(value)

    def _model(self, model: Any) -> Any:
        """A crew, an agent, a task, an LLM, a tool, or any other pydantic model: what differs from the defaults."""
        kind = type(model)
        content = []
        for name, field in kind.model_fields.items():
            if name in _LEFT_OUT or is_secret_name(name) or name in getattr(kind, "pace_and_failures", ()):
                continue
            value = vars(model).get(name)  # `getattr` would warn of deprecated fields
            # CrewAI writes the inputs into these and keeps the templates aside.
            value = getattr(model, f"_original_{name}", None) or value
            if not _is_default(field, value):
                content.append([name, self.of(value)])
        return ["model", self.of(kind), sorted(content)]

    def _object(self, value: Any) -> Any:
        if _within(value) is not value:
            return self.of(_within(value))
        plain = _codec.plain(value)
        odd = isinstance(plain, dict) and plain.get("$") in ("repr", "model", None)
        if not odd and type(value).__module__.partition(".")[0] not in _DATA:
            return plain
        if self._of_inputs or type(value).__module__.partition(".")[0] in _DATA:
            try:
                return ["pickle", hashlib.sha256(pickle.dumps(value, protocol=4)).hexdigest()]
            except Exception:  # a user's class may raise anything
                return self._unlike(value)
        if not _is_users(type(value)):
            return ["object", _codec.class_name(type(value))]
        built = ("agents", "tasks") if hasattr(type(value), "is_crew_class") else ()
        content = {k: v for k, v in _attributes(value) if not (k.startswith("_") or is_secret_name(k) or k in built)}
        return ["object", self.of(type(value)), self.of(content)]

    def _unlike(self, value: Any) -> Any:
        return ["unlike", uuid.uuid4().hex if self._of_inputs else type(value).__qualname__]

    def _class(self, kind: type) -> Any:
        if not _is_users(kind):
            return ["class", _codec.class_name(kind)]
        members = {
            name: self.of(member)
            for name, member in ((name, _within(member)) for name, member in vars(kind).items())
            if isinstance(member, types.FunctionType | staticmethod | classmethod | property)
            or (not name.startswith("_") and isinstance(member, str | int | float | list | tuple | dict))
        }
        try:
            schema = kind.model_json_schema()  # type: ignore[attr-defined]
        except Exception:  # no pydantic model, or one that has no schema
            schema = None
        return ["class", kind.__name__, [self.of(base) for base in kind.__bases__], members, self.of(schema)]

    def _function(self, function: types.FunctionType) -> Any:
        if not _is_users_module(str(function.__globals__.get("__name__"))):  # `__module__` may be that of a wrapped one
            return ["function", function.__qualname__, self.of(getattr(function, "__wrapped__", None))]
        source = _source(function)
        changed = set() if source is None else _changed(source)
        closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        return [
            "function",
            self._code(function.__code__) if source is None else ast.unparse(source),
            self.of(function.__defaults__),
            self.of(function.__kwdefaults__),
            [[name, self._cell(cell)] for name, cell in closure if name not in changed],
            [
                [name, attribute, self._global(function.__globals__[name], attribute)]
                for name, attribute in sorted(_reached(function.__code__))
                if name in function.__globals__ and name not in changed
            ],
        ]

    def _cell(self, cell: types.CellType) -> Any:
        try:
            return self.of(cell.cell_contents)
        except ValueError:  # not filled yet
            return ["empty"]

    def _global(self, value: Any, attribute: str) -> Any:
        """A global as a function reaches it: of the user's own modules only what it takes from them."""
        if isinstance(value, types.ModuleType) and _is_users_module(value.__name__):
            return self.of(getattr(value, attribute, None))
        return self.of(value)

    def _code(self, code: types.CodeType) -> Any:
        constants = [self._code(c) if isinstance(c, types.CodeType) else self.of(c) for c in code.co_consts]
        return ["code", code.co_code.hex(), constants, *map(list, (code.co_names, code.co_varnames, code.co_freevars))]


def _attributes(value: Any) -> list[tuple[str, Any]]:
    slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ())]
    return [*getattr(value, "__dict__", {}).items(), *((n, getattr(value, n)) for n in slots if hasattr(value, n))]


def _within(member: Any) -> Any:
    """The method inside a decorator's object (`@agent`, `@task`, `@cache`), or the member itself."""
    inside = getattr(member, "_meth", None) or getattr(member, "__wrapped__", None)
    return inside if isinstance(inside, types.FunctionType) and not isinstance(member, types.FunctionType) else member


def _is_default(field: Any, value: object) -> bool:
    try:
        return bool(value == field.get_default(call_default_factory=True, validated_data={}))
    except Exception:  # a factory or an `==` of the user's class
        return False


def _source(function: types.FunctionType) -> ast.AST | None:
    """The function's syntax; None where there is none, or only that of the statement around a lambda."""
    if function.__name__ == "<lambda>":
        return None
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function.__code__)))
    except (OSError, TypeError, SyntaxError):
        return None


def _changed(source: ast.AST) -> set[str]:
    """Names whose value the function changes itself: a counter or a log is no part of its content."""
    changed: set[str] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.Global | ast.Nonlocal):
            changed.update(node.names)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.value, ast.Name):
            writes = not isinstance(node.ctx, ast.Load) or getattr(node, "attr", "") in _CHANGING
            changed.update([node.value.id] if writes else [])
    return changed


def _reached(code: types.CodeType) -> set[tuple[str, str]]:
    """Globals that the code reads, each with the attribute that it takes from it."""
    steps = list(dis.get_instructions(code))
    reached = {
        (str(step.argval), str(after.argval) if after.opname in ("LOAD_ATTR", "LOAD_METHOD") else "")
        for step, after in pairwise(steps)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    return reached.union(*(_reached(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _is_users(thing: Any) -> bool:
    """Whether a function or a class is the user's own code, rather than an installed package's."""
    return _is_users_module(getattr(thing, "__module__", None) or "__main__")


@functools.cache
def _is_users_module(name: str) -> bool:
    if name.partition(".")[0] in _OURS or name in sys.builtin_module_names:
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    return file is None or name == "__main__" or not str(Path(file).resolve()).startswith(_OF_PACKAGES)
