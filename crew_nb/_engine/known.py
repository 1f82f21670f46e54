"""What runs are known by, and what the record had of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import outputs as _outputs
from crew_nb._record import fingerprint as _fingerprint
from crew_nb._state.attempt import DoneTask
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crew_nb._crewai.blueprint import Plan
    from crew_nb._crewai.names import CrewOutput
    from crew_nb._record.fingerprint import Key
    from crew_nb._record.loaded import StoredRun, StoredTask


def readable(found: Mapping[str, StoredRun]) -> dict[str, tuple[StoredRun, CrewOutput]]:
    """What was found, with its outputs; a run whose output cannot be read any more is left out, and run again."""
    kept = {}
    for key, stored in found.items():
        with contextlib.suppress(Exception):  # its classes are the user's, and may have changed
            if stored.tree is not None:
                kept[key] = stored, _outputs.decode(stored.tree)
    return kept


def readable_tasks(begun: Mapping[str, Mapping[int, StoredTask]]) -> dict[str, dict[int, DoneTask]]:
    """What was found of runs that are not done; a task that cannot be read any more is left out, and run again."""
    done: dict[str, dict[int, DoneTask]] = {}
    for key, tasks in begun.items():
        for place, stored in tasks.items():
            with contextlib.suppress(Exception):
                tree = stored.tree
                output = None if tree["output"] is None else _outputs.decode_task(tree["output"])
                usage, cost = Usage.from_dict(tree["usage"]), tree["cost"]
                if not isinstance(cost, int | float | None):
                    continue
                done.setdefault(key, {})[place] = DoneTask(
                    asked=stored.asked, output=output, usage=usage, cost=cost, unfit=str(tree["unfit"])
                )
    return done


def run_keys(plans: Sequence[Plan]) -> list[Key]:
    """The key of each run: the content of its blueprint and inputs, and how often it stands in the batch."""
    blueprints: dict[int, Key] = {}
    repeats: dict[str, int] = {}
    keys = []
    for plan in plans:
        if id(plan.source) not in blueprints:
            kind = _kinds.find(plan.source)
            known_by = plan.source if kind is None else kind.known_by(plan.source)
            blueprints[id(plan.source)] = _fingerprint.fingerprint(known_by)
        blueprint = blueprints[id(plan.source)]
        inputs = {**(plan.inputs or {}), **{f" {name}": value for name, value in plan.how.items()}}
        first = _fingerprint.run_key(blueprint, inputs)
        repeat = repeats[first] = repeats.get(first, -1) + 1
        keys.append(_fingerprint.run_key(blueprint, inputs, repeat) if repeat else first)
    return keys
