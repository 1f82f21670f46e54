"""One agent's execution as a plain coroutine: the steps of CrewAI's executor without the flow around them.

Same prompts, answers and events as the stock executor for all that `_fast.why_not` lets through. LLM calls are
awaited on the run's loop, so that a cancel closes their connections; tools and the user's functions run in threads.
Importing this module loads CrewAI.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from crewai.agents.agent_executor import AgentExecutor, AgentExecutorState
from crewai.agents.parser import AgentAction, AgentFinish, OutputParserError
from crewai.events.event_bus import crewai_event_bus
from crewai.events.event_context import _event_id_stack
from crewai.events.types.flow_events import FlowFailedEvent, FlowFinishedEvent, FlowStartedEvent
from crewai.flow import flow_context
from crewai.hooks.dispatch import InterceptionPoint, get_scoped_hooks
from crewai.hooks.llm_hooks import model_call_hooks_dispatched
from crewai.llms import context_window
from crewai.llms.base_llm import BaseLLM, LLMCallBlockedError
from crewai.utilities import agent_utils
from crewai.utilities.i18n import I18N_DEFAULT
from crewai.utilities.message_utils import format_message_for_llm
from crewai_core.printer import PRINTER
from pydantic import BaseModel

from crew_nb._crewai import names as _crewai
from crew_nb._crewai import offload as _offload
from crew_nb._crewai import patches
from crew_nb._crewai.offload import in_thread, in_tool_thread
from crew_nb._crewai.twins import is_sync_meant

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Iterator

STEPS = (
    "initialize_reasoning",
    "execute_tool_action",
    "execute_native_tool",
    "recover_from_parser_error",
    "finalize",
)
"""The stock steps that are run as they are."""

_step: dict[str, Callable[[Any], Any]] = {name: AgentExecutor.__dict__[name].unwrap() for name in STEPS}


class DirectExecutor(AgentExecutor):
    """CrewAI's executor with its flow replaced by a loop."""

    @classmethod
    def flow_definition(cls) -> Any:
        """The stock definition: a subclass's own would be empty."""
        return AgentExecutor.flow_definition()

    def _flow_post_init(self, definition: Any = None) -> None:
        # The stock one binds 32 methods and builds a state class, per executor, for a flow that is not run here.
        if self._state is None:
            self._definition = self.flow_definition()
            names: Any = dict.fromkeys(self._definition.methods)
            self._methods = names  # read by CrewAI's telemetry
            self._state = AgentExecutorState()

    # --- the ways in ---------------------------------------------------------------------------------------------

    def invoke(self, inputs: dict[str, Any]) -> Any:
        """Execute from a thread (delegated work): on the run's own loop, so that each LLM client stays on one loop."""
        home, delegations = _offload.home.get(), _offload.delegations.get()
        if home is None or delegations is None or home.is_closed() or agent_utils.is_inside_event_loop():
            return super().invoke(inputs)
        return delegations.wait_for(asyncio.run_coroutine_threadsafe(self.invoke_async(inputs), home))

    async def invoke_async(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Execute on the running loop."""
        if _offload.home.get() is None:
            _offload.home.set(asyncio.get_running_loop())
        return await super().invoke_async(inputs)

    async def kickoff_async(self, *args: Any, **kwargs: Any) -> Any:
        """What the flow's kickoff does for an executor within a crew."""
        with _flow_scope(self.flow_id, self._definition.name):
            crewai_event_bus.emit(
                self, FlowStartedEvent(type="flow_started", flow_name=self._definition.name, inputs=None)
            )
            try:
                await self._run()
            except Exception as error:
                crewai_event_bus.emit(
                    self, FlowFailedEvent(type="flow_failed", flow_name=self._definition.name, error=error)
                )
                raise
            except SystemExit as error:
                # CrewAI's way to say that the context is too long. On a shared loop it would end every crew.
                raise _crewai.abort(str(error)) from error
            crewai_event_bus.emit(
                self,
                FlowFinishedEvent(
                    type="flow_finished",
                    flow_name=self._definition.name,
                    result="completed",
                    state=self._copy_and_serialize_state() if patches.is_heard(FlowFinishedEvent) else {},
                ),
            )

    # --- the loop ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        _step["initialize_reasoning"](self)
        while True:
            if agent_utils.has_reached_max_iterations(self.state.iterations, self.max_iter):
                await self._force_answer()
                break
            route = await (self._think_native() if self.state.use_native_tools else self._think())
            if route == "unsupported":
                route = await self._think()
            if route == "action":
                route = await in_tool_thread(_step["execute_tool_action"], self)
            elif route == "calls":
                route = await in_tool_thread(_step["execute_native_tool"], self)
            if route in ("answer", "tool_result_is_final"):
                break
            if route == "parser_error":
                _step["recover_from_parser_error"](self)  # counts the iteration itself
            elif route == "context_error":
                await self._shorten()
            else:
                self.state.iterations += 1
        _step["finalize"](self)

    async def _think(self) -> str:
        """`call_llm_and_parse` and `route_by_answer_type`."""
        try:
            answer = await self._respond(response_model=None if self.original_tools else self.response_model)
            if isinstance(answer, BaseModel):
                self.state.current_answer = AgentFinish(thought="", output=answer, text=str(answer))
            else:
                self.state.current_answer = agent_utils.process_llm_response(answer, self.use_stop_words)
            return "action" if isinstance(self.state.current_answer, AgentAction) else "answer"
        except OutputParserError as error:
            self._last_parser_error = error
            return "parser_error"
        except Exception as error:
            return self._route_error(error)

    async def _think_native(self) -> str:
        """`call_llm_native_tools`."""
        try:
            self.state.pending_tool_calls.clear()
            answer = await self._respond(tools=self._openai_tools)
            if isinstance(answer, list) and answer and self._is_tool_call_list(answer):
                self.state.pending_tool_calls = list(answer)
                return "calls"
            text = answer.model_dump_json() if isinstance(answer, BaseModel) else str(answer)
            output = answer if isinstance(answer, BaseModel) else text
            self.state.current_answer = AgentFinish(thought="", output=output, text=text)
            if self.step_callback:
                await in_thread(self._invoke_step_callback, self.state.current_answer)
            self._append_message_to_state(text)
            return "answer"
        except Exception as error:
            if agent_utils.is_native_tool_calling_unsupported_error(error):
                self._downgrade_to_text_tool_calling()
                return "unsupported"
            return self._route_error(error)

    def _route_error(self, error: Exception) -> str:
        if agent_utils.is_context_length_exceeded(error):
            self._last_context_error = error
            return "context_error"
        if not error.__class__.__module__.startswith("litellm"):
            agent_utils.handle_unknown_error(PRINTER, error, verbose=self._verbose)
        raise error

    async def _force_answer(self) -> None:
        """`ensure_force_final_answer` and `handle_max_iterations_exceeded`."""
        if self._verbose:
            PRINTER.print(content="Maximum iterations reached. Requesting final answer.", color="yellow")
        instruction = format_message_for_llm(I18N_DEFAULT.errors("force_final_answer"), role="user")
        answer = await self._ask([*self.state.messages, instruction], callbacks=self.callbacks)
        if answer is None or answer == "":
            if self._verbose:
                PRINTER.print(content="Received None or empty response from LLM call.", color="red")
            raise ValueError("Invalid response from LLM call - None or empty.")
        formatted = agent_utils.format_answer(answer=answer)
        if not isinstance(formatted, AgentFinish):
            formatted = AgentFinish(thought=formatted.thought, output=formatted.text, text=formatted.text)
        self.state.current_answer = formatted
        self.state.is_finished = True

    async def _shorten(self) -> None:
        """`recover_from_context_length`, which asks the LLM for summaries."""
        await in_thread(
            agent_utils.handle_context_length,
            respect_context_window=self.respect_context_window,
            printer=PRINTER,
            messages=self.state.messages,
            llm=_on_loop(self.llm),
            callbacks=self.callbacks,
            verbose=self._verbose,
        )
        self.state.iterations += 1

    # --- one LLM call --------------------------------------------------------------------------------------------

    async def _respond(self, tools: Any = None, response_model: type[BaseModel] | None = None) -> Any:
        """`get_llm_response`: limit, hooks, room, call, hooks."""
        verbose = self._verbose
        if self.request_within_rpm_limit:
            await in_thread(self.request_within_rpm_limit)  # it sleeps
        if self.before_llm_call_hooks or get_scoped_hooks(InterceptionPoint.PRE_MODEL_CALL):
            allowed = await in_thread(agent_utils._setup_before_llm_call_hooks, self, PRINTER, verbose=verbose)
            if not allowed:
                raise LLMCallBlockedError("LLM call blocked by before_llm_call hook")
        with model_call_hooks_dispatched(), _own_scope():
            messages = self.messages
            if self.respect_context_window:
                await self._make_room(messages, tools, response_model)
            answer = await self._ask(
                messages,
                tools=tools,
                callbacks=self.callbacks,
                available_functions=None,
                from_task=self.task,
                from_agent=self.agent,
                response_model=response_model,
            )
        finish = agent_utils._validate_and_finalize_llm_response
        if self.after_llm_call_hooks or get_scoped_hooks(InterceptionPoint.POST_MODEL_CALL):
            return await in_thread(finish, answer, self, PRINTER, verbose=verbose)
        return finish(answer, None, PRINTER, verbose=verbose)

    async def _make_room(self, messages: Any, tools: Any, response_model: type[BaseModel] | None) -> None:
        """Summarize before a call that would not fit. Counting is arithmetic, or a request where a provider counts."""
        llm: Any = self.llm
        if _crewai.counts_by_arithmetic(llm):
            with contextlib.suppress(Exception):
                if not llm.is_context_window_overflowing_threshold(messages, tools, response_model):
                    return
        await in_thread(
            agent_utils._proactively_summarize_context,
            llm=_on_loop(llm),
            messages=messages,
            callbacks=self.callbacks,
            printer=PRINTER,
            tools=tools,
            response_model=response_model,
            verbose=self._verbose,
            from_task=self.task,
            from_agent=self.agent,
        )

    async def _ask(self, messages: Any, **how: Any) -> Any:
        llm: Any = self.llm
        blocks = type(llm) in _offload.held and not _is_stub(llm.call)
        if calls_async(llm) and not blocks and _offload.home.get() is asyncio.get_running_loop():
            return await _offload.on_loop(type(llm), llm.acall, messages, **how)
        return await asyncio.to_thread(llm.call, messages, **how)

    @property
    def _verbose(self) -> bool:
        return bool(getattr(self.agent, "verbose", False))


def calls_async(llm: Any) -> bool:
    """Whether `acall` does what `call` does.

    Not so where it is missing, and where only `call` was overridden: then the override is what the user wants run.
    """
    if "acall" in vars(llm):
        return True
    return type(llm).acall is not BaseLLM.acall and not is_sync_meant(llm, "call", "acall")


def _is_stub(method: Any) -> bool:
    """Whether it is there because CrewAI wants one."""
    return "NotImplementedError" in inspect.unwrap(method).__code__.co_names


def _on_loop(llm: Any) -> Any:
    return _OnLoop(llm, asyncio.get_running_loop())


class _OnLoop:
    """The LLM as seen by CrewAI's summarizer, which runs `acall` on a loop of its own: brought back to ours."""

    def __init__(self, llm: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._llm = llm
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    def summarize_messages(self, messages: Any, callbacks: Any, verbose: bool = True) -> None:
        if type(self._llm).summarize_messages is BaseLLM.summarize_messages:
            context_window.summarize_messages(self, messages, callbacks, verbose)
        else:
            self._llm.summarize_messages(messages, callbacks, verbose)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(
                _offload.on_loop(type(self._llm), self._llm.acall, *args, **kwargs), self._loop
            ),
        )


@contextlib.contextmanager
def _own_scope() -> Iterator[None]:
    """Events left open inside (some LLM classes don't close a failed call) don't become parents of later ones."""
    stack = _event_id_stack.get()
    try:
        yield
    finally:
        _event_id_stack.set(stack)


@contextlib.contextmanager
def _flow_scope(flow_id: str, name: str) -> Iterator[None]:
    """The flow variables that tools, memory and traces may read."""
    values: tuple[tuple[contextvars.ContextVar[Any], Any], ...] = (
        (flow_context.current_flow_id, flow_id),
        (flow_context.current_flow_name, name),
        (flow_context.current_flow_defer_trace_finalization, False),
        (flow_context.current_flow_request_id, flow_id),
    )
    outermost = flow_context.current_flow_id.get() is None
    tokens: list[Any] = []
    for variable, value in values:
        if outermost or (variable is flow_context.current_flow_request_id and variable.get() is None):
            tokens.append((variable, variable.set(value)))
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)
