"""A flow goes on where an earlier try of its run ended: steps that were done are taken over, with what they did.

The flow is walked as ever, from its start, so that routers, joins and loops decide as they did; a round of a step that
was done gives what it gave then, puts into the state what it put there, and its method is not called. CrewAI's own way,
a state that `@persist` has kept, begins at the first step, and its checkpoints know no rounds (1.15.30).
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._crewai.goes_on import InStep, in_step
from crew_nb._crewai.outputs import StepOutput, text
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.attempt import ROUNDS, DoneTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crewai.flow.runtime import Flow

    from crew_nb._state.attempt import Attempt

_PLAIN = (dict, list, set, tuple, bytearray)
"""What is looked into where it may have been changed in place."""

_GONE = object()


def where_it_ended(flow: Flow[Any], inputs: Mapping[str, Any] | None) -> None:
    """Let a flow take over what an earlier try of the current attempt's run has done, and keep what it does.

    Args:
        flow: Ours, about to be kicked off; it is changed.
        inputs: What it is kicked off with.
    """
    attempt = _attempt.current.get()
    if attempt is None or len(flow._definition.methods) == 1:
        return  # its one step and the run are done at once
    if "id" in (inputs or {}):
        if attempt.done:
            attempt.log("begun anew, nothing is taken over: its state is restored by an id, and goes on from there")
        return
    object.__setattr__(flow, "_execute_method", _Steps(attempt, flow).taken_or_run)


class _Steps:
    """The steps of one flow in one attempt."""

    def __init__(self, attempt: Attempt, flow: Flow[Any]) -> None:
        self._attempt = attempt
        self._flow: Any = flow
        self._run = flow._execute_method
        self._before = {key: done for key, done in attempt.done.items() if done.asked}
        """What earlier tries have done."""
        self._moved = False
        """Whether a round that was done has been run again: what comes after it may be another thing."""
        self._places = {str(name): place for place, name in enumerate(flow._definition.methods)}
        self._rounds = dict.fromkeys(self._places, 0)
        self._at_work: dict[int, set[int]] = {}
        """By position, those rounds that were at work while it was."""
        self._done: set[int] = set()
        kept = [done.output.order for done in self._before.values() if isinstance(done.output, StepOutput)]
        self._order = itertools.count(max(kept, default=0) + 1)
        self._applied: dict[str, int] = {}
        """By part of the state, the order of the step whose change it has."""

    async def taken_or_run(self, name: Any, method: Any, *args: Any, **kwargs: Any) -> tuple[Any, str | None]:
        """In place of `Flow._execute_method`."""
        place, number = self._places[str(name)], self._rounds[str(name)]
        self._rounds[str(name)] += 1
        key = place * ROUNDS + number
        done = self._before.get(key)
        if done is not None and not self._moved:
            if not (why := self._unfit(done)):
                return await self._take(name, place, key, done)
            self._moved = True
            self._attempt.log(f"run again, and all that comes after it: {why}", place)
        beside = self._at_work[key] = set(self._at_work)
        for others in self._at_work.values():
            others.add(key)
        before, began, inside = _Seen(self._flow), _clock.now(), InStep(self._attempt, key)
        token = in_step.set(inside)
        try:
            result, event = await self._run(name, method, *args, **kwargs)
        finally:
            in_step.reset(token)
            del self._at_work[key]
        if number < ROUNDS:
            self._done.add(key)
            step = self._step(str(name), result, before, beside)
            # What earlier tries have spent in it; what this one has is added.
            step = replace(step, step=place, began=began, usage=inside.usage, cost=inside.cost)
            await self._attempt.keep(key, step)
        return result, event

    def _unfit(self, done: DoneTask) -> str:
        if done.unfit or not isinstance(done.output, StepOutput):
            return done.unfit or "it cannot be read any more"
        if any(self._before.get(key, _NONE).unfit for key in done.output.beside):
            return "a step beside it was not done, and the state may have changes of it"
        return ""

    def _step(self, name: str, result: Any, before: _Seen, beside: set[int]) -> DoneTask:
        """What a step did, or why it cannot be taken over."""
        if self._flow._definition.methods[name].human_feedback is not None:
            return DoneTask(asked=name, unfit="a person was asked what to do with it")
        after = _Seen(self._flow)
        try:
            if attributes := before.attributes_that_differ(after):
                return DoneTask(asked=name, unfit=f"it has set {', '.join(attributes)} beside the state")
            changed, gone = before.changes(after)
            not_done = tuple(sorted(beside - self._done)) if changed or gone else ()
            output = StepOutput(copy.deepcopy(result), changed, gone, next(self._order), not_done)
        except Exception as error:  # the user's objects need not let themselves be copied, or compared
            return DoneTask(asked=name, unfit=f"what it did cannot be kept ({type(error).__name__})")
        return DoneTask(asked=name, output=output)

    async def _take(self, name: Any, place: int, key: int, done: DoneTask) -> tuple[Any, None]:
        """Leave the flow as it is when the step has just run."""
        step: StepOutput = copy.deepcopy(done.output)
        flow = self._flow
        for part in (*step.changed, *step.gone):
            if self._applied.get(part, 0) < step.order:
                self._applied[part] = step.order
                _put(flow._state, part, step.changed.get(part, _GONE))
        flow._method_outputs.append({"method": str(name), "output": step.value})
        flow._method_execution_counts[name] = flow._method_execution_counts.get(name, 0) + 1
        flow._completed_methods.add(name)
        self._done.add(key)
        self._attempt.post(
            ev.TaskTaken(
                run=self._attempt.index,
                at=_clock.now(),
                task=place,
                output=text(step.value),
                usage=done.usage,
                cost=done.cost,
            )
        )
        if flow.persistence is not None or flow._definition.methods[str(name)].persist is not None:
            await asyncio.to_thread(flow._persist_method_completion, name)
        return step.value, None


_NONE = DoneTask(asked="", unfit="it was not done")


class _Seen:
    """A flow's state, and what else is set on it, at one moment."""

    def __init__(self, flow: Any) -> None:
        self._trouble: Exception | None = None
        self._state: dict[str, Any] = {}
        self._attributes: dict[str, Any] = {}
        try:
            self._state = {name: copy.deepcopy(value) for name, value in _parts(flow._state).items() if name != "id"}
            own = {name: value for name, value in vars(flow).items() if name not in type(flow).model_fields}
            self._attributes = {n: copy.deepcopy(v) if isinstance(v, _PLAIN) else v for n, v in own.items()}
        except Exception as error:  # told where the step has ended
            self._trouble = error

    def attributes_that_differ(self, after: _Seen) -> list[str]:
        """Names of attributes that are other ones now."""
        for trouble in (self._trouble, after._trouble):
            if trouble is not None:
                raise trouble
        both = {**self._attributes, **after._attributes}
        return [f"self.{n}" for n in both if not _same(self._attributes.get(n, _GONE), after._attributes.get(n, _GONE))]

    def changes(self, after: _Seen) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What is in the state now and was not, and what is no longer."""
        changed = {
            name: value
            for name, value in after._state.items()
            if name not in self._state or not bool(self._state[name] == value)
        }
        return changed, tuple(name for name in self._state if name not in after._state)


def _same(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, _PLAIN) and bool(a == b))


def _parts(state: Any) -> dict[str, Any]:
    if isinstance(state, dict):
        return state
    return {**{name: getattr(state, name) for name in type(state).model_fields}, **(state.model_extra or {})}


def _put(state: Any, part: str, value: Any) -> None:
    if isinstance(state, dict):
        if value is _GONE:
            state.pop(part, None)
        else:
            state[part] = value
    elif value is _GONE:
        delattr(state, part)
    elif part in type(state).model_fields:
        state.__dict__[part] = value  # as it was, whatever the model would make of it
        state.model_fields_set.add(part)
    else:
        setattr(state, part, value)
