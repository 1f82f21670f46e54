"""What is put in the place of CrewAI's functions, in runs of ours only; all else falls through to the original.

Each marks what it put there, so that it does so once; where CrewAI has moved the function, it does without.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Literal

from crew_nb._crewai.names import asked, usage
from crew_nb._state.call import Asked
from crew_nb._state.usage import Usage


def mute_scope_warnings() -> None:
    """Let CrewAI not print that an event of its own came in no scope.

    For the whole process: its memory emits such events from threads that know of no run.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from crewai.events import event_context as scopes

        scopes._default_config.mismatch_behavior = scopes.MismatchBehavior.SILENT
        scopes._default_config.empty_pop_behavior = scopes.MismatchBehavior.SILENT


def hear_prints(hear: Callable[[str], None]) -> None:
    """Tell `hear` what CrewAI does not print where it is silenced: some of its errors are said nowhere else."""
    try:
        from crewai_core.printer import Printer, should_suppress_console_output

        stock = Printer.print
    except (ImportError, AttributeError):
        return
    if getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def say(content: Any, *args: Any, **more: Any) -> None:
        if should_suppress_console_output():
            parts = [content] if isinstance(content, str) else [str(getattr(part, "text", part)) for part in content]
            hear("".join(parts).strip())
        stock(content, *args, **more)

    say._crew_nb = True  # type: ignore[attr-defined]
    Printer.print = staticmethod(say)  # type: ignore[method-assign]


def hear_failing_listeners(applies: Callable[[], bool], tell: Callable[[Any, Exception], None]) -> None:
    """Tell of each error that a handler of the user's on CrewAI's event bus raises, which the bus drops in silence."""
    try:
        event_bus: Any = importlib.import_module("crewai.events.event_bus")  # noqa: TID251 - CrewAI's
        stock, astock = event_bus.is_call_handler_safe, event_bus.CrewAIEventsBus._acall_handlers
    except (ImportError, AttributeError):
        return
    if hasattr(stock, "_crew_nb"):
        return

    @functools.wraps(stock)
    def is_call_handler_safe(handler: Any, *args: Any, **more: Any) -> Exception | None:
        error: Exception | None = stock(handler, *args, **more)
        if error is not None and applies():
            tell(handler, error)
        return error

    def told(handler: Any) -> Any:
        @functools.wraps(handler)
        async def call(*args: Any) -> Any:
            try:
                return await handler(*args)
            except Exception as error:
                tell(handler, error)
                raise

        return call

    @functools.wraps(astock)
    async def acall_handlers(self: Any, source: Any, event: Any, handlers: Any, *args: Any) -> None:
        await astock(self, source, event, frozenset(map(told, handlers)) if applies() else handlers, *args)

    is_call_handler_safe._crew_nb = True  # type: ignore[attr-defined]
    event_bus.is_call_handler_safe = is_call_handler_safe
    event_bus.CrewAIEventsBus._acall_handlers = acall_handlers


SyncGate = Callable[[Asked, Callable[[], Any]], Any]


AsyncGate = Callable[[Asked, Callable[[], Awaitable[Any]]], Awaitable[Any]]


def install_gate(applies: Callable[[], bool], sync_gate: SyncGate, async_gate: AsyncGate) -> str:
    """Send LLM calls for which `applies()` through our gates; all others go where they went.

    CrewAI wraps `call` and `acall` of every LLM class with its rate-limit retry, looked up in `llms.base_llm` at each
    call: the one place that sees them all. Returns the empty string, or what has moved.
    """
    from crewai.llms import base_llm

    stock_sync = getattr(base_llm, "run_with_rate_limit_retry", None)
    stock_async = getattr(base_llm, "arun_with_rate_limit_retry", None)
    if stock_sync is None or stock_async is None:
        return "llms.base_llm has no rate-limit retry to stand in for: limits and retries are CrewAI's own"
    if getattr(stock_sync, "_crew_nb", False):
        return ""

    @functools.wraps(stock_sync)
    def gated(operation: Callable[[], Any], **more: Any) -> Any:
        return sync_gate(asked(operation), operation) if applies() else stock_sync(operation, **more)

    @functools.wraps(stock_async)
    async def agated(operation: Callable[[], Awaitable[Any]], **more: Any) -> Any:
        return await (async_gate(asked(operation), operation) if applies() else stock_async(operation, **more))

    gated._crew_nb = agated._crew_nb = True  # type: ignore[attr-defined]
    base_llm.run_with_rate_limit_retry = gated  # type: ignore[attr-defined]
    base_llm.arun_with_rate_limit_retry = agated  # type: ignore[attr-defined]
    return ""


def install_sdk_retry_switch(applies: Callable[[], bool]) -> None:
    """Let our retries be the only ones: the OpenAI and Anthropic SDKs retry none of the calls for which `applies()`.

    Their clients may be shared with the user's own code, so nothing on them is changed.
    """
    for sdk in ("openai", "anthropic"):
        models = sys.modules.get(f"{sdk}._models")
        request = getattr(models, "FinalRequestOptions", None)
        stock = getattr(request, "get_max_retries", None)
        if request is None or stock is None or getattr(stock, "_crew_nb", False):
            continue

        @functools.wraps(stock)
        def get_max_retries(self: Any, max_retries: int, _stock: Callable[..., int] = stock) -> int:
            return 0 if applies() else _stock(self, max_retries)

        get_max_retries._crew_nb = True  # type: ignore[attr-defined]
        request.get_max_retries = get_max_retries


def let_litellm_break_off(applies: Callable[[], bool]) -> None:
    """Let LiteLLM's streams that ended before their answer had say so, as CrewAI's other classes do.

    LiteLLM puts "stop" at their end, whatever the provider said (1.88).
    """
    module = sys.modules.get("litellm.litellm_core_utils.streaming_handler")  # CrewAI loads it with the first such LLM
    wrapper = getattr(module, "CustomStreamWrapper", None)
    stock = getattr(wrapper, "finish_reason_handler", None)
    if wrapper is None or stock is None or getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def finish_reason_handler(self: Any) -> Any:
        chunk = stock(self)
        told = getattr(self, "received_finish_reason", "") or getattr(self, "intermittent_finish_reason", "")
        if told is None and applies():
            chunk.choices[0].finish_reason = None
        return chunk

    finish_reason_handler._crew_nb = True  # type: ignore[attr-defined]
    wrapper.finish_reason_handler = finish_reason_handler


def hear_tokens(cls: type, hear: Callable[[Any, Usage], None]) -> None:
    """Tell `hear` what LLMs of this class tell of a call's tokens to CrewAI's base class, or to an override of its own.

    A user's override that does not go on to CrewAI's is heard by the counters only.
    """
    for base in cls.__mro__:
        stock: Any = vars(base).get("_track_token_usage_internal")
        if stock is None or getattr(stock, "_crew_nb", False) or not base.__module__.startswith("crewai."):
            continue

        def track(self: Any, counts: Any, _stock: Callable[..., None] = stock) -> None:
            with _tracking:  # counts of an object that several threads ask
                before = Usage.from_dict(self._token_usage)
                _stock(self, counts)
                told = Usage.from_dict(self._token_usage) - before
            hear(self, told)

        track._crew_nb = True  # type: ignore[attr-defined]
        base._track_token_usage_internal = functools.wraps(stock)(track)  # type: ignore[attr-defined]


_tracking = threading.Lock()


def hear_token_callbacks(hear: Callable[[Usage], None]) -> None:
    """Tell `hear` what LLM classes tell of a call's tokens to the handler that CrewAI's agents pass along."""
    try:
        from crewai.utilities.token_counter_callback import TokenCalcHandler
        from pydantic import BaseModel

        stock = TokenCalcHandler.log_success_event
    except (ImportError, AttributeError):
        return
    if getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def log_success_event(self: Any, kwargs: Any, response_obj: Any, *args: Any, **more: Any) -> None:
        stock(self, kwargs, response_obj, *args, **more)
        counts = response_obj.get("usage") if isinstance(response_obj, dict) else None
        if isinstance(counts, BaseModel):
            counts = counts.model_dump()
        if isinstance(counts, dict):
            hear(usage(counts))

    log_success_event._crew_nb = True  # type: ignore[attr-defined]
    TokenCalcHandler.log_success_event = log_success_event  # type: ignore[method-assign]


def skip_idle_listeners(applies: Callable[[], bool]) -> None:
    """Hand an event to no thread where only CrewAI's own listeners would hear it and have nothing to do.

    Its trace listener is idle during a kickoff, and its console listener where output is silenced, save for telemetry,
    which is left as the user has it. Sinks hear every event, and so do the user's handlers.
    """
    try:
        from crewai.events.event_bus import crewai_event_bus as bus
        from crewai.execution import get_execution_uuid
        from crewai.telemetry.telemetry import Telemetry

        stock, prepare = bus.emit, bus._prepare_event
        telemetry_is_off = Telemetry._is_telemetry_disabled
        bus._sync_handlers, bus._async_handlers, bus._handler_dependencies  # noqa: B018
    except (ImportError, AttributeError):
        return
    if getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def emit(source: Any, event: Any) -> Any:
        if applies() and get_execution_uuid() is not None:
            who = _who_hears(bus, type(event))
            if who == "nobody" or (who == "telemetry" and telemetry_is_off()):
                prepare(source, event)
                return None
        return stock(source, event)

    emit._crew_nb = True  # type: ignore[attr-defined]
    bus.emit = emit  # type: ignore[method-assign]


def tell_pieces(applies: Callable[[], bool]) -> None:
    """Hand a streamed piece on as its text where only sinks of ours hear it: no event is made of each token.

    An event of CrewAI's is a pydantic model, and costs more than all else that is done with a token.
    """
    try:
        from crewai.events.event_bus import crewai_event_bus as bus
        from crewai.events.stream_context import _stream_sinks
        from crewai.events.types.llm_events import LLMStreamChunkEvent
        from crewai.llms.base_llm import BaseLLM, get_current_call_id

        stock: Any = BaseLLM._emit_stream_chunk_event
        bus._sync_handlers, bus._async_handlers  # noqa: B018
    except (ImportError, AttributeError):
        return
    if getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def emit_stream_chunk_event(
        self: Any,
        chunk: str,
        from_task: Any = None,
        from_agent: Any = None,
        tool_call: Any = None,
        *args: Any,
        **more: Any,
    ) -> None:
        heard = [getattr(sink, "hear_piece", None) for sink in _stream_sinks.get()] if applies() else []
        if not heard or None in heard or _who_hears(bus, LLMStreamChunkEvent) != "nobody":
            stock(self, chunk, from_task, from_agent, tool_call, *args, **more)
            return
        call, task = get_current_call_id(), str(getattr(from_task, "id", None))
        for hear in heard:
            hear(call, task, "" if tool_call else chunk)  # type: ignore[misc]

    emit_stream_chunk_event._crew_nb = True  # type: ignore[attr-defined]
    BaseLLM._emit_stream_chunk_event = emit_stream_chunk_event  # type: ignore[method-assign]


_Hears = Literal["nobody", "telemetry", "user"]
_known_to_hear: dict[type, tuple[Any, Any, _Hears]] = {}


def _who_hears(bus: Any, kind: type) -> _Hears:
    """Who is there to hear an event of that class; the bus never changes a set of handlers, it makes a new one."""
    sync, later = bus._sync_handlers.get(kind), bus._async_handlers.get(kind)
    found = _known_to_hear.get(kind)
    if found is None or found[0] is not sync or found[1] is not later:
        found = _known_to_hear[kind] = (sync, later, _most_of((*(sync or ()), *(later or ()))))
    return found[2]


def _most_of(handlers: Iterable[Callable[..., Any]]) -> _Hears:
    who: _Hears = "nobody"
    for handler in handlers:
        heard = _hears(handler)
        if heard == "user":
            return heard
        who = heard if heard == "telemetry" else who
    return who


def _hears(handler: Callable[..., Any]) -> _Hears:
    module = getattr(handler, "__module__", "")
    if module == "crewai.events.listeners.tracing.trace_listener":
        return "nobody"
    if module != "crewai.events.event_listener":
        return "user"
    cells = [cell.cell_contents for cell in getattr(handler, "__closure__", None) or ()]
    codes = [getattr(f, "__code__", None) for f in (handler, *cells)]
    return "telemetry" if any(code is not None and "_telemetry" in code.co_names for code in codes) else "nobody"


def keep_what_is_read(applies: Callable[[], bool]) -> None:
    """Drop events once they are heard, streamed pieces always and the rest where no handler of the user's is there.

    CrewAI keeps them all until the crew has ended, each piece 2.8 kB, for what is handed the state of a run with an
    event: checkpoints and other handlers.
    """
    try:
        from crewai.events.event_bus import crewai_event_bus as bus

        record = bus._record_event
        bus._sync_handlers, bus._async_handlers  # noqa: B018
    except (ImportError, AttributeError):
        return
    if getattr(record, "_crew_nb", False):
        return

    @functools.wraps(record)
    def record_event(event: Any) -> None:
        if not (applies() and (event.type in _CHUNKS or not _somebody_hears(bus))):
            record(event)

    record_event._crew_nb = True  # type: ignore[attr-defined]
    bus._record_event = record_event  # type: ignore[method-assign]


_CHUNKS = frozenset({"llm_stream_chunk", "llm_thinking_chunk"})
_all_handlers: list[Any] = []
_some_are_users = False


def _somebody_hears(bus: Any) -> bool:
    """Whether a handler of the user's is there, for whichever event."""
    global _all_handlers, _some_are_users
    now = [*bus._sync_handlers.values(), *bus._async_handlers.values()]
    if now != _all_handlers:
        _some_are_users = any(_hears(handler) == "user" for handlers in now for handler in handlers)
        _all_handlers = now
    return _some_are_users


def is_heard(kind: type) -> bool:
    """Whether somebody other than this package and CrewAI itself is told of events of that class here."""
    from crewai.events.event_bus import crewai_event_bus as bus
    from crewai.events.stream_context import _stream_sinks

    return _who_hears(bus, kind) == "user" or not all(hasattr(sink, "hear_piece") for sink in _stream_sinks.get())


def ask_for_models(applies: Callable[[], bool], in_call: Callable[[], bool], waiting: Callable[[Any], Any]) -> None:
    """Let what fills pydantic models for `output_json` pass the gate, in runs of ours.

    It is a client of its own, whose requests nobody counts or stops: the crew's LLM is asked in its place. CrewAI's
    LiteLLM class asks it within its own call: there it goes on, in a thread, and its tokens are told.
    """
    try:
        from crewai.llms.base_llm import BaseLLM
        from crewai.utilities.internal_instructor import InternalInstructor

        convert: Any = InternalInstructor.to_pydantic
    except (ImportError, AttributeError):
        return
    if getattr(convert, "_crew_nb", False):
        return

    @functools.wraps(convert)
    def to_pydantic(self: Any) -> Any:
        if not isinstance(self.llm, BaseLLM) or not applies():
            return convert(self)
        if in_call():
            answer = waiting(convert)(self)
            raw = getattr(getattr(answer, "_raw_response", None), "usage", None)
            if raw is not None:
                self.llm._track_token_usage_internal(raw.model_dump())
            return answer
        answer = self.llm.call([{"role": "user", "content": self.content}], response_model=self.model)
        return answer if isinstance(answer, self.model) else self.llm._validate_structured_output(answer, self.model)

    to_pydantic._crew_nb = True  # type: ignore[attr-defined]
    InternalInstructor.to_pydantic = to_pydantic  # type: ignore[method-assign]


def keep_output(applies: Callable[[], bool]) -> None:
    """Let a search of knowledge leave `sys.stdout` alone in runs of ours.

    CrewAI puts another one in its place meanwhile, for the whole process: two searches at once give it back in the
    wrong order, and nothing that the user prints afterwards is seen (1.15.30).
    """
    try:
        from crewai.rag.chromadb import client
    except ImportError:
        return
    stock = getattr(client, "suppress_logging", None)
    if stock is None or getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def suppress_logging(*args: Any, **more: Any) -> Any:
        return contextlib.suppress(UserWarning) if applies() else stock(*args, **more)

    suppress_logging._crew_nb = True  # type: ignore[attr-defined]
    client.suppress_logging = suppress_logging  # type: ignore[attr-defined]


def wait_for_files(wait: Callable[[Coroutine[Any, Any, Any]], Any], can_wait: Callable[[], bool]) -> None:
    """Look for a crew's input files on the running loop, not on a new loop in a new thread each time (4 a crew)."""
    try:
        from crewai.utilities import file_store
    except ImportError:
        return
    stock = getattr(file_store, "_run_sync", None)
    if stock is None or getattr(stock, "_crew_nb", False):
        return

    @functools.wraps(stock)
    def run_sync(operation: Coroutine[Any, Any, Any]) -> Any:
        return wait(operation) if can_wait() else stock(operation)

    run_sync._crew_nb = True  # type: ignore[attr-defined]
    file_store._run_sync = run_sync  # type: ignore[assignment]


def wait_in_threads(
    applies: Callable[[], bool],
    waiting: Callable[[Any], Any],
    driven: Callable[[Any], Any],
    can_wait: Callable[[], bool],
) -> None:
    """Let what CrewAI does on the loop it is called on, and asks an LLM in, wait in a thread, in runs of ours.

    An LLM's guardrail, and a flow kicked off in a step, get a loop of their own in a thread, for which the shared loop
    would be held: their calls pass the gate on that loop, and nothing would ever go on.
    """
    try:
        from crewai import Agent, Crew, Task
        from crewai.flow.runtime import Flow
        from crewai.tasks.llm_guardrail import LLMGuardrail
    except ImportError:
        return
    plain: tuple[tuple[Any, str], ...] = (
        (LLMGuardrail, "_validate_output"),
        (Flow, "kickoff"),
        (Agent, "_prepare_kickoff"),
        (Agent, "_finalize_kickoff"),
    )
    for owner, name in plain:
        put_around(owner, name, waiting, "waits")

    def drive(stock: Any) -> Any:
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await (driven(stock) if applies() and not can_wait() else stock)(*args, **kwargs)

        return call

    around: tuple[tuple[Any, str], ...] = (
        (Agent, "kickoff_async"),
        (Crew, "akickoff"),
        (Task, "aexecute_sync"),
        (Flow, "_execute_method"),
    )
    for owner, name in around:
        put_around(owner, name, drive, "waits")


def put_around(owner: Any, name: str, wrap: Callable[[Any], Any], mark: str) -> None:
    """Put what `wrap` makes of a class's own function, or of a property's, in the place of it: once, by the mark."""
    stock = vars(owner).get(name)
    function = around = getattr(stock, "fget", stock)
    while around is not None and vars(around).get("_crew_nb") != mark:
        around = getattr(around, "__wrapped__", None)
    if function is None or around is not None:
        return
    wrapper: Any = functools.wraps(function)(wrap(function))
    wrapper._crew_nb = mark
    setattr(owner, name, property(wrapper) if isinstance(stock, property) else wrapper)


def remember_set_up(applies: Callable[[], bool]) -> None:
    """Make CrewAI's table of task outputs once, not for each crew, and read the consent to traces once a second.

    And look CrewAI's version up once: its telemetry reads the package's metadata from the disk for every span, half a
    millisecond each, which made 256 crews take 5 to 9 s, and 2.7 s without.
    """
    with contextlib.suppress(ImportError, AttributeError):
        telemetry: Any = importlib.import_module("crewai.telemetry.telemetry")  # noqa: TID251 - CrewAI's
        if not hasattr(telemetry.version, "cache_info"):
            telemetry.version = functools.cache(telemetry.version)
    with contextlib.suppress(ImportError, AttributeError):
        from crewai.memory.storage.kickoff_task_outputs_storage import KickoffTaskOutputsSQLiteStorage as Storage

        make = Storage._initialize_db
        made: set[str] = set()

        @functools.wraps(make)
        def initialize_db(self: Storage) -> None:
            if not (applies() and self.db_path in made and os.path.exists(self.db_path)):  # noqa: PTH110 - on a hot path
                make(self)
                made.add(self.db_path)

        if not getattr(make, "_crew_nb", False):
            initialize_db._crew_nb = True  # type: ignore[attr-defined]
            Storage._initialize_db = initialize_db  # type: ignore[method-assign]
    with contextlib.suppress(ImportError, AttributeError):
        from crewai.events.listeners.tracing import utils
        from crewai_core import user_data

        read = user_data._load_user_data
        last: tuple[float, dict[str, Any]] = (-1.0, {})

        @functools.wraps(read)
        def load_user_data() -> dict[str, Any]:
            nonlocal last
            if not applies():
                return read()
            if time.monotonic() - last[0] > 1.0:
                last = (time.monotonic(), read())
            return dict(last[1])

        if not getattr(read, "_crew_nb", False):
            load_user_data._crew_nb = True  # type: ignore[attr-defined]
            user_data._load_user_data = load_user_data
            if getattr(utils, "_load_user_data", None) is read:
                utils._load_user_data = load_user_data
