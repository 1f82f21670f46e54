"""What a run is given: rows of names and values, in the types that CrewAI's interpolation takes."""

from __future__ import annotations

import datetime
import decimal
import enum
import io
import itertools
import os
import pickle
import types
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._state.errors import BlueprintError, OptionError

if TYPE_CHECKING:
    from crew_nb._state.secrets import Secrets

_ATOMS = (
    str,
    int,
    float,
    bytes,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    type(None),
)
_NO_DATA = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)

Key = tuple[tuple[Any, Any], ...]
"""What an index calls a row: name and label of each of its levels."""

Verb = Literal["kickoff", "gather", "kickoff_for_each"]

_ADVICE: dict[Verb, str] = {
    "kickoff": "inputs={inputs}",
    "gather": "a pair: (crew, {inputs})",
    "kickoff_for_each": "inputs=[{inputs}, ...]",
}
"""How inputs are given to a verb."""

DEEPEST = 40
"""Levels of nesting that an input may have; what a run is known by follows some more."""


def plain_value(value: Any, key: str = "", depth: int = 0) -> Any:
    """The value in a type that CrewAI's interpolation takes (str, int, float, bool, None, lists and dicts of these).

    Dates, paths, URLs, decimals, enums, sets, NumPy values, dataclasses and pydantic models are turned into the nearest
    of them.

    Raises:
        BlueprintError: When there is no such type, or more than `DEEPEST` levels, with what to write instead.
    """

    def inner(item: Any) -> Any:
        return plain_value(item, key, depth + 1)

    if depth > DEEPEST:
        raise BlueprintError(f"the input {key} is nested more than {DEEPEST} levels deep. Give its text.")
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, enum.Enum)):
        return value if type(value).__module__ == "builtins" or value is None else _unbox(value)
    if isinstance(value, Mapping):
        return {str(k): inner(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [inner(v) for v in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, enum.Enum):
        return inner(value.value)
    if isinstance(value, datetime.date | datetime.time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, os.PathLike | decimal.Decimal | uuid.UUID | datetime.timedelta):
        return str(value)
    package = type(value).__module__.partition(".")[0]
    if package in ("numpy", "pandas"):
        return inner(value.tolist()) if hasattr(value, "tolist") else str(value)
    if package == "ipaddress" or type(value).__module__ == "pydantic.networks":
        return str(value)
    if is_file(value):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: inner(getattr(value, field.name)) for field in fields(value)}
    if hasattr(type(value), "model_fields") and not is_crewais(value):
        content = {name: vars(value).get(name) for name in type(value).model_fields}
        return inner(content["root"] if set(content) == {"root"} else {**content, **(value.model_extra or {})})
    name = f'"{key}": ' if key else ""
    raise BlueprintError(
        f"the input {key or short(value)} is a {type(value).__name__}, which a prompt cannot show. "
        f"Write {{{name}str(...)}} or give its text."
    )


class Copies:
    """Copies what a launch is given, once each, so that what the user does to it afterwards changes no run.

    LLMs and other objects of CrewAI, functions and classes are no data, and stay those of the user; so does what
    cannot be copied.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any) -> Any:
        """The value, shared with nobody."""
        if isinstance(value, _ATOMS) and type(value).__module__ in ("builtins", "datetime", "decimal", "uuid"):
            return value
        if id(value) not in self._known:
            self._known[id(value)] = value, _copy(value)  # the original is held, so that its id stays its own
        return self._known[id(value)][1]


def own(value: Any) -> Any:
    """The value with containers of its own: a factory may change what it is given, and is called for each try."""
    if type(value) is dict:
        return {k: own(v) for k, v in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(own(v) for v in value)
    return value


def check_lasting(value: Any, key: str) -> None:
    """Refuse what can be read once only: a run that is tried again, or one like it, would find nothing.

    Raises:
        BlueprintError: With what to write instead.
    """
    if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
        raise BlueprintError(
            f"the input {key} is a {type(value).__name__}, which can be read once, and a run may be tried again. "
            f'Write {{"{key}": list(...)}}.'
        )


class _Pickler(pickle.Pickler):
    """Writes data; of what is none it writes where it is."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.shared: dict[str, Any] = {}

    def persistent_id(self, value: Any) -> str | None:
        if isinstance(value, _NO_DATA) or (not isinstance(value, _ATOMS) and is_crewais(value)):
            self.shared[str(id(value))] = value
            return str(id(value))
        return None


class _Unpickler(pickle.Unpickler):
    """Reads what was just written, here."""

    def __init__(self, file: io.BytesIO, shared: Mapping[str, Any]) -> None:
        super().__init__(file)
        self._shared = shared

    def persistent_load(self, pid: str) -> Any:
        return self._shared[pid]


def _copy(value: Any) -> Any:
    file = io.BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(value)
        file.seek(0)
        return _Unpickler(file, pickler.shared).load()
    except Exception:  # a lock, a client, and whatever a user's class may raise
        return own(value)


def _unbox(value: Any) -> Any:
    """A NumPy scalar or a str/int/float subclass as the plain type."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def rows_of(inputs: Any) -> list[Any]:
    """One mapping for each run.

    Raises:
        BlueprintError: When the inputs are no rows, or none.
    """
    rows: list[Any]
    if isinstance(inputs, Mapping) and any(_several(value) is not None for value in inputs.values()):
        inputs = grid(inputs)
    elif isinstance(inputs, Mapping):
        raise BlueprintError(
            "inputs is one dict. Write inputs=[{...}, {...}], a list with one dict per run "
            "(or cnb.kickoff(crew, inputs={...}) for one)."
        )
    if isinstance(inputs, str | bytes) or not isinstance(inputs, Iterable):
        raise BlueprintError(
            f'inputs is {short(inputs)}. Write inputs=[{{"topic": "AI"}}, ...], a list with one dict per run.'
        )
    if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):
        rows = inputs.to_dict("records")
    elif hasattr(inputs, "to_dicts"):  # polars
        rows = inputs.to_dicts()
    else:
        rows = list(inputs)
    if not rows:
        raise BlueprintError(
            "inputs is empty: there is nothing to run. Write inputs=[{...}], a list with one dict per run."
        )
    return rows


def grid(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each combination of a dict of lists; a single value stands in all of them."""
    lists = {name: [value] if (several := _several(value)) is None else several for name, value in inputs.items()}
    return [dict(zip(lists, row, strict=True)) for row in itertools.product(*lists.values())]


def _several(value: Any) -> list[Any] | None:
    """The values that one name of a grid stands for; None where it is a single one."""
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas", "polars"):
        value = list(value) if getattr(value, "shape", ()) else value
    return list(value) if isinstance(value, Sequence | Set) and not isinstance(value, str | bytes) else None


def row_keys(inputs: Any) -> list[Key] | None:
    """What the index of a DataFrame or Series calls each row; None for anything else."""
    index = getattr(inputs, "index", None)
    if type(inputs).__module__.partition(".")[0] != "pandas" or index is None:
        return None
    labels = (label if index.nlevels > 1 else (label,) for label in index)
    return [tuple(zip(index.names, label, strict=True)) for label in labels]


def check_there(value: Any, key: str, *, from_frame: bool) -> None:
    """Refuse what stands for a missing value: a prompt would have the word "nan".

    Args:
        value: What is given.
        key: Its name.
        from_frame: Whether it is of a table, where None is a missing value as well.

    Raises:
        BlueprintError: With what to write instead.
    """
    kind = type(value)
    number = isinstance(value, float) or (kind.__module__ == "numpy" and not getattr(value, "shape", None))
    if (number and bool(value != value)) or kind.__name__ in ("NaTType", "NAType") or (value is None and from_frame):
        write = (
            f'df.dropna(subset=["{key}"]), or df.fillna({{"{key}": "unknown"}})'
            if from_frame
            else f'{{"{key}": "unknown"}}'
        )
        raise BlueprintError(f'{key} is missing: the prompt would say "{value}". Write {write}.')


def short(value: Any) -> str:
    """Its repr, cut."""
    text = repr(value)
    return f"{text[:57]}…" if len(text) > 60 else text


def one_line(value: Any, secrets: Secrets) -> str:
    """The value for people, without secrets."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    try:
        shown = file_name(value) if is_file(value) else type(value).__name__ if is_crewais(value) else str(value)
    except Exception:  # a user's class may raise anything
        shown = type(value).__name__
    return " ".join(secrets.scrub(shown).split())


def is_crewais(value: Any) -> bool:
    """Whether it is an LLM, an agent or another of CrewAI's objects, which are models but no data."""
    return any(c.__module__.partition(".")[0] == "crewai" for c in type(value).__mro__)


def is_file(value: Any) -> bool:
    """Whether it is a file for the LLM, which CrewAI hands over by itself."""
    return is_named(value, "BaseFile") or type(value).__module__.startswith("crewai_files")


def file_name(file: Any) -> str:
    """What people call a file for the LLM."""
    url = getattr(getattr(file, "source", file), "url", None)
    return str(file.filename or url or type(file).__name__)


def check_files(files: Mapping[Any, Any]) -> None:
    """Refuse what CrewAI would stumble over in the middle of a run: what is no file, or not there any more.

    Raises:
        OptionError: With what to write instead.
    """
    for name, file in files.items():
        write = f'Write input_files={{"{name}": File(source="report.pdf")}}, with `from crewai_files import File`.'
        if not isinstance(name, str):
            raise OptionError(f"the name {name!r} in input_files is not a string. {write}")
        if not is_file(file):
            raise OptionError(f'input_files["{name}"] is {short(file)}, which is no file. {write}')
        path = getattr(getattr(file, "source", file), "path", None)
        if path is not None and not path.is_file():
            raise OptionError(f'input_files["{name}"] is {path}, and that file is not there any more.')


def is_named(value: Any, name: str) -> bool:
    """Whether it is one of CrewAI's classes of that name; loads nothing for the question."""
    return any(c.__name__ == name and c.__module__.startswith("crewai") for c in type(value).__mro__)


def given(names: Iterable[str], verb: Verb) -> str:
    """How inputs of these names are written for the verb."""
    return _ADVICE[verb].replace("{inputs}", "{" + ", ".join(f'"{name}": ...' for name in names) + "}")


def missing_text(
    missing: list[str],
    inputs: Mapping[str, Any] | None,
    taken: set[str],
    verb: Verb,
    more: str = "",
    of: str = "the crew",
) -> str:
    """That inputs are missing, and what to write."""
    names = ", ".join(missing)
    there = f"the inputs have only {', '.join(map(str, inputs))}" if inputs else "no inputs were given"
    write = given([*(k for k in inputs or {} if k in taken), *missing], verb)
    meant = ", ".join(f'"{name}": "{{{name}}}"' for name in missing)
    return f"{of} needs {names}, but {there}. Write {write}. {more.replace('{meant}', meant)}".strip()
