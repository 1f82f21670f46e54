"""CrewAI's events become ours, tagged with run and task: a sink in the run's own context, and the only listener.

It runs inside CrewAI's `emit`, in whichever thread that is: it never waits, and it never raises, save to stop a
stopped run. (An exception in a sink kills its run; a bus handler would lose the order of events.)
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from crew_nb._crewai import names as _crewai
from crew_nb._state import attempt as _attempt
from crew_nb._state import events as ev
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from crew_nb._state.attempt import Attempt

Price = Callable[[str, Usage, str | None], float | None]
"""What a call of an LLM of that name and provider cost, in US dollars, where that is known."""

DETAIL_KEPT = 2_000
"""Characters kept of a prompt's last message, a tool's arguments or its result."""

_STOPPABLE = frozenset({"llm_call_started", "llm_stream_chunk", "tool_usage_started", "task_started"})
_ENDS_BADLY = frozenset({"task_failed", "llm_call_failed", "tool_usage_error"})
"""What is told of work that was stopped, too; that is no failure."""


class Listener:
    """Callable as a CrewAI stream sink for one attempt."""

    def __init__(self, attempt: Attempt, price: Price) -> None:
        self._attempt = attempt
        self._price = price
        self._tools: dict[tuple[int | None, str], list[tuple[str, str]]] = {}
        self._count = itertools.count()

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
        places = self._attempt.places
        place = places.get(str(getattr(event, "task_id", None)))
        # Delegated work and tools run under task objects of their own; the context knows the crew's task.
        return place if place is not None else places.get(str(_crewai.current_task_id()))

    def _task_place(self, source: Any, event: Any) -> int | None:
        task = getattr(event, "task", None) or source
        return self._attempt.places.get(str(getattr(task, "id", None)))

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

    def _call_started(self, source: Any, event: Any) -> None:
        record = _attempt.call.get()
        if record is not None:
            record.heard = True
        self._post(
            ev.CallStarted,
            call=event.call_id,
            kind="llm",
            name=event.model or "LLM",
            task=self._place(event),
            agent=(event.agent_role or "").strip(),
            detail=self._last_message(event.messages),
        )

    def _chunk(self, source: Any, event: Any) -> None:
        if event.chunk and event.tool_call is None:
            self._post(ev.CallChunk, call=event.call_id, text=event.chunk, task=self._place(event))

    def _call_completed(self, source: Any, event: Any) -> None:
        usage = _crewai.usage(event.usage)
        record = _attempt.call.get()
        if record is not None:
            record.usage += usage
        name = event.model or ""
        provider = getattr(source, "provider", None)
        cost = 0.0 if getattr(source, "is_offline", False) else self._price(name, usage, provider)
        self._post(
            ev.CallFinished,
            call=event.call_id,
            kind="llm",
            task=self._place(event),
            output=self._text(event.response),
            usage=usage,
            cost=cost if usage.total_tokens else None,
        )

    def _call_failed(self, source: Any, event: Any) -> None:
        self._post(ev.CallFailed, call=event.call_id, kind="llm", task=self._place(event), message=str(event.error))

    def _tool_started(self, source: Any, event: Any) -> None:
        place = self._place(event)
        key = f"tool-{next(self._count)}"
        self._tools.setdefault((place, event.tool_name), []).append((self._text(event.tool_args), key))
        self._post(
            ev.CallStarted,
            call=key,
            kind="tool",
            name=event.tool_name,
            task=place,
            agent=(event.agent_role or "").strip(),
            detail=self._text(event.tool_args),
        )

    def _tool_finished(self, source: Any, event: Any) -> None:
        place = self._place(event)
        key = self._tool_key(place, event)
        self._post(ev.CallFinished, call=key, kind="tool", task=place, output=self._text(event.output))

    def _tool_failed(self, source: Any, event: Any) -> None:
        place = self._place(event)
        key = self._tool_key(place, event)
        self._post(ev.CallFailed, call=key, kind="tool", task=place, message=str(event.error))

    def _tool_key(self, place: int | None, event: Any) -> str:
        """The call that this is the end of: CrewAI runs several of one tool at once, each with its arguments."""
        begun = self._tools.get((place, event.tool_name))
        if not begun:
            return ""
        asked = self._text(event.tool_args)
        return begun.pop(next((n for n, (args, _) in enumerate(begun) if args == asked), 0))[1]

    def _agent_log(self, source: Any, event: Any) -> None:
        answer = event.formatted_answer
        thought = getattr(answer, "thought", "") or ""
        if thought and not str(thought).startswith(_crewai.SAYS_NOTHING):
            self._attempt.log(f"{(event.agent_role or '').strip()}: {self._cut(str(thought))}", self._place(event))

    def _noted(self, source: Any, event: Any) -> None:
        words = event.type.replace("_", " ")
        about = getattr(event, "error", None) or getattr(event, "query", None) or ""
        self._attempt.log(f"{words}{': ' + self._cut(str(about)) if about else ''}", self._place(event))

    def _last_message(self, messages: Any) -> str:
        if isinstance(messages, list) and messages and isinstance(messages[-1], Mapping):
            return self._cut(self._text(messages[-1].get("content")))
        return self._cut(self._text(messages))

    def _text(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return self._cut(value)
        try:
            return self._cut(json.dumps(value, ensure_ascii=False, default=str))
        except (TypeError, ValueError):
            return self._cut(str(value))

    def _cut(self, text: str) -> str:
        if len(text) <= DETAIL_KEPT:
            return text
        # A secret that is cut in two would not be known again, so it goes first.
        return f"{self._attempt.secrets.scrub(text[: 2 * DETAIL_KEPT])[:DETAIL_KEPT]}… ({len(text):,} characters)"

    def _post(self, event: type[ev.Event], /, **fields: Any) -> None:
        self._attempt.post(event(run=self._attempt.index, at=time.time(), **fields))


_HEARD: Mapping[str, Callable[[Listener, Any, Any], None]] = {
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
