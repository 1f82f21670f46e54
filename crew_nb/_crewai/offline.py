"""`OfflineLLM`: a CrewAI LLM without key or network; the same seed and prompt give the same answer in any order.

It is the one module besides those of the engine that imports CrewAI at its top: the package loads it on first use.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Literal

from crewai.events.types.llm_events import LLMCallType
from crewai.hooks.dispatch import HookAborted
from crewai.llms.base_llm import BaseLLM, LLMCallBlockedError, llm_call_context
from pydantic import BaseModel, Field, PrivateAttr

from crew_nb._crewai import offline_answers as answers
from crew_nb._state.errors import OptionError

Answer = str | BaseModel | Mapping[str, Any] | Exception
"""A scripted answer: text, a model, a tool call `{"name": ..., "arguments": {...}}`, or an error to raise."""
Responses = Sequence[Answer] | Mapping[str, Answer] | Callable[[list[dict[str, Any]]], Answer | None]
Failure = int | Literal["timeout", "connection"] | Exception
"""An HTTP status, a broken connection, or the exception itself."""

_TICK = 0.05
"""Seconds between two wake-ups while streaming; all tokens that are due are sent then."""
_SLICE = 0.1
"""Longest uninterrupted sleep of a synchronous call: an exception raised in its thread is noticed after it."""


class OfflineLLM(BaseLLM):
    """A CrewAI LLM that answers by itself: seeded, streaming, and failing only on demand.

    Without `responses` it writes a short Markdown text about the task, calls a fitting tool once where the agent has
    tools, and fills in the JSON schema where a structured output is asked for. Answers depend on `seed` and on the
    messages, not on the order of calls, so runs in parallel are reproducible. Usage counts one token per word (twelve
    characters of a longer one).

    Example:
        >>> llm = OfflineLLM(latency=0.2, errors={"Mars": 401})
        >>> agent = Agent(role="Researcher", goal="...", backstory="...", llm=llm)
    """

    is_offline: ClassVar[bool] = True
    pace_and_failures: ClassVar[frozenset[str]] = frozenset(
        {"latency", "tokens_per_second", "fail_rate", "rate_limit_rate", "retry_after", "errors", "stream"}
    )
    """Fields that change no answer: a run is known in the record without them."""

    responses: Any = Field(default=None, exclude=True)
    latency: float | tuple[float, float] = 0.5
    tokens_per_second: float | None = 50.0
    fail_rate: float = 0.0
    rate_limit_rate: float = 0.0
    retry_after: float = 1.0
    errors: Any = Field(default=None, exclude=True)
    native_tools: bool = True

    _attempts: dict[str, int] = PrivateAttr(default_factory=dict)
    """Failed tries per prompt since it last succeeded."""

    def __init__(
        self,
        responses: Responses | None = None,
        *,
        seed: int = 0,
        latency: float | tuple[float, float] = 0.5,
        tokens_per_second: float | None = 50.0,
        fail_rate: float = 0.0,
        rate_limit_rate: float = 0.0,
        retry_after: float = 1.0,
        errors: Mapping[str, Failure | Sequence[Failure]] | None = None,
        native_tools: bool = True,
        stream: bool | None = None,
        model: str = "offline",
    ) -> None:
        """Set what is answered, how fast, and what fails.

        Args:
            responses: Scripted answers. A sequence holds the successive answers of every conversation, its last one
                repeated; a mapping gives the answer to prompts that contain its key; a callable gets the messages.
                Where a mapping or a callable has no answer (None), one is generated.
            seed: Another seed gives other answers, delays and failures.
            latency: Seconds to the first token, or a range that each prompt's is drawn from.
            tokens_per_second: Pace of the answer; None for all at once.
            fail_rate: Share of calls that end in HTTP 500, drawn per prompt and try.
            rate_limit_rate: Share of calls that end in HTTP 429, drawn per prompt and try.
            retry_after: Seconds in the 429's `Retry-After`.
            errors: Failures of prompts that contain the key; a sequence holds one per try, after which the call
                succeeds.
            native_tools: False makes agents describe their tools in the prompt (ReAct).
            stream: Whether to stream; the caller may override it per call, as with any CrewAI LLM.
            model: Name shown in events.

        Raises:
            OptionError: A number is out of its range.
        """
        low, high = latency if isinstance(latency, tuple) and len(latency) == 2 else (latency, latency)
        if not (isinstance(low, int | float) and isinstance(high, int | float) and 0 <= low <= high):
            raise OptionError(f"latency={latency!r}: give seconds, such as 0.5, or a range, such as (0.2, 1.0).")
        if tokens_per_second is not None and tokens_per_second <= 0:
            raise OptionError(
                f"tokens_per_second={tokens_per_second!r}: give a positive number, or None for all at once."
            )
        if fail_rate < 0 or rate_limit_rate < 0 or fail_rate + rate_limit_rate > 1:
            raise OptionError(
                f"fail_rate={fail_rate!r}, rate_limit_rate={rate_limit_rate!r}: give shares between 0 and 1 whose sum"
                " is at most 1."
            )
        if isinstance(responses, str):
            raise OptionError(f"responses={responses!r}: give a list, such as [{responses!r}], a dict or a callable.")
        if errors is not None and not isinstance(errors, Mapping):
            raise OptionError(
                f'errors={errors!r}: give words of a prompt and what fails there, such as {{"Mars": 429}}.'
            )
        for part, wanted in (errors or {}).items():
            for failure in wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted]:
                known = failure in (None, "timeout", "connection") or isinstance(failure, Exception)
                if not known and not (isinstance(failure, int) and 400 <= failure <= 599):
                    raise OptionError(
                        f"errors={{{part!r}: {failure!r}}}: give an HTTP status from 400 to 599, "
                        '"timeout", "connection", or an exception.'
                    )
        fields: dict[str, Any] = {
            "model": model,
            "provider": "offline",
            "seed": seed,
            "stream": stream,
            "responses": responses,
            "latency": latency,
            "tokens_per_second": tokens_per_second,
            "fail_rate": fail_rate,
            "rate_limit_rate": rate_limit_rate,
            "retry_after": retry_after,
            "errors": errors,
            "native_tools": native_tools,
        }
        super().__init__(**fields)

    def call(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """The answer to the messages: text, a list of tool calls, or an instance of `response_model`.

        Raises:
            openai.APIStatusError: A failure that was asked for, as the OpenAI SDK raises it.
            ConnectionError: A timeout or a broken connection that was asked for, as CrewAI raises it.
        """
        with llm_call_context():
            answer = self._answer(
                messages, tools, callbacks, available_functions, from_task, from_agent, response_model
            )
            try:
                while True:
                    _sleep(next(answer))
            except StopIteration as end:
                return end.value
            finally:
                answer.close()

    async def acall(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any:
        """The same as `call`, waiting on the running loop; cancelling it ends it at once."""
        with llm_call_context():
            answer = self._answer(
                messages, tools, callbacks, available_functions, from_task, from_agent, response_model
            )
            try:
                while True:  # noqa: ASYNC110  the generator says how long to wait
                    await asyncio.sleep(next(answer))
            except StopIteration as end:
                return end.value
            finally:
                answer.close()

    def supports_function_calling(self) -> bool:
        """Whether agents hand over their tools as function definitions."""
        return self.native_tools

    def get_context_window_size(self) -> int:
        """Large enough that nothing is summarized behind the user's back."""
        return 128_000

    def get_input_tokens_count(
        self, messages: Any, tools: list[dict[str, Any]] | None = None, response_model: type[BaseModel] | None = None
    ) -> int:
        """Words in the messages: the prompt's share of the usage."""
        return len(answers.read(self._format_messages(messages)).text.split())

    def _answer(
        self,
        messages: Any,
        tools: list[dict[str, Any]] | None,
        callbacks: list[Any] | None,
        available_functions: dict[str, Any] | None,
        from_task: Any,
        from_agent: Any,
        response_model: type[BaseModel] | None,
    ) -> Generator[float, None, Any]:
        """One call with its events; yields the seconds to wait, so that both kinds of waiting share it.

        A cancelled call ends without an event, as CrewAI's own providers do.
        """
        try:
            self._emit_call_started_event(
                messages=messages,
                tools=tools,
                callbacks=callbacks,
                available_functions=available_functions,
                from_task=from_task,
                from_agent=from_agent,
            )
            formatted: Any = self._format_messages(messages)
            self._invoke_before_llm_call_hooks(formatted, from_agent)
            prompt = answers.read(formatted)
            key = self._key(formatted)
            yield self._latency(key)
            self._fail_on_demand(key, prompt)
            reply = self._reply(key, prompt, formatted, tools, response_model)
            words = answers.tokens(reply if isinstance(reply, str) else json.dumps(reply["arguments"]))
            usage = _usage(prompt, len(words))
            if isinstance(reply, str):
                yield from self._send(words, from_task, from_agent, f"offline-{key}")
            elif self.tokens_per_second:
                yield len(words) / self.tokens_per_second
            self._attempts.pop(key, None)
            self._track_token_usage_internal(usage)
            done = {"from_task": from_task, "from_agent": from_agent, "messages": formatted, "usage": usage}
            if not isinstance(reply, str):
                return self._hand_over(reply, key, available_functions, done)
            parsed = self._validate_structured_output(reply, response_model)
            if response_model is None:
                parsed = reply = self._apply_stop_words(reply)
            self._emit_call_completed_event(
                reply, LLMCallType.LLM_CALL, finish_reason="stop", response_id=f"offline-{key}", **done
            )
            if isinstance(parsed, BaseModel):
                return parsed
            return self._invoke_after_llm_call_hooks(formatted, parsed, from_agent)
        except (HookAborted, LLMCallBlockedError) as denial:
            self._emit_call_denied_event(denial, from_task, from_agent)
            raise
        except Exception as error:
            self._emit_call_failed_event(f"offline LLM call failed: {error}", from_task, from_agent)
            raise

    def _send(
        self, words: list[str], from_task: Any, from_agent: Any, response_id: str
    ) -> Generator[float, None, None]:
        pace = self.tokens_per_second
        if not self._effective_stream():
            if pace:
                yield len(words) / pace
            return
        began = time.monotonic()
        sent = 0
        while sent < len(words):
            due = len(words) if pace is None else min(len(words), 1 + int((time.monotonic() - began) * pace))
            for word in words[sent:due]:
                self._emit_stream_chunk_event(word, from_task, from_agent, response_id=response_id)
            sent = due
            if sent < len(words) and pace is not None:
                yield max(_TICK, 1 / pace)

    def _hand_over(
        self, call: answers.ToolCall, key: str, available_functions: dict[str, Any] | None, done: dict[str, Any]
    ) -> Any:
        """The tool call for the executor, or its result where the caller brought the functions along."""
        if available_functions and call["name"] in available_functions:
            return self._handle_tool_execution(
                call["name"], call["arguments"], available_functions, done["from_task"], done["from_agent"]
            )
        tool_calls = [
            {
                "id": f"call_{key}",
                "type": "function",
                "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
                "index": 0,
            }
        ]
        if self._effective_stream():
            self._emit_stream_chunk_event(
                tool_calls[0]["function"]["arguments"],  # type: ignore[index]
                done["from_task"],
                done["from_agent"],
                tool_call=tool_calls[0],
                call_type=LLMCallType.TOOL_CALL,
                response_id=f"offline-{key}",
            )
        self._emit_call_completed_event(
            tool_calls, LLMCallType.TOOL_CALL, finish_reason="tool_calls", response_id=f"offline-{key}", **done
        )
        return tool_calls

    def _reply(
        self,
        key: str,
        prompt: answers.Prompt,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        response_model: type[BaseModel] | None,
    ) -> str | answers.ToolCall:
        rng = _rng(key, "words")
        scripted = self._scripted(prompt, messages)
        if isinstance(scripted, Exception):
            raise scripted
        offered = tools or prompt.text_tools
        if isinstance(scripted, Mapping):
            call = {"name": scripted["name"], "arguments": dict(scripted.get("arguments") or {})}
            return call if tools else answers.as_react(call)
        if scripted is None and offered and not prompt.tool_results:
            call = answers.choose_tool(offered, prompt, rng)
            return call if tools else answers.as_react(call)
        if isinstance(scripted, BaseModel):
            text = scripted.model_dump_json()
        elif scripted is not None:
            text = scripted
        elif schema := response_model.model_json_schema() if response_model else prompt.schema:
            text = json.dumps(answers.example(schema, rng, prompt.topic), ensure_ascii=False)
        else:
            text = answers.write(prompt, rng)
        react = prompt.text_tools and not tools and "Final Answer:" not in text and "\nAction:" not in text
        return f"Thought: I now know the final answer.\nFinal Answer: {text}" if react else text

    def _scripted(self, prompt: answers.Prompt, messages: list[dict[str, Any]]) -> Answer | None:
        script = self.responses
        if not script:
            return None
        if callable(script):
            made: Answer | None = script(messages)
            return made
        if isinstance(script, Mapping):
            return next((answer for part, answer in script.items() if part in prompt.text), None)
        chosen: Answer = script[min(prompt.turn, len(script) - 1)]
        return chosen

    def _fail_on_demand(self, key: str, prompt: answers.Prompt) -> None:
        tried = self._attempts.get(key, 0)
        failure: Failure | None = None
        for part, wanted in (self.errors or {}).items():
            if part in prompt.text:
                plan = wanted if isinstance(wanted, list | tuple) else [wanted] * (tried + 1)
                failure = plan[tried] if tried < len(plan) else None
                break
        else:
            drawn = _rng(key, f"try {tried}").random()
            if drawn < self.rate_limit_rate:
                failure = 429
            elif drawn < self.rate_limit_rate + self.fail_rate:
                failure = 500
        if failure is not None:
            self._attempts[key] = tried + 1
            raise _as_error(failure, self.retry_after)

    def _latency(self, key: str) -> float:
        if isinstance(self.latency, tuple):
            return _rng(key, "latency").uniform(*self.latency)
        return self.latency

    def _key(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Names seed and prompt; leaves out what differs between equal runs (ids of tool calls)."""
        parts = [(m.get("role"), m.get("content")) for m in messages]
        return blake2b(f"{self.seed}{parts}".encode(), digest_size=8).hexdigest()


def _rng(key: str, purpose: str) -> random.Random:
    return random.Random(f"{key} {purpose}")  # noqa: S311  reproducible on purpose


def _sleep(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE))


def _usage(prompt: answers.Prompt, completion_tokens: int) -> dict[str, int]:
    prompt_tokens = len(prompt.text.split())
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _as_error(failure: Failure, retry_after: float) -> Exception:
    """The exception that CrewAI's OpenAI provider would let through."""
    import httpx
    import openai

    if isinstance(failure, Exception):
        return failure
    request = httpx.Request("POST", "https://offline.invalid/v1/chat/completions")
    if failure in ("timeout", "connection"):
        error = ConnectionError(f"the offline LLM was asked to fail with a {failure} error")
        timed_out = failure == "timeout"
        error.__cause__ = openai.APITimeoutError(request) if timed_out else openai.APIConnectionError(request=request)
        return error
    status = int(failure)
    kinds: dict[int, type[openai.APIStatusError]] = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        403: openai.PermissionDeniedError,
        404: openai.NotFoundError,
        409: openai.ConflictError,
        422: openai.UnprocessableEntityError,
        429: openai.RateLimitError,
    }
    kind = kinds.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)
    limits = {"retry-after": f"{retry_after:g}", "x-ratelimit-reset-requests": f"{retry_after:g}s"}
    response = httpx.Response(status, headers=limits if status == 429 else {}, request=request)
    body = {"message": f"the offline LLM was asked to answer with status {status}", "code": str(status)}
    return kind(f"Error code: {status} - {body['message']}", response=response, body=body)
