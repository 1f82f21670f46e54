"""Every private or undocumented CrewAI name that crew_nb touches, each with a feature check.

What reaches into CrewAI's modules stands here. Where a name has moved, the function says so and does without. These
modules touch private parts of objects that are theirs to change, and `NAMES` lists these too: `_direct` (a subclass of
CrewAI's executor, used only where `executor_moved` finds nothing), `_offline` (a subclass of its LLM), and `_fast`,
`_offload`, `_blueprint` and `_human` (isolated crews). `_check` and `_fingerprint` read the texts that an earlier
kickoff filled in. A test fails for a name that is used and not listed.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import inspect
import os
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._state.call import Asked
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from types import ModuleType

    from crewai import Crew as Crew
    from crewai import CrewOutput as CrewOutput
    from crewai.types.usage_metrics import UsageMetrics as UsageMetrics

NAMES = {
    "crewai.context:": "_current_task_id",
    "crewai.execution:": "_current_execution_uuid",
    "crewai.llms.retry:": "_active_llm_rate_limit_retry",
    "crewai.llms.base_llm:": (
        "call_stream_override llm_call_context run_with_rate_limit_retry arun_with_rate_limit_retry"
    ),
    "crewai.llms.base_llm:BaseLLM": (
        "_apply_stop_words _effective_stream _emit_call_completed_event _emit_call_denied_event "
        "_emit_call_failed_event _emit_call_started_event _emit_stream_chunk_event _format_messages "
        "_handle_tool_execution _invoke_after_llm_call_hooks _invoke_before_llm_call_hooks "
        "_token_usage _track_token_usage_internal _validate_structured_output"
    ),
    "crewai.utilities.token_counter_callback:TokenCalcHandler": "log_success_event",
    "crewai.events.stream_context:": "_stream_sinks",
    "crewai.events.event_context:": "_event_id_stack _default_config",
    "crewai.events.event_bus:crewai_event_bus": (
        "_prepare_event _record_event _sync_handlers _async_handlers _handler_dependencies"
    ),
    "crewai.events.event_listener:EventListener": "_telemetry",
    "crewai.events.listeners.tracing.utils:": "_load_user_data set_suppress_tracing_messages",
    "crewai.hooks.dispatch:": "_scoped_hooks_var HookAborted InterceptionPoint get_scoped_hooks",
    "crewai.telemetry.telemetry:": "version",
    "crewai.telemetry.telemetry:Telemetry": "_is_telemetry_disabled",
    "crewai.llms.providers.openai.completion:OpenAICompletion": "_on_compatible_server",
    "crewai.utilities.internal_instructor:InternalInstructor": "to_pydantic",
    "crewai.utilities.file_store:": "_run_sync",
    "crewai.rag.chromadb.client:": "suppress_logging",
    "crewai.memory.storage.kickoff_task_outputs_storage:KickoffTaskOutputsSQLiteStorage": "_initialize_db",
    "crewai_core.printer:": "set_suppress_console_output",
    "crewai_core.user_data:": "_load_user_data",
    "crewai.core.providers.human_input:": "set_provider reset_provider",
    "crewai.types.usage_metrics:UsageMetrics": "from_provider_dict",
    "crewai.crew:Crew": (
        "_cache_handler _create_manager_agent _drain_memory_writes _handle_crew_planning _interpolate_inputs _memory "
        "_rpm_controller _task_output_handler _train calculate_usage_metrics"
    ),
    "crewai.task:Task": (
        "_guardrail _guardrails _save_file _original_description _original_expected_output _original_output_file"
    ),
    "crewai.tasks.llm_guardrail:LLMGuardrail": "_validate_output",
    "crewai.agents.agent_builder.base_agent:BaseAgent": (
        "_constructor_cache_opt_in _logger _original_role _original_goal _original_backstory _rpm_controller"
    ),
    "crewai.project.crew_base:CrewBaseMeta": "_mcp_server_adapter",
    "crewai.agent.core:Agent": "_get_knowledge_search_query _retrieve_memory_context",
    "crewai.agents.agent_executor:AgentExecutor": (
        "_ainvoke_loop _append_message_to_state _copy_and_serialize_state _definition _downgrade_to_text_tool_calling "
        "_flow_post_init _format_feedback_message _invoke_loop _invoke_step_callback _is_executing _is_tool_call_list "
        "_last_context_error _last_parser_error _methods _openai_tools _save_to_memory _state"
    ),
    "crewai.flow.runtime:Flow": (
        "_aggregated_usage_metrics _request_human_feedback _resolve_input_provider _usage_aggregation_handler"
    ),
    "crewai.utilities.agent_utils:": (
        "_proactively_summarize_context _setup_before_llm_call_hooks _validate_and_finalize_llm_response"
    ),
}
"""The private names, and the public ones of modules that no documentation names, by module and class."""


def missing() -> list[str]:
    """Those of `NAMES` that this CrewAI does not have; loads it."""
    gone = []
    for place, names in NAMES.items():
        module, _, inside = place.partition(":")
        try:
            owner = importlib.import_module(module)  # noqa: TID251 - a name of CrewAI's
            owner = getattr(owner, inside) if inside else owner
        except (ImportError, AttributeError):
            gone.append(f"{module}.{inside}" if inside else module)
            continue
        gone += [f"{module}.{inside}{'.' * bool(inside)}{name}" for name in names.split() if not _has(owner, name)]
    return gone


def _has(owner: Any, name: str) -> bool:
    """Whether a module, class or object has it, or methods of a class know it of their instances."""
    if hasattr(owner, name) or not inspect.isclass(owner):
        return hasattr(owner, name)
    fields = (getattr(base, "__private_attributes__", {}) for base in owner.__mro__)
    methods = (f for f in (getattr(f, "__func__", f) for f in vars(owner).values()) if inspect.isfunction(f))
    return any(name in f for f in fields) or any(name in f.__code__.co_names for f in methods)


def loaded() -> bool:
    """Whether CrewAI is imported (it takes seconds)."""
    return "crewai.crew" in sys.modules


@functools.cache
def version() -> str:
    """CrewAI's version, without importing it; empty where it is not installed."""
    try:
        return metadata.version("crewai")
    except metadata.PackageNotFoundError:
        return ""


_load = threading.Lock()  # CrewAI's import is not safe to enter from two threads: it starts threads of its own


def load() -> ModuleType:
    """CrewAI, imported on first use; seconds the first time."""
    with _load:
        import crewai

        return crewai


# --- the run's own context ---------------------------------------------------------------------------------------


def silence() -> None:
    """Keep CrewAI's panels and prompts out of this context's output."""
    with contextlib.suppress(ImportError):
        from crewai_core.printer import set_suppress_console_output

        set_suppress_console_output(True)
    with contextlib.suppress(ImportError):
        from crewai.events.listeners.tracing.utils import set_suppress_tracing_messages

        set_suppress_tracing_messages(True)


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


def listen(sink: Callable[[Any, Any], None]) -> None:
    """Send every event that CrewAI emits in this context to `sink`, in order, from whichever thread emits it.

    Sinks of an enclosing run of ours are dropped: its board shows its own events only.
    """
    try:
        from crewai.events.stream_context import _stream_sinks
    except ImportError:
        return  # the runs go on unseen; the batch says that the name is missing
    _stream_sinks.set((*(s for s in _stream_sinks.get() if type(s) is not type(sink)), sink))


def forget_enclosing_run() -> None:
    """Start this context as CrewAI would a fresh kickoff, also where a tool of a running crew launches it."""
    with contextlib.suppress(ImportError, AttributeError):
        from crewai import execution

        execution._current_execution_uuid.set(None)
    with contextlib.suppress(ImportError, AttributeError):
        from crewai.llms import retry

        retry._active_llm_rate_limit_retry.set(False)
    with contextlib.suppress(ImportError, AttributeError):
        from crewai import context

        context._current_task_id.set(None)


def current_task_id() -> str | None:
    """Id of the crew's task that this code runs for."""
    context = sys.modules.get("crewai.context")
    read = getattr(context, "get_current_task_id", None)
    if read is not None:
        return read()  # type: ignore[no-any-return]
    variable = getattr(context, "_current_task_id", None)
    return variable.get() if variable is not None else None


def agents_of(crew: Crew) -> list[Any]:
    """Every agent that the crew may run, once each."""
    found = (*crew.agents, *(t.agent for t in crew.tasks), crew.manager_agent)
    return list({id(a): a for a in found if a is not None}.values())


def llms(crew: Crew) -> list[Any]:
    """Every LLM object of the crew, once each."""
    from crewai.llms.base_llm import BaseLLM

    found = [getattr(a, name, None) for a in agents_of(crew) for name in ("llm", "function_calling_llm")]
    found += [crew.manager_llm, crew.planning_llm, crew.function_calling_llm]
    return list({id(llm): llm for llm in found if isinstance(llm, BaseLLM)}.values())


@contextlib.contextmanager
def streaming(llm: Any, stream: bool | None) -> Iterator[bool]:
    """Ask this LLM in pieces, or not, in this context, whatever its object says; tells what it comes to.

    Args:
        llm: An LLM object, which stays as it is.
        stream: None for as the object says.
    """
    try:
        from crewai.llms.base_llm import call_stream_override
    except ImportError:
        stream = None
    with contextlib.nullcontext() if stream is None or llm is None else call_stream_override(llm, stream):
        effective = getattr(llm, "_effective_stream", None)
        yield bool(effective() if effective is not None else getattr(llm, "stream", False))


def loses_in_streams(asked: Asked) -> bool:
    """Whether CrewAI loses a part of the answer if it comes in pieces (1.15.30).

    A model is filled from a whole answer: an async call of `OpenAICompletion` that streams does not tell its schema,
    and LiteLLM asks twice. Of the Responses API, and of Bedrock, calls of tools are dropped that the caller is to make,
    and Bedrock's tokens, which come after the answer's end.
    """
    llm = asked.llm
    if asked.response_model is not None or isinstance(getattr(llm, "response_format", None), type):
        return True
    if _is_of(llm, "crewai.llms.providers.bedrock"):
        return True
    return bool(asked.tools) and not asked.functions and getattr(llm, "api", "") == "responses"


def _is_of(llm: Any, module: str) -> bool:
    return any(cls.__module__.startswith(module) for cls in type(llm).__mro__)


def tells_finish(llm: Any) -> bool:
    """Whether its class tells, with an answer, how the answer ended: CrewAI's own do, others may not know."""
    return any(cls.__module__.startswith(_OWN_LLMS) and "acall" in vars(cls) for cls in type(llm).__mro__)


_OWN_LLMS = ("crewai.llms.providers.", "crewai.llm")


def forbid_tools_when(stopped: Callable[[], str]) -> None:
    """Refuse every tool call of this context once `stopped()` gives a reason; keeps the hooks already in scope."""
    try:
        from crewai.hooks.dispatch import InterceptionPoint, _scoped_hooks_var
    except ImportError:
        return

    def refuse(context: Any) -> None:
        if reason := stopped():
            raise abort(reason)

    scope = {point: list(hooks) for point, hooks in (_scoped_hooks_var.get() or {}).items()}
    scope.setdefault(InterceptionPoint.PRE_TOOL_CALL, []).append(refuse)
    _scoped_hooks_var.set(scope)


# --- stopping ----------------------------------------------------------------------------------------------------


@functools.cache
def _abort_class() -> type[Exception]:
    from crewai.hooks.dispatch import HookAborted

    class RunStopped(HookAborted):
        """CrewAI lets this through everywhere: it is neither retried nor fed back to the LLM."""

    return RunStopped


def abort(reason: str) -> Exception:
    """An exception that ends a crew at once; its `__cause__` is the error to report, where there is one."""
    return _abort_class()(reason, "crew_nb")


def is_abort(error: BaseException) -> bool:
    """Whether the exception is one of `abort`."""
    return loaded() and isinstance(error, _abort_class())


def is_hook_abort(error: BaseException) -> bool:
    """Whether a hook, of the user's or ours, stopped the call on purpose."""
    from crewai.hooks.dispatch import HookAborted

    return isinstance(error, HookAborted)


def recovers_from(error: Exception) -> bool:
    """Whether CrewAI itself has a way on after this error of an LLM call (a shorter context, tools as text)."""
    from crewai.utilities import agent_utils

    for name in ("is_context_length_exceeded", "is_native_tool_calling_unsupported_error"):
        check = getattr(agent_utils, name, None)
        with contextlib.suppress(Exception):
            if check is not None and check(error):
                return True
    return False


# --- the gate every LLM call passes ------------------------------------------------------------------------------

SyncGate = Callable[[Asked, Callable[[], Any]], Any]
AsyncGate = Callable[[Asked, Callable[[], Awaitable[Any]]], Awaitable[Any]]

_PARAMETERS = ("messages", "tools", "callbacks", "available_functions", "from_task", "from_agent", "response_model")


def asked(operation: Callable[..., Any]) -> Asked:
    """What an LLM call asks: CrewAI's wrapper of `call` and `acall` closes over the LLM and its arguments."""
    try:
        cells = dict(zip(operation.__code__.co_freevars, operation.__closure__ or (), strict=True))
        llm, args, more = (cells[name].cell_contents for name in ("instance", "args", "kwargs"))
    except (AttributeError, KeyError, ValueError):
        return Asked()
    given = {**dict(zip(_PARAMETERS, args, strict=False)), **more}
    return Asked(
        llm=llm,
        messages=given.get("messages", ()),
        tools=given.get("tools"),
        functions=given.get("available_functions"),
        response_model=given.get("response_model"),
        agent=str(getattr(given.get("from_agent"), "role", "") or "").strip(),
        task_id=str(getattr(given.get("from_task"), "id", "") or ""),
    )


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


# --- what CrewAI knows -------------------------------------------------------------------------------------------


def usage(counts: dict[str, Any] | None) -> Usage:
    """A provider's token counts, whichever names it gives them."""
    from crewai.types.usage_metrics import UsageMetrics

    metrics = UsageMetrics.from_provider_dict(counts) if counts else None
    return Usage(successful_requests=1) if metrics is None else Usage.from_dict(metrics.model_dump())


def counters(llm: Any) -> Usage:
    """What an LLM object says to have counted in all its life."""
    with contextlib.suppress(Exception):  # the class may be the user's
        return Usage.from_dict(llm.get_token_usage_summary().model_dump())
    return Usage()


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


def count_by(crew: Any, spent: Callable[[], Usage]) -> None:
    """Let an isolated crew, and its callbacks, see these tokens as its own.

    CrewAI takes those of its LLM objects, which other runs may share.
    """

    def calculate_usage_metrics() -> Any:
        crew.usage_metrics = usage_metrics(spent())
        return crew.usage_metrics

    if hasattr(crew, "calculate_usage_metrics"):
        object.__setattr__(crew, "calculate_usage_metrics", calculate_usage_metrics)


def usage_metrics(counts: Usage) -> Any:
    """Our counts as CrewAI's `UsageMetrics`."""
    from crewai.types.usage_metrics import UsageMetrics

    return UsageMetrics(**counts.to_dict())


@contextlib.contextmanager
def human_provider(provider: Any) -> Iterator[None]:
    """Ask people through `provider` in this context."""
    from crewai.core.providers.human_input import reset_provider, set_provider

    token = set_provider(provider)
    try:
        yield
    finally:
        reset_provider(token)


# --- the executor that the direct path stands in for --------------------------------------------------------------

SAYS_NOTHING = ("Failed to parse LLM response", "[Finalize] todos_count=")
"""How lines begin that CrewAI logs of every agent: a plain answer is no step in its form, and no failure either."""

_STEPS = {
    "crewai.agents.agent_executor:AgentExecutor": (
        "_setup_executor=c55798f7 _setup_messages=deedb88a _handle_human_feedback=80b567ad "
        "_ahandle_human_feedback=10779ae0 _complete_feedback=2cad228b _prepare_feedback_iteration=e6d94831 "
        "_ainvoke_loop=3539a959 initialize_reasoning=58116e2a check_max_iterations=3795de01 "
        "call_llm_and_parse=52591051 call_llm_native_tools=9420f3ac route_by_answer_type=45abe8de "
        "execute_tool_action=73bd5154 execute_native_tool=de7a9963 check_todo_completion=01e8d6ae "
        "check_native_todo_completion=6f437cdf increment_and_continue=d061e346 ensure_force_final_answer=bcdf7f20 "
        "recover_from_parser_error=8c77347b recover_from_context_length=9dcf7791 finalize=7eaaf08e invoke=e9b7efec "
        "invoke_async=96ee9371"
    ),
    "crewai.agents.agent_builder.base_agent_executor:BaseAgentExecutor": "_save_to_memory=5ca1824a",
    "crewai.flow.runtime:Flow": (
        "kickoff=7b4d8f72 kickoff_async=56ce3949 _flow_post_init=d2343a25 _open_flow_scope=e3e0301e "
        "_emit_flow_failed=9a9a63ba"
    ),
    "crewai.utilities.agent_utils:": (
        "_prepare_llm_call=27d55d1a _validate_and_finalize_llm_response=cc06fbeb "
        "_proactively_summarize_context=0838695c get_llm_response=0cf3b6aa _setup_before_llm_call_hooks=37319490 "
        "_setup_after_llm_call_hooks=841c6819 handle_max_iterations_exceeded=600bb70e handle_context_length=046d5ae6 "
        "process_llm_response=49740bc2"
    ),
    "crewai.agent.core:Agent": (
        "create_agent_executor=4a528eaa _update_executor_parameters=f759ff94 _execute_without_timeout=b154a7ba "
        "_aexecute_without_timeout=6516bb5a"
    ),
    "crewai.crew:Crew": "akickoff=4f338f2d _create_manager_agent=638913a7 _store_execution_log=73dbb17e",
}
"""What `_direct` stands in for, by module and class, and digests of the sources that it was checked against.

Where `executor_moved` names some for a new CrewAI: run `tests/conformance` on the direct path, and put the digest
beside the one that is here (`name=old/new`) if it passes.
"""


def executor_moved() -> list[str]:
    """The functions under the direct path whose source is none that was checked, each with the digest it has now."""
    moved = []
    for place, steps in _STEPS.items():
        module, _, cls = place.partition(":")
        owner: Any = None
        with contextlib.suppress(ImportError, AttributeError):
            found = importlib.import_module(module)  # noqa: TID251 - a name of CrewAI's
            owner = getattr(found, cls) if cls else found
        if owner is None:
            moved.append(f"{module.removeprefix('crewai.')}{'.' * bool(cls)}{cls} (not there)")
            continue
        for name, _, known in (step.partition("=") for step in steps.split()):
            digest = _digest(vars(owner).get(name))
            if digest not in known.split("/"):
                moved.append(f"{cls or module.rpartition('.')[2]}.{name} ({digest})")
    return moved


def _digest(step: Any) -> str:
    """Of a function's lines without its docstring and comments: they change nothing."""
    try:
        source = textwrap.dedent(inspect.getsource(getattr(step, "unwrap", lambda: step)()))
    except (OSError, TypeError):
        return "not there" if step is None else "no source"
    words = ast.parse(source).body[0].body[0]  # type: ignore[attr-defined]
    said = range(0)
    if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant) and isinstance(words.value.value, str):
        said = range(words.lineno, (words.end_lineno or words.lineno) + 1)
    lines = (line.rstrip() for number, line in enumerate(source.splitlines(), 1) if number not in said)
    code = "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:8]


def counts_by_arithmetic(llm: Any) -> bool:
    """Whether this LLM counts the tokens of a prompt by itself, and asks no server."""
    count = type(llm).get_input_tokens_count
    if count.__module__ in ("crewai.llms.base_llm", "crew_nb._crewai.offline"):
        return True
    elsewhere = getattr(llm, "_on_compatible_server", None)
    return count.__module__ == "crewai.llms.providers.openai.completion" and elsewhere is not None and elsewhere()


# --- what a run of ours need not do again ------------------------------------------------------------------------
# Each of these stands in for a function of CrewAI's, in runs of ours only; all else falls through to the original.


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
        known: dict[type, tuple[Any, Any, _Hears]] = {}
        bus._sync_handlers, bus._async_handlers, bus._handler_dependencies  # noqa: B018
    except (ImportError, AttributeError):
        return
    if getattr(stock, "_crew_nb", False):
        return

    def hears(kind: type) -> _Hears:
        sync, later = bus._sync_handlers.get(kind), bus._async_handlers.get(kind)
        found = known.get(kind)
        if found is None or found[0] is not sync or found[1] is not later:  # the bus never changes a set, it makes anew
            found = known[kind] = (sync, later, _who_hears((*(sync or ()), *(later or ()))))
        return found[2]

    @functools.wraps(stock)
    def emit(source: Any, event: Any) -> Any:
        if applies() and get_execution_uuid() is not None:
            who = hears(type(event))
            if who == "nobody" or (who == "telemetry" and telemetry_is_off()):
                prepare(source, event)
                return None
        return stock(source, event)

    emit._crew_nb = True  # type: ignore[attr-defined]
    bus.emit = emit  # type: ignore[method-assign]


_Hears = Literal["nobody", "telemetry", "user"]


def _who_hears(handlers: Iterable[Callable[..., Any]]) -> _Hears:
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


def keep_no_chunks(applies: Callable[[], bool]) -> None:
    """Drop streamed pieces once they are heard: CrewAI keeps each, 2.8 kB, until the crew has ended."""
    try:
        from crewai.events.event_bus import crewai_event_bus as bus

        record = bus._record_event
    except (ImportError, AttributeError):
        return
    if getattr(record, "_crew_nb", False):
        return

    @functools.wraps(record)
    def record_event(event: Any) -> None:
        if not (event.type in _CHUNKS and applies()):
            record(event)

    record_event._crew_nb = True  # type: ignore[attr-defined]
    bus._record_event = record_event  # type: ignore[method-assign]


_CHUNKS = frozenset({"llm_stream_chunk", "llm_thinking_chunk"})


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
