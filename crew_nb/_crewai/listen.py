"""CrewAI's events become ours, tagged with run and task: a sink in the run's own context, and the only listener.

It runs inside CrewAI's `emit`, in whichever thread that is: it never waits, and it never raises, save to stop a
stopped run. (An exception in a sink kills its run; a bus handler would lose the order of events.)
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._crewai.crews import specs as specs_of
from crew_nb._crewai.flows import steps as steps_of
from crew_nb._crewai.outputs import text as text_of
from crew_nb._state import attempt as _attempt
from crew_nb._state import clock as _clock
from crew_nb._state import events as ev
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.call import CallRecord
    from crew_nb._state.secrets import Secrets

Price = Callable[[str, Usage, str | None], float | None]
"""What a call of an LLM of that name and provider cost, in US dollars, where that is known."""

DETAIL_KEPT = 2_000
"""Characters kept of a prompt's last message, a tool's arguments or its result."""

_STOPPABLE = frozenset(
    {"llm_call_started", "llm_stream_chunk", "tool_usage_started", "task_started", "method_execution_started"}
)
_ENDS_BADLY = frozenset({"task_failed", "llm_call_failed", "tool_usage_error"})
"""What is told of work that was stopped, too; that is no failure."""

FOUND_KEPT = 500
"""Tasks of one run that have a place of their own; what more of them do is shown at their step."""

LAST = " last"
"""Where `places` keeps the last place that was given out; no id of CrewAI's."""

_step: ContextVar[int | None] = ContextVar("crew_nb_step", default=None)
"""The step of a flow, or the single agent, that this code runs in."""


class Listener:
    """Callable as a CrewAI stream sink for one attempt."""

    def __init__(self, attempt: Attempt, price: Price) -> None:
        self._attempt = attempt
        self._price = price
        self._tools: dict[tuple[int | None, str], list[tuple[str, str, str]]] = {}
        """Of those that have begun, by task and name: the arguments, the call, and the call that it is made in."""
        self._count = itertools.count()
        self._outer: dict[int, int | None] = {}
        """The step around each agent that is at work in one."""

    def __call__(self, source: Any, event: Any) -> None:
        """Take one event of CrewAI."""
        kind = event.type
        if self._attempt.stop_reason and kind in _STOPPABLE:
            raise _crewai.abort(self._attempt.stop_reason)
        if self._attempt.closed or (self._attempt.stop_reason and kind in _ENDS_BADLY):
            return
        hear = _HEARD.get(kind)
        if hear is None:
            return
        try:
            hear(self, source, event)
        except Exception as error:
            self._attempt.log(f"an event of CrewAI could not be read ({kind}): {error!r}")

    def _place(self, event: Any) -> int | None:
        return place_of(self._attempt, str(getattr(event, "task_id", None)))

    def _task_place(self, source: Any, event: Any) -> int | None:
        task = getattr(event, "task", None) or source
        return self._attempt.places.get(str(getattr(task, "id", None)))

    # --- flows and single agents -----------------------------------------------------------------------------------

    def _found(self, specs: list[ev.TaskSpec], keys: list[str], step: int) -> None:
        """Tasks that a step has begun, each by the key of its place."""
        first = open_inside(self._attempt, specs, step)
        self._attempt.places.update({key: first + place for place, key in enumerate(keys)})

    def _in_step(self) -> int | None:
        """The step that this code runs in, where there is room for what it begins."""
        step = _step.get()
        return step if has_room(self._attempt) else None

    def _crew_started(self, source: Any, event: Any) -> None:
        """A crew in a step of a flow: its tasks open inside the step."""
        step = self._in_step()
        tasks = list(getattr(source, "tasks", None) or ())
        if step is None or not tasks or str(tasks[0].id) in self._attempt.places:
            return
        crew = next(self._attempt.crews)
        keys = [str(task.id) for task in tasks]
        self._found([replace(spec, crew=crew) for spec in specs_of(source)], keys, step)

    def _agent_started(self, source: Any, event: Any) -> None:
        """A single agent: the run itself, or in a step of a flow."""
        place = self._attempt.places.get(f"agent:{source.id}")
        if place is None:
            step = self._in_step()
            if step is None:
                return
            role = str(getattr(source, "role", "") or "agent").strip()
            self._found(
                [ev.TaskSpec(name=role, agent=role, crew=next(self._attempt.crews))], [f"agent:{source.id}"], step
            )
            place = self._attempt.places[f"agent:{source.id}"]
        self._outer[place] = _step.get()
        _step.set(place)
        self._post(ev.TaskStarted, task=place, agent=str(getattr(source, "role", "")).strip())

    def _agent_completed(self, source: Any, event: Any) -> None:
        place = self._attempt.places.get(f"agent:{source.id}")
        if place is not None:
            self._post(ev.TaskFinished, task=place, output=str(event.output))
            _step.set(self._outer.pop(place, None))

    def _agent_failed(self, source: Any, event: Any) -> None:
        place = self._attempt.places.get(f"agent:{source.id}")
        if place is not None:
            self._post(ev.TaskFailed, task=place, message=str(event.error))
            _step.set(self._outer.pop(place, None))

    def _step_place(self, source: Any, event: Any) -> int | None:
        return self._attempt.places.get(f"step:{id(source)}:{event.method_name}")

    def _step_started(self, source: Any, event: Any) -> None:
        if self._step_place(source, event) is None:
            step = self._in_step()  # a flow within a step
            if step is None:
                return
            keys = [f"step:{id(source)}:{name}" for name in source._definition.methods]
            self._found(list(steps_of(source)), keys, step)
        place = self._step_place(source, event)
        if place is not None:
            _step.set(place)
            self._post(ev.TaskStarted, task=place)

    def _step_finished(self, source: Any, event: Any) -> None:
        place = self._step_place(source, event)
        if place is not None:
            self._post(ev.TaskFinished, task=place, output=text_of(event.result))

    def _step_failed(self, source: Any, event: Any) -> None:
        place = self._step_place(source, event)
        if place is not None:
            self._post(ev.TaskFailed, task=place, message=str(event.error))

    # --- tasks ------------------------------------------------------------------------------------------------------

    def _task_started(self, source: Any, event: Any) -> None:
        place = self._task_place(source, event)
        if place is not None:
            agent = getattr(getattr(source, "agent", None), "role", "") or ""
            self._post(ev.TaskStarted, task=place, agent=str(agent).strip())

    def _task_completed(self, source: Any, event: Any) -> None:
        place = self._task_place(source, event)
        if place is not None:
            self._post(ev.TaskFinished, task=place, output=str(event.output.raw))

    def _task_failed(self, source: Any, event: Any) -> None:
        place = self._task_place(source, event)
        if place is not None:
            self._post(ev.TaskFailed, task=place, message=str(event.error))

    def _record(self, event: Any) -> CallRecord | None:
        """The gate's record of the call that the event is of; None for a call within it, or one that passes no gate."""
        record = _attempt.call.get()
        return record if record is not None and record.event_id == event.call_id else None

    def _call_started(self, source: Any, event: Any) -> None:
        record = _attempt.call.get()
        if record is not None and not record.event_id:
            record.event_id = event.call_id  # the gate has told of it
            return
        self._post(
            ev.CallStarted,
            call=event.call_id,
            kind="llm",
            name=event.model or "LLM",
            task=self._place(event),
            agent=(event.agent_role or "").strip(),
            detail=last_message(event.messages, self._attempt.secrets),
            within=_attempt.tool.get() if record is None else record.key,
            provider=str(getattr(source, "provider", None) or ""),
        )

    def hear_piece(self, call_id: str, task_id: str, text: str) -> None:
        """Take one piece of a stream of which CrewAI makes no event, as nobody else hears it; empty for one of no text.

        Args:
            call_id: CrewAI's name of the call.
            task_id: CrewAI's id of the task that the call is for.
            text: What has been said.
        """
        if self._attempt.stop_reason:
            raise _crewai.abort(self._attempt.stop_reason)
        if not self._attempt.closed:
            self._piece(call_id, task_id, text)

    def _chunk(self, source: Any, event: Any) -> None:
        self._piece(event.call_id, str(event.task_id), event.chunk if event.tool_call is None else "")

    def _piece(self, call_id: str, task_id: str, text: str) -> None:
        record = _attempt.call.get()
        if record is None or record.event_id != call_id:
            if text:
                self._post(ev.CallChunk, call=call_id, text=text, task=place_of(self._attempt, task_id))
            return
        record.pieces += 1
        if text:
            record.paces.append((_clock.now(), text))
            self._post(ev.CallChunk, call=record.key, text=text, task=record.task)

    def _call_completed(self, source: Any, event: Any) -> None:
        usage = _crewai.usage(event.usage)
        within = _attempt.call.get()
        if within is not None and event.usage:
            within.tally(source).in_events += usage
        record = self._record(event)
        if record is None:
            if within is None:
                self._attempt.spend(usage)
            # What a call costs that is made within another is in that one's tokens.
            free = within is not None or getattr(source, "is_offline", False)
            cost = 0.0 if free else self._price(event.model or "", usage, getattr(source, "provider", None))
            self._post(
                ev.CallFinished,
                call=event.call_id,
                kind="llm",
                task=self._place(event),
                output=self._text(event.response),
                usage=usage if within is None else Usage(),
                cost=cost if free or usage.total_tokens else None,
            )
        elif (
            event.finish_reason or event.usage or not (record.asked.functions and event.call_type.value == "tool_call")
        ):
            record.completed = True
            record.finish_reason = event.finish_reason
            record.output = self._text(event.response)

    def _call_failed(self, source: Any, event: Any) -> None:
        if self._record(event) is None:
            failed = {"message": str(event.error), "error": _class_of(event.error)}
            self._post(ev.CallFailed, call=event.call_id, kind="llm", task=self._place(event), **failed)

    def _tool_started(self, source: Any, event: Any) -> None:
        place = self._place(event)
        key = f"tool-{next(self._count)}"
        within = _attempt.tool.get()
        self._tools.setdefault((place, event.tool_name), []).append((self._text(event.tool_args), key, within))
        _attempt.tool.set(key)
        self._post(
            ev.CallStarted,
            call=key,
            kind="tool",
            name=event.tool_name,
            task=place,
            agent=(event.agent_role or "").strip(),
            detail=self._text(event.tool_args),
            within=within,
        )

    def _tool_finished(self, source: Any, event: Any) -> None:
        place = self._place(event)
        key = self._tool_key(place, event)
        record = _attempt.call.get()
        if record is not None and record.asked.functions:
            record.ran.append((event.tool_name, event.tool_args, event.output))
        self._post(ev.CallFinished, call=key, kind="tool", task=place, output=self._text(event.output))

    def _tool_failed(self, source: Any, event: Any) -> None:
        place = self._place(event)
        key = self._tool_key(place, event)
        failed = {"message": str(event.error), "error": _class_of(event.error)}
        self._post(ev.CallFailed, call=key, kind="tool", task=place, **failed)

    def _tool_key(self, place: int | None, event: Any) -> str:
        """The call that this is the end of: CrewAI runs several of one tool at once, each with its arguments."""
        begun = self._tools.get((place, event.tool_name))
        if not begun:
            return ""
        asked = self._text(event.tool_args)
        _, key, within = begun.pop(next((n for n, (args, *_) in enumerate(begun) if args == asked), 0))
        if _attempt.tool.get() == key:
            _attempt.tool.set(within)
        return key

    def _agent_log(self, source: Any, event: Any) -> None:
        answer = event.formatted_answer
        thought = getattr(answer, "thought", "") or ""
        if thought and not str(thought).startswith(_crewai.SAYS_NOTHING):
            self._attempt.log(f"{(event.agent_role or '').strip()}: {self._text(str(thought))}", self._place(event))

    def _noted(self, source: Any, event: Any) -> None:
        words = event.type.replace("_", " ")
        about = getattr(event, "error", None) or getattr(event, "query", None) or ""
        self._attempt.log(f"{words}{': ' + self._text(str(about)) if about else ''}", self._place(event))

    def _text(self, value: Any) -> str:
        return text(value, self._attempt.secrets)

    def _post(self, event: type[ev.Event], /, **fields: Any) -> None:
        self._attempt.post(event(run=self._attempt.index, at=_clock.now(), **fields))


_HEARD: Mapping[str, Callable[[Listener, Any, Any], None]] = {
    "method_execution_started": Listener._step_started,
    "method_execution_finished": Listener._step_finished,
    "method_execution_failed": Listener._step_failed,
    "crew_kickoff_started": Listener._crew_started,
    "lite_agent_execution_started": Listener._agent_started,
    "lite_agent_execution_completed": Listener._agent_completed,
    "lite_agent_execution_error": Listener._agent_failed,
    "task_started": Listener._task_started,
    "task_completed": Listener._task_completed,
    "task_failed": Listener._task_failed,
    "llm_call_started": Listener._call_started,
    "llm_stream_chunk": Listener._chunk,
    "llm_call_completed": Listener._call_completed,
    "llm_call_failed": Listener._call_failed,
    "tool_usage_started": Listener._tool_started,
    "tool_usage_finished": Listener._tool_finished,
    "tool_usage_error": Listener._tool_failed,
    "agent_logs_execution": Listener._agent_log,
    "agent_execution_error": Listener._noted,
    "llm_guardrail_started": Listener._noted,
    "llm_guardrail_completed": Listener._noted,
    "memory_query_failed": Listener._noted,
    "memory_save_failed": Listener._noted,
    "memory_retrieval_failed": Listener._noted,
    "knowledge_search_query_failed": Listener._noted,
    "context_window_summarization_started": Listener._noted,
}


def has_room(attempt: Attempt) -> bool:
    """Whether what is begun inside one of its tasks or steps can have places of its own."""
    return attempt.places.get(LAST, FOUND_KEPT) < FOUND_KEPT


def open_inside(attempt: Attempt, specs: Sequence[ev.TaskSpec], parent: int) -> int:
    """Tasks that a task or a step has begun come after all that are known; returns the place of the first.

    Args:
        attempt: What it belongs to.
        specs: Their joins are places among themselves.
        parent: The place of what has begun them.
    """
    with attempt.finding:  # steps are in threads
        first = attempt.places[LAST] + 1
        attempt.places[LAST] += len(specs)
        found = (replace(spec, parent=parent, joins=tuple(first + place for place in spec.joins)) for spec in specs)
        attempt.post(ev.TasksFound(run=attempt.index, at=_clock.now(), tasks=tuple(found)))
    return first


def place_of(attempt: Attempt, task_id: str = "") -> int | None:
    """Position of the task, the step or the single agent that this code runs for."""
    places = attempt.places
    # Delegated work and tools run under task objects of their own; the context knows the crew's task.
    for known in (task_id, str(_crewai.current_task_id())):
        place = places.get(known) if known else None
        if place is not None:
            return place
    step = _step.get()
    return step if step is not None else places.get("")


def _class_of(error: object) -> str:
    return type(error).__name__ if isinstance(error, BaseException) else ""


def last_message(messages: Any, secrets: Secrets) -> str:
    """The last of an LLM call's messages, cut, for people."""
    if isinstance(messages, list) and messages and isinstance(messages[-1], Mapping):
        messages = messages[-1].get("content")
    return text(messages, secrets)


def text(value: Any, secrets: Secrets) -> str:
    """A value for people, cut."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _cut(value, secrets)
    try:
        return _cut(json.dumps(value, ensure_ascii=False, default=str), secrets)
    except (TypeError, ValueError):
        return _cut(str(value), secrets)


def _cut(text: str, secrets: Secrets) -> str:
    if len(text) <= DETAIL_KEPT:
        return text
    # A secret that is cut in two would not be known again, so it goes first.
    return f"{secrets.scrub(text[: 2 * DETAIL_KEPT])[:DETAIL_KEPT]}… ({len(text):,} characters)"
