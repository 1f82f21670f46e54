"""The cell that does what Run in the launcher's form does: it must run as it is."""

from __future__ import annotations

import datetime
import enum
import json
import re
import sys
from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from crew_nb._state.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_NOT_IN_NAMES = re.compile(r"\W+")


def cell(
    crew: str,
    inputs: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    imports: Sequence[str] = (),
    reads: Collection[str] = (),
) -> str:
    """A cell that does what Run does.

    Args:
        crew: An expression for the crew or the factory.
        inputs: One dict per run.
        options: Those that are not at their default.
        imports: Lines that the expression needs.
        reads: Inputs whose value is the content of the file at their path.
    """
    needed = dict.fromkeys(["import crew_nb as cnb", *imports])
    values = [value for row in inputs for value in row.values()]
    if any(isinstance(v, PathLike) for v in (*values, *options.values())):
        needed["from pathlib import Path"] = None
    if any(isinstance(v, datetime.date) for v in values):
        needed["import datetime as dt"] = None  # under a name that neither way of importing it has
    for value in values:
        if isinstance(value, enum.Enum) and type(value).__module__ != "__main__":
            needed[f"from {type(value).__module__} import {type(value).__qualname__.partition('.')[0]}"] = None
    lines = ["batch = cnb.kickoff_for_each(", f"    {crew},", "    inputs=["]
    for row in inputs:
        told = _told(row, Secrets(given=row).scrub_inputs(row))
        items = (f"{_literal(k)}: {_literal(v)}{'.read_bytes()' if k in reads else ''}" for k, v in told.items())
        lines.append(f"        {{{', '.join(items)}}},")
    shown = _told(options, Secrets().scrub_values(dict(options)))
    lines += ["    ],", *(f"    {name}={_literal(value)}," for name, value in shown.items()), ")"]
    if any(_VARIABLE in line for line in lines):
        needed["import os"] = None
    return "\n".join([*sorted(needed, key=_order), "", *lines, "results = await batch"])


class _Variable(str):
    """What the cell takes from the environment: a secret, which a notebook would keep."""


_VARIABLE = "os.environ["


def _told(value: Any, clean: Any, name: str = "") -> Any:
    """The value with a variable in place of each text that has a secret in it; `clean` is what it is without them."""
    if isinstance(clean, str) and value != clean:
        return _Variable(_NOT_IN_NAMES.sub("_", name).upper() or "SECRET")
    if isinstance(value, Mapping) and isinstance(clean, Mapping):
        return {key: _told(item, clean.get(key, item), str(key)) for key, item in value.items()}
    if type(value) is list and type(clean) is list:
        return [_told(item, its, name) for item, its in zip(value, clean, strict=True)]
    return value


def _order(line: str) -> int:
    return 0 if line.startswith("from ") else 1 if line.startswith("import ") else 2


def _literal(value: Any) -> str:
    if isinstance(value, _Variable):
        return f"{_VARIABLE}{json.dumps(str(value), ensure_ascii=False)}]"
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, PathLike):
        return f"Path({json.dumps(str(value), ensure_ascii=False)})"
    if isinstance(value, datetime.date):  # a datetime is a date
        return repr(value).replace("datetime.", "dt.")
    if type(value) is dict:
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if type(value) is list:
        return "[" + ", ".join(map(_literal, value)) + "]"
    return repr(value)


def expression(crew: Any, names: Mapping[str, Any], of: object) -> tuple[str, list[str]]:
    """How a cell names the crew, and the imports that it needs for that.

    Args:
        crew: The crew or the factory.
        names: What the cells have defined.
        of: The launcher that holds it, for where it has no name of its own.
    """

    def named(value: Any) -> str:
        found = [n for n, v in names.items() if v is value and n.isidentifier() and not n.startswith("_")]
        return found[0] if found else ""

    if name := named(crew):
        return name, []
    if isinstance(crew, str | PathLike):  # the path of a definition
        return repr(fspath(crew)), []
    owner, method = getattr(crew, "__self__", None), getattr(crew, "__name__", "")
    if owner is not None and method.isidentifier():
        if name := named(owner):
            return f"{name}.{method}", []
        if name := named(type(owner)):
            return f"{name}().{method}", []
    module = "" if owner is not None else getattr(crew, "__module__", None) or ""
    if module not in ("", "__main__") and method and getattr(sys.modules.get(module), method, None) is crew:
        return method, [f"from {module} import {method}"]
    if name := named(of):
        return f"{name}.crew", []
    outputs = names.get("Out")
    for number, value in outputs.items() if isinstance(outputs, dict) else ():
        if value is of:
            return f"Out[{number}].crew", []
    return "crew", ["crew = ...  # put the crew here that was given to cnb.launcher()"]
