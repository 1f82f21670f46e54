"""An LLM that says what a test wrote down, keeps what it was asked, and speaks CrewAI's events like a provider."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context
from pydantic import BaseModel, PrivateAttr

Answer = Any
"""A string, a list of tool calls, a BaseModel, an Exception to raise, or a function of the messages giving one."""


def tool_call(name: str, arguments: str = "{}", call_id: str = "call_1") -> dict[str, Any]:
    """One native tool call as OpenAI writes it."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class ScriptedLLM(BaseLLM):
    """Answers in the order of the script; the last answer is said again when the script is over.

    Attributes:
        latency: Seconds that each answer takes.
        native_tools: Whether it says that it takes native tool calls.
        chunks: Pieces that each text answer is streamed in; 0 for no streaming.
    """

    model: str = "scripted"
    latency: float = 0.0
    native_tools: bool = False
    chunks: int = 0
    window: int = 100_000
    stops: bool = True

    _script: list[Answer] = PrivateAttr(default_factory=list)
    _asked: list[dict[str, Any]] = PrivateAttr(default_factory=list)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _hold: Any = PrivateAttr(default=None)

    def __init__(self, script: Iterable[Answer] = ("done",), **fields: Any) -> None:
        super().__init__(**{"model": "scripted", **fields})
        self._script = list(script)

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What it was asked, call by call: messages, tools, response model, stop words, way (call or acall)."""
        return self._asked

    def call(
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        with llm_call_context():
            answer = self._begin("call", messages, tools, callbacks, from_task, from_agent, response_model)
            if self.latency:
                time.sleep(self.latency)
            return self._end(answer, messages, from_task, from_agent, response_model)

    async def acall(
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        with llm_call_context():
            answer = self._begin("acall", messages, tools, callbacks, from_task, from_agent, response_model)
            await asyncio.sleep(self.latency)
            return self._end(answer, messages, from_task, from_agent, response_model)

    def supports_function_calling(self) -> bool:
        return self.native_tools

    def supports_stop_words(self) -> bool:
        return self.stops

    def get_context_window_size(self) -> int:
        return self.window

    def _begin(
        self, way: str, messages: Any, tools: Any, callbacks: Any, from_task: Any, from_agent: Any, response_model: Any
    ) -> Answer:
        self._emit_call_started_event(
            messages=messages, tools=tools, callbacks=callbacks, from_task=from_task, from_agent=from_agent
        )
        with self._lock:
            place = len(self._asked)
            self._asked.append(
                {
                    "way": way,
                    "messages": copy.deepcopy(messages),
                    "tools": sorted(t["function"]["name"] for t in tools or ()),
                    "response_model": getattr(response_model, "__name__", None),
                    "stop": sorted(self.stop_sequences),
                    "agent": getattr(from_agent, "role", None),
                    "task": bool(from_task),
                }
            )
            return self._script[min(place, len(self._script) - 1)]

    def _end(self, answer: Answer, messages: Any, from_task: Any, from_agent: Any, response_model: Any) -> Any:
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(messages)
        if isinstance(answer, Exception):
            self._emit_call_failed_event(error=str(answer), from_task=from_task, from_agent=from_agent)
            raise answer
        if isinstance(answer, str) and response_model is not None:
            answer = response_model.model_validate_json(answer)
        if isinstance(answer, str) and (self.chunks or self._effective_stream()):
            size = max(1, len(answer) // (self.chunks or 3))
            for at in range(0, len(answer), size):
                self._emit_stream_chunk_event(chunk=answer[at : at + size], from_task=from_task, from_agent=from_agent)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        self._track_token_usage_internal(usage)
        tools = isinstance(answer, list)
        self._emit_call_completed_event(
            response=answer.model_dump_json() if isinstance(answer, BaseModel) else answer,
            call_type=LLMCallType.TOOL_CALL if tools else LLMCallType.LLM_CALL,
            from_task=from_task,
            from_agent=from_agent,
            messages=messages,
            usage=usage,
        )
        return answer
