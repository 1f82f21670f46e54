"""`sweep`: one crew over inputs × variants × repeats, as a batch whose runs know their cell."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from crew_nb._cells.verbs import BatchOptions, launch_in_cell, spelled_out
from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import models as _models
from crew_nb._crewai import startable as _startable
from crew_nb._crewai.inputs import rows_of, short
from crew_nb._scores.scoring import named
from crew_nb._scores.sheet import Cell, Sheet
from crew_nb._state.errors import BlueprintError, OptionError
from crew_nb._state.labels import LABEL_KEPT, Column
from crew_nb._state.options import options

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.startable import CrewLike
    from crew_nb._handles.batch import Batch
    from crew_nb._scores.sheet import Score


@spelled_out
def sweep(
    crew: CrewLike,
    inputs: Iterable[Mapping[str, Any]],
    over: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]],
    repeats: int = 1,
    scores: Iterable[Score] = (),
    **given: Unpack[BatchOptions],
) -> Batch:
    """Start one crew over inputs × variants × repeats and return the `Batch`; its results can be scored and compared.

    Results go input by input, variant by variant, repeat by repeat. Runs start repeat by repeat with the variants
    in turn, so that what a stop leaves is balanced.

    Args:
        crew: A function that returns a `Crew`, or a `Crew` with placeholders.
        inputs: One dict per input: a list, a DataFrame, or any iterable.
        over: The levels of each factor, in all combinations; or a list of dicts, for just those. A factor is a
            parameter of the function, which takes any object, or an input; where there is none, "llm" is every model of
            the crew and "llm:Researcher" that of one role, by name, and a call on another fails its run.
        repeats: How often each cell is run.
        scores: Functions of (output, inputs), judges or evaluators, which score each run when it ends.
    """
    plans, cells = planned(crew, inputs, over, repeats)
    return launch_in_cell(plans, options(**given), Sheet(cells, named(scores)))


def planned(
    crew: CrewLike,
    inputs: Iterable[Mapping[str, Any]],
    over: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]],
    repeats: int,
) -> tuple[list[Plan], list[Cell]]:
    """The runs of a sweep, and where each of them stands."""
    crew = _startable.startable(crew)
    rows = rows_of(inputs)
    names = _index(inputs, len(rows))
    variants = _variants(over)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise OptionError(f"repeats is {repeats!r}. Write a whole number from 1.")
    by_overlay = _check_factors(crew, variants, rows)
    shown = _levels(variants)
    cells, merged, turns = [], [], []
    for (place, row), (turn, variant), repeat in itertools.product(
        enumerate(rows), enumerate(variants), range(repeats)
    ):
        if not isinstance(row, Mapping):
            raise BlueprintError(f"inputs[{place}]: inputs are {short(row)}, not a dict of names and values.")
        own = {name: value for name, value in row.items() if name not in variant}
        cells.append(Cell(place, names[place], own, shown[turn], repeat))
        merged.append({**row, **{name: level for name, level in variant.items() if name not in by_overlay}})
        turns.append((repeat, place, turn))
    plans = [
        _in_cell(plan, cell, turn, by_overlay)
        for plan, cell, turn in zip(_blueprint.plans_for_each(crew, merged), cells, turns, strict=True)
    ]
    return plans, cells


def _in_cell(plan: Plan, cell: Cell, turn: tuple[int, ...], by_overlay: Collection[str]) -> Plan:
    # An object as a level looks like any other of its class: its row says by name which it is.
    named = [f"{name}={word}" for name, word in cell.variant.items() if (plan.inputs or {}).get(name) != word]
    if named:
        plan = replace(plan, label=", ".join([*named, plan.label])[:LABEL_KEPT], parts=())
    others = (column for column in plan.columns if column.name not in cell.variant)
    plan = replace(plan, columns=(*(Column(name, word) for name, word in cell.variant.items()), *others))
    models = {name.partition(":")[2] or _models.ALL: str(cell.variant[name]) for name in by_overlay}
    how = {**plan.how, _models.LLMS: models} if models else plan.how
    return replace(plan, turn=turn, factors=frozenset(cell.variant) - set(by_overlay), key=cell.key, how=how)


def _index(inputs: Any, length: int) -> list[Any]:
    """What the inputs' own index calls them; their places where they have none."""
    index = getattr(inputs, "index", None)
    if hasattr(inputs, "columns") and hasattr(index, "tolist"):
        return list(index.tolist())  # type: ignore[union-attr]
    return list(range(length))


def _variants(over: Any) -> list[dict[str, Any]]:
    if isinstance(over, Mapping):
        for name, levels in over.items():
            if isinstance(levels, str | bytes | Mapping) or not hasattr(levels, "__iter__"):
                raise OptionError(f"over[{name!r}] is {short(levels)}. Write a list of its levels.")
        levels_of = {name: list(levels) for name, levels in over.items()}
        found = [dict(zip(levels_of, each, strict=True)) for each in itertools.product(*levels_of.values())]
    elif isinstance(over, list | tuple) and all(isinstance(each, Mapping) for each in over):
        found = [dict(each) for each in over]
        if any(set(each) != set(found[0]) for each in found):
            raise OptionError("the dicts of over= name different factors. Give each of them every factor.")
    else:
        raise OptionError(f'over is {short(over)}. Write {{"tone": ["dry", "warm"]}}, or a list of such combinations.')
    if not found or not found[0]:
        raise OptionError('over has no variant. Write over={"tone": ["dry", "warm"]}.')
    for name in found[0]:
        if not isinstance(name, str):
            raise OptionError(f"the factor {name!r} is not a string.")
    return found


def _check_factors(crew: Any, variants: Sequence[Mapping[str, Any]], rows: Sequence[Any]) -> list[str]:
    """The factors that are models of the crew.

    What would change nothing is refused, as far as that can be seen before a crew is built; the rest is seen then.
    """
    kind = _kinds.find(crew)
    found = []
    for factor in variants[0]:
        if factor in ("input", "repeat"):
            raise OptionError(f"{factor!r} cannot name a factor: it is a level of the index of results.to_frame().")
        is_llm = factor.partition(":")[0] == "llm"
        if kind is None:
            known = not is_llm or factor in _parameters(crew)
        else:
            known = factor in kind.placeholders(crew) or (
                not is_llm and (kind.takes_objects or kind.takes_other_inputs(crew))
            )
        if not known and is_llm and not any(isinstance(row, Mapping) and factor in row for row in rows):
            _check_models(factor, [variant[factor] for variant in variants])
            found.append(factor)
        elif not known:
            raise BlueprintError(f"the factor {factor!r} changes nothing: no text of the crew has {{{factor}}}.")
    return found


def _check_models(factor: str, levels: Sequence[Any]) -> None:
    for level in levels:
        if not isinstance(level, str) or not level.strip():
            raise BlueprintError(
                f'over[{factor!r}] has {short(level)}. Write names of models, "openai/gpt-4o" say; for LLM objects '
                f"write `def build_crew(..., llm): ...` with Agent(..., llm=llm), and over={{'llm': [...]}}."
            )
    if factor.startswith("llm:") and not factor[4:].strip():
        raise OptionError(f"{factor!r} names no role. Write 'llm:Researcher', or 'llm' for every model of the crew.")


def _parameters(factory: Any) -> set[str]:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return set()
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return {*parameters, "llm"} if anything else set(parameters)


def _levels(variants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The variants with each level by what people call it, and no two levels by one name.

    Raises:
        OptionError: When a variant is given twice.
    """
    known: dict[str, list[tuple[Any, Any]]] = {name: [] for name in variants[0]}
    shown = []
    for variant in variants:
        line = {}
        for name, level in variant.items():
            called = next((word for other, word in known[name] if other is level or _same(other, level)), None)
            if called is None:
                taken = {str(word) for _, word in known[name]}
                word = called = _called(level)
                for more in itertools.count(2):
                    if str(called) not in taken:
                        break
                    called = f"{word} #{more}"
                known[name].append((level, called))
            line[name] = called
        if line in shown:
            raise OptionError(f"the variant {line} is given twice. repeats= runs each of them more often.")
        shown.append(line)
    return shown


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and isinstance(one, str | int | float | bool) and one == other


def _called(level: Any) -> Any:
    if level is None:
        return "None"
    if isinstance(level, str | int | float | bool):
        return level
    model = getattr(level, "model", None)
    if isinstance(model, str) and model:
        return model
    return getattr(level, "__name__", None) or short(level)
