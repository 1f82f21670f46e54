"""Every private or undocumented CrewAI name that crew_nb touches, each with a feature check.

What reads CrewAI's modules stands here, what is put into them in `patches`. Where a name has moved, the function says
so and does without. These modules touch private parts of objects that are theirs to change, and `NAMES` lists these
too: `direct` (a subclass of CrewAI's executor, used only where `sources` finds nothing moved), `offline` (a subclass
of its LLM), and `fast`, `offload` and `blueprint` (isolated crews). `check` reads the texts that an earlier kickoff
filled in, and so does the record's `fingerprint`. A test fails for a name that is used and not listed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import sys
import threading
from importlib import metadata
from typing import TYPE_CHECKING, Any

from crew_nb._state.call import Asked
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from crewai import Crew as Crew
    from crewai import CrewOutput as CrewOutput
    from crewai.types.usage_metrics import UsageMetrics as UsageMetrics

NAMES = {
    "crewai.context:": "_current_task_id",
    "crewai.execution:": "_current_execution_uuid",
    "crewai.llms.retry:": "_active_llm_rate_limit_retry",
    "crewai.llms.base_llm:": (
        "call_stream_override get_current_call_id llm_call_context run_with_rate_limit_retry arun_with_rate_limit_retry"
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
        "_acall_handlers _prepare_event _record_event _sync_handlers _async_handlers _handler_dependencies"
    ),
    "crewai.events.event_bus:": "is_call_handler_safe",
    "crewai.events.event_listener:EventListener": "_telemetry",
    "crewai.events.listeners.tracing.utils:": "_load_user_data set_suppress_tracing_messages",
    "crewai.hooks.dispatch:": "_scoped_hooks_var HookAborted InterceptionPoint get_scoped_hooks",
    "crewai.telemetry.telemetry:": "version",
    "crewai.telemetry.telemetry:Telemetry": "_is_telemetry_disabled",
    "crewai.llms.providers.openai.completion:OpenAICompletion": (
        "_async_client _build_async_client _build_sync_client _get_async_client _get_client_params "
        "_on_compatible_server"
    ),
    "crewai.utilities.internal_instructor:InternalInstructor": "to_pydantic",
    "crewai.utilities.file_store:": "_run_sync",
    "crewai.llm_overlay:": "active llm_overlay overlay_model_for_model",
    "crewai.utilities.llm_utils:": "overlay_llm_for",
    "crewai.rag.chromadb.client:": "suppress_logging",
    "crewai.memory.storage.kickoff_task_outputs_storage:KickoffTaskOutputsSQLiteStorage": "_initialize_db",
    "crewai_core.printer:": "set_suppress_console_output",
    "crewai_core.user_data:": "_load_user_data",
    "crewai.core.providers.human_input:": "set_provider reset_provider",
    "crewai.types.usage_metrics:UsageMetrics": "from_provider_dict",
    "crewai.tools.base_tool:BaseTool": "_claim_usage _validate_kwargs",
    "crewai.tools.structured_tool:CrewStructuredTool": "_increment_usage_count _original_tool _parse_args",
    "crewai.memory.unified_memory:Memory": "_embedder",
    "crewai.crew:Crew": (
        "_cache_handler _create_manager_agent _drain_memory_writes _handle_crew_planning _interpolate_inputs _memory "
        "_rpm_controller _task_output_handler _train calculate_usage_metrics"
    ),
    "crewai.task:Task": (
        "_execute_task_async _guardrail _guardrails _save_file _original_description _original_expected_output "
        "_original_output_file"
    ),
    "crewai.tasks.llm_guardrail:LLMGuardrail": "_validate_output",
    "crewai.agents.agent_builder.base_agent:BaseAgent": (
        "_constructor_cache_opt_in _logger _original_role _original_goal _original_backstory _rpm_controller"
    ),
    "crewai.project.crew_base:CrewBaseMeta": "_mcp_server_adapter",
    "crewai.agent.core:Agent": (
        "_finalize_kickoff _get_knowledge_search_query _prepare_kickoff _retrieve_memory_context"
    ),
    "crewai.agents.agent_executor:AgentExecutor": (
        "_ainvoke_loop _append_message_to_state _copy_and_serialize_state _definition _downgrade_to_text_tool_calling "
        "_flow_post_init _format_feedback_message _invoke_loop _invoke_step_callback _is_executing _is_tool_call_list "
        "_last_context_error _last_parser_error _methods _openai_tools _save_to_memory _state"
    ),
    "crewai.flow.runtime:Flow": (
        "_aggregated_usage_metrics _completed_methods _execute_method _method_execution_counts _method_outputs "
        "_persist_method_completion _request_human_feedback _resolve_input_provider _usage_aggregation_handler"
    ),
    "crewai.utilities.rpm_controller:RPMController": "_current_rpm _reset_request_count _timer",
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
    and Bedrock's tokens, which come after the answer's end. Nor does it hear where the Responses API has ended one at
    its limit of tokens, which looks like a stream that broke off.
    """
    llm = asked.llm
    if asked.response_model is not None or isinstance(getattr(llm, "response_format", None), type):
        return True
    if _is_of(llm, "crewai.llms.providers.bedrock"):
        return True
    if getattr(llm, "api", "") != "responses":
        return False
    is_limited = any(getattr(llm, name, None) for name in ("max_tokens", "max_completion_tokens"))
    return is_limited or (bool(asked.tools) and not asked.functions)


def is_apology(llm: Any, answer: Any) -> bool:
    """Whether CrewAI's class for Bedrock says it in the place of an answer: one that it could not read, or was empty.

    Half an answer's JSON is an empty one to it, as botocore takes it for an error's text (1.15.30).
    """
    return _is_of(llm, "crewai.llms.providers.bedrock") and answer in _APOLOGIES


_APOLOGIES = tuple(
    f"I apologize, but I {what}. Please try again."
    for what in ("received an empty response", "couldn't generate a response", "couldn't generate a proper response")
)


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


def run_function(asked: Asked, name: str, arguments: Any) -> Any:
    """What a function of the question returns, called as the LLM's own class calls it; None where it fails."""
    return asked.llm._handle_tool_execution(name, dict(arguments), asked.functions)


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


SAYS_NOTHING = ("Failed to parse LLM response", "[Finalize] todos_count=")
"""How lines begin that CrewAI logs of every agent: a plain answer is no step in its form, and no failure either."""


def counts_by_arithmetic(llm: Any) -> bool:
    """Whether this LLM counts the tokens of a prompt by itself, and asks no server."""
    count = type(llm).get_input_tokens_count
    if count.__module__ in ("crewai.llms.base_llm", "crew_nb._crewai.offline"):
        return True
    elsewhere = getattr(llm, "_on_compatible_server", None)
    return count.__module__ == "crewai.llms.providers.openai.completion" and elsewhere is not None and elsewhere()
