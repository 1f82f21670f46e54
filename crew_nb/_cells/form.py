"""The launcher's form as plain data: a crew's fields, rows of words, and the inputs that they mean.

Pure: nothing is displayed, run or read from disk here. A cell of the form is always a string; the empty one means
"not given".
"""

from __future__ import annotations

import ast
import csv
import datetime
import enum
import inspect
import io
import itertools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import factories as _factories
from crew_nb._crewai import inputs as _inputs
from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import names as _crewai
from crew_nb._crewai import startable as _startable
from crew_nb._state.errors import BlueprintError

Kind = Literal["text", "integer", "number", "choice", "switch", "date", "datetime", "file", "literal"]
Row = dict[str, str]

ROWS_MOST = 10_000
"""Rows that a form holds."""

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_LISTS = (list, tuple, set, frozenset, dict, Sequence, Mapping)  # bytes, a Sequence too, are looked for before


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column of the form: what a crew's placeholder or a factory's parameter takes."""

    name: str
    kind: Kind = "text"
    required: bool = True
    default: Any = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What may be chosen: the words shown, and the value they stand for."""
    reads: bool = False
    """Whether the content of a file is asked for, and not its path."""
    annotated: bool = False
    """Whether the kind was asked for, and is not only our guess."""

    def value(self, words: str) -> Any:
        """What the words of a cell mean.

        Raises:
            ValueError: They mean nothing of this kind; the message is for people.
        """
        match self.kind:
            case "integer":
                try:
                    return int(words)
                except ValueError:
                    raise ValueError(f"“{_cut(words)}” is not a whole number.") from None
            case "number":
                try:
                    number = float(words)
                except ValueError:
                    number = math.nan
                if not math.isfinite(number):
                    raise ValueError(f"“{_cut(words)}” is not a number.")
                return number
            case "switch":
                word = words.strip().casefold()
                if word not in _YES + _NO:
                    raise ValueError(f"“{_cut(words)}” is neither yes nor no.")
                return word in _YES
            case "choice":
                for label, value in self.choices.items():
                    if label.casefold() == words.strip().casefold():
                        return value
                raise ValueError(f"“{_cut(words)}” is not one of {', '.join(self.choices)}.")
            case "date":
                moment = _moment(words)
                if moment is None or moment.time() != datetime.time():
                    raise ValueError(f"“{_cut(words)}” is not a date. Write it as in 2026-01-31.")
                return moment.date()
            case "datetime":
                moment = _moment(words)
                if moment is None:
                    raise ValueError(f"“{_cut(words)}” is not a date with a time. Write it as in 2026-01-31 09:30.")
                return moment
            case "file":
                return Path(words.strip())
            case "literal":
                try:
                    return ast.literal_eval(words.strip())
                except (ValueError, SyntaxError, MemoryError, RecursionError):
                    raise ValueError("write it as in Python, such as ['a', 'b'] or {'a': 1}.") from None
        return words

    def words(self, value: Any) -> str:
        """A given value as the words of a cell.

        Raises:
            BlueprintError: The form cannot hold such a value.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("<NA>", "NaT"):
            return ""
        for label, choice in self.choices.items():
            if choice is value or choice == value:
                return label
        plain = _inputs.plain_value(value, self.name)
        if isinstance(plain, bool):
            return "true" if plain else "false"
        return plain if isinstance(plain, str) else repr(plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a form is made from."""

    title: str
    fields: tuple[Field, ...]
    calls: int | None = None
    """LLM calls of one run at the least; None where that is known only once a crew is built."""
    exactly: bool = True
    """Whether no more calls than these are to be expected."""


def shape(source: Any) -> Shape:
    """The form of a crew or a factory; a factory that needs no arguments is called once to see its placeholders.

    Raises:
        BlueprintError: When it is neither, cannot be copied, or the factory returns something else than a Crew.
    """
    source = _startable.startable(source)
    kind = _kinds.find(source)
    if kind is not None:
        crew = kind.copy(source)  # refused here and not at the first Run
        own: tuple[Field, ...] = ()
    else:
        own = _parameters(source)
        crew = None if any(f.required for f in own) else _built(source)
    named = title(source)
    if crew is None:
        return Shape(title=named, fields=own)
    taken = {f.name for f in own}
    # What runs before a kickoff may add inputs of its own.
    required = not _kinds.kind_of(crew).takes_other_inputs(crew)
    others = tuple(Field(name=n, required=required) for n in _placeholders(crew) if n not in taken)
    more = (_field(parameter, {}) for parameter in _kinds.kind_of(crew).parameters(crew))
    others += tuple(field for field in more if field is not None and field.name not in taken)
    if _kinds.kind_of(crew).name != "crew":  # how many calls it makes is known once it has run
        return Shape(title=named, fields=own + others)
    calls, exactly = _calls(crew)
    return Shape(title=named, fields=own + others, calls=calls, exactly=exactly)


def title(source: Any) -> str:
    """What it is called, for people."""
    kind = _kinds.find(source)
    if kind is not None and kind.name != "crew":
        return kind.label(source)
    name = str(source.name or "crew") if kind is not None else _factories.name_of(source)
    owner = getattr(source, "__self__", None)  # `ResearchCrew().crew` is named after its class
    if name == "crew" and owner is not None:
        name = type(owner).__name__
    if name == "<lambda>":
        return "crew"
    words = name.replace("_", " ").strip()
    verb, _, rest = words.partition(" ")
    return rest if rest and verb in ("build", "create", "get", "make") else words


def _placeholders(crew: Any) -> list[str]:
    """In the order in which a reader of the tasks meets them."""
    texts = [text for task in getattr(crew, "tasks", ()) for text in (task.description, task.expected_output)]
    words = "\n".join(text or "" for text in texts)
    found = _kinds.kind_of(crew).placeholders(crew)
    return sorted(found, key=lambda name: (words.find(f"{{{name}}}") % (len(words) + 1), name))


def _built(factory: Callable[[], Any]) -> Any:
    crew = factory()
    if inspect.iscoroutine(crew):
        crew.close()
    if _kinds.find(crew) is None:
        name = _factories.name_of(factory)
        raise BlueprintError(f"{name}() returned a {type(crew).__name__}. A factory returns a crewai.Crew.")
    return crew


def _calls(crew: Any) -> tuple[int, bool]:
    """LLM calls of one run, one for each task and one for the plan, and whether that is all."""
    more = (
        str(getattr(crew.process, "value", crew.process)) == "hierarchical"
        or bool(crew.memory)
        or any(t.tools or t.guardrail or getattr(t, "guardrails", None) or t.human_input for t in crew.tasks)
        or any(a.tools or a.allow_delegation or getattr(a, "planning_config", None) for a in _crewai.agents_of(crew))
    )
    return len(crew.tasks) + bool(crew.planning), not more


def _parameters(factory: Any) -> tuple[Field, ...]:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # builtins tell no signature
        return ()
    names = getattr(inspect.unwrap(getattr(factory, "__func__", factory)), "__globals__", {})
    found = []
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        made = _field(parameter, names)
        if made is not None:
            found.append(made)
    return tuple(found)


def _field(parameter: inspect.Parameter, names: dict[str, Any]) -> Field | None:
    """The control of a parameter; None for one that a form cannot fill and need not, such as an LLM object."""
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    annotation = parameter.annotation
    if isinstance(annotation, str):
        # One by one: those that are there for type checkers only must not hide the others.
        try:
            annotation = eval(annotation, names)  # noqa: S307 - the user's own code, as Python evaluates it
        except Exception:
            annotation = parameter.empty
    annotation = _plain(annotation)
    annotated = annotation is not parameter.empty
    if not annotated:
        if required or default is None:
            return Field(name=parameter.name, required=required)
        annotation = type(default)
    control = _control(annotation)
    if control is None:
        return Field(name=parameter.name) if required else None
    kind, choices = control
    return Field(
        name=parameter.name,
        kind=kind,
        required=required,
        default=default,
        choices=choices,
        reads=annotation is bytes,
        annotated=annotated,
    )


def _plain(annotation: Any) -> Any:
    """Without what does not change the control: `Annotated`, `Optional`, and all but the widest of a union."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [_plain(a) for a in get_args(annotation) if a is not type(None)]
        for wide in (str, float, datetime.datetime):
            if wide in kinds:
                return wide
        return kinds[0]
    return annotation


def _control(annotation: Any) -> tuple[Kind, dict[str, Any]] | None:
    origin = get_origin(annotation)
    if origin is Literal:
        return "choice", {str(value): value for value in get_args(annotation)}
    kind = origin or annotation
    if not inspect.isclass(kind):
        return None
    if issubclass(kind, enum.Enum):
        return "choice", {member.name: member for member in kind}
    pairs: tuple[tuple[tuple[type, ...], Kind], ...] = (
        ((bool,), "switch"),
        ((int,), "integer"),
        ((float,), "number"),
        ((str,), "text"),
        ((datetime.datetime,), "datetime"),  # which is a date, too
        ((datetime.date,), "date"),
        ((PathLike, bytes), "file"),
        (_LISTS, "literal"),
    )
    return next(((found, {}) for kinds, found in pairs if issubclass(kind, kinds)), None)


# --- what is given ------------------------------------------------------------------------------------------------


def given(fields: Sequence[Field], inputs: Any) -> tuple[tuple[Field, ...], list[Row]]:
    """The fields with those that only the inputs have, and the inputs as rows of words.

    Args:
        fields: What the crew takes.
        inputs: One dict per run (a list or a DataFrame), or one dict of lists, which is a grid.

    Raises:
        BlueprintError: They are none of these, or have a value that the form cannot hold.
    """
    if isinstance(inputs, Mapping):
        inputs = _inputs.grid({str(name): value for name, value in inputs.items()})
    rows = _inputs.rows_of(inputs)
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise BlueprintError(f"inputs[{place}] is {row!r:.60}, not a dict of names and values.")
    if len(rows) > ROWS_MOST:
        raise BlueprintError(f"the form holds {ROWS_MOST:,} rows; write cnb.kickoff_for_each(crew, inputs) for more.")
    columns = dict.fromkeys(str(name) for row in rows for name in row)
    wide = with_columns(fields, columns)
    wide = tuple(f if f.annotated else _guess(f, [row.get(f.name) for row in rows]) for f in wide)
    return wide, [{f.name: words for f in wide if (words := f.words(row.get(f.name)))} for row in rows]


def with_columns(fields: Sequence[Field], names: typing.Iterable[str]) -> tuple[Field, ...]:
    """The fields, and one of text for each further name."""
    known = {f.name for f in fields}
    return (*fields, *(Field(name=name, required=False) for name in names if name not in known))


def _guess(of: Field, values: Sequence[Any]) -> Field:
    """The field in the kind that all values are of; text where they differ."""
    kinds = {type(_inputs.plain_value(v, of.name)) for v in values if of.words(v)}
    kind: Kind = of.kind
    if kinds == {bool}:
        kind = "switch"
    elif kinds == {int}:
        kind = "integer"
    elif kinds and kinds <= {int, float}:
        kind = "number"
    elif kinds and kinds <= {list, dict}:
        kind = "literal"
    return Field(name=of.name, kind=kind, required=of.required, default=of.default)


def read(words: str, fields: Sequence[Field], into: str = "") -> list[Row]:
    """Pasted words or a file as rows: a table (CSV, TSV) where a header or tabs say so, otherwise one row a line.

    Args:
        words: What was pasted.
        fields: What the crew takes; a header is matched with their names.
        into: The field that lines go to; the first one if empty.

    Raises:
        ValueError: The table cannot be read; the message is for people.
    """
    words = words.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    first = words.partition("\n")[0]
    names = {_key(f.name): f.name for f in fields}
    for mark in ("\t", ",", ";"):
        header = _cells(first, mark)[0] if first.strip() else []
        is_header = any(_key(cell) in names for cell in header)
        if is_header and (len(header) > 1 or mark == "\t"):
            columns = [names.get(_key(cell), cell.strip()) for cell in header]
            if len(set(columns)) < len(columns):
                raise ValueError("two columns of the table have the same name.")
            return [
                {name: cell for name, cell in zip(columns, row, strict=False) if name and cell.strip()}
                for row in _cells(words, mark)[1:]
                if any(cell.strip() for cell in row)
            ]
    if "\t" in first:
        columns = [f.name for f in fields]
        rows = [row for row in _cells(words, "\t") if any(cell.strip() for cell in row)]
        if any(len(row) > len(columns) for row in rows):
            raise ValueError("the table has more columns than the crew has inputs. Give it a first line with names.")
        return [{n: cell for n, cell in zip(columns, row, strict=False) if cell.strip()} for row in rows]
    name = into or (fields[0].name if fields else "")
    if not name:
        return []
    lines = words.split("\n")
    if lines and _key(lines[0]) == _key(name):  # a file of one column
        lines = [row[0] for row in _cells(words, ",")[1:] if row]
    return [{name: line.strip()} for line in lines if line.strip()]


def _cells(words: str, mark: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(words), delimiter=mark))
    except csv.Error as error:
        raise ValueError(f"the table cannot be read: {error}.") from None


def _key(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def grid(values: Mapping[str, Sequence[str]]) -> list[Row]:
    """Every combination of the values; fields without one are left out.

    Raises:
        ValueError: There would be too many.
    """
    used = {name: list(dict.fromkeys(found)) for name, found in values.items() if found}
    count = math.prod(len(found) for found in used.values()) if used else 0
    if count > ROWS_MOST:
        raise ValueError(f"that is {count:,} combinations; the form holds {ROWS_MOST:,} rows.")
    return [dict(zip(used, row, strict=True)) for row in itertools.product(*used.values())] if used else []


# --- what is meant ------------------------------------------------------------------------------------------------


def is_blank(row: Row) -> bool:
    """Whether nothing is given in the row."""
    return not any(words.strip() for words in row.values())


def filled(rows: Sequence[Row]) -> list[Row]:
    """The rows without blank ones; one blank row where all are."""
    return [row for row in rows if not is_blank(row)] or [{}]


def inputs_of(fields: Sequence[Field], rows: Sequence[Row]) -> tuple[list[dict[str, Any]], dict[int, dict[str, str]]]:
    """The inputs that the rows mean, and what is wrong in them: row, then field, then words for people."""
    inputs: list[dict[str, Any]] = []
    wrong: dict[int, dict[str, str]] = {}
    for place, row in enumerate(rows):
        found: dict[str, Any] = {}
        for column in fields:
            words = row.get(column.name, "")
            if not words.strip():
                if column.kind == "switch" and column.required:
                    found[column.name] = False  # a switch that nobody touched is off
                continue
            try:
                found[column.name] = column.value(words)
            except ValueError as error:
                wrong.setdefault(place, {})[column.name] = str(error)
        inputs.append(found)
    return inputs, wrong


def lacks(fields: Sequence[Field], inputs: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, str]]:
    """What is needed and not given: row, then field, then words for people."""
    needed = [f.name for f in fields if f.required]
    missing = {place: [name for name in needed if name not in row] for place, row in enumerate(inputs)}
    return {place: {n: f"{n} is needed. Fill it in." for n in names} for place, names in missing.items() if names}


def faults(source: Any, inputs: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """The rows that cannot be run, with the words of the BlueprintError that the verbs would raise."""
    found = {}
    for place, row in enumerate(inputs):
        try:
            _blueprint.planned(place, source, row, where=f"inputs[{place}]", verb="kickoff_for_each", checked=True)
        except BlueprintError as error:
            found[place] = str(error)
    return found


def _moment(words: str) -> datetime.datetime | None:
    """A date, at midnight, or a date with a time, in ISO's form; None for other words."""
    try:
        return datetime.datetime.fromisoformat(words.strip())
    except ValueError:
        return None


def _cut(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= 40 else f"{words[:39]}…"
