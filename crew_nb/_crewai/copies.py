"""Copies of crews, agents and tasks for runs of their own: all that a part has goes along, but what a kickoff leaves.

CrewAI's `copy()` names what it takes and loses the rest (MCP servers, apps, LLM objects, private attributes); it finds
agents by role and tasks by text, and keeps the inputs of an earlier kickoff (1.15.30, base_agent.py:704, crew.py:2224,
task.py:1154). Here only that is named which is not to go along, so that a field that is new is carried.
"""

from __future__ import annotations

import copy
import functools
import types
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticUndefined

from crew_nb._crewai import models as _models
from crew_nb._crewai import rpm as _rpm
from crew_nb._state.errors import UnfaithfulCopyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crewai import Crew

TEXTS = {"agent": ("role", "goal", "backstory"), "task": ("description", "expected_output", "output_file"), "crew": ()}
"""What inputs are filled into; CrewAI keeps what the user wrote under `_original_` and the name."""

LEFT_BEHIND = {
    kind: frozenset(names.split())
    for kind, names in {
        "crew": (
            "id stream usage_metrics token_usage execution_logs task_execution_output_json_files execution_context "
            "checkpoint_inputs checkpoint_train checkpoint_kickoff_event_id _execution_span _telemetry_started_at "
            "_rpm_controller _cache_handler _inputs _kickoff_event_id _execution_start_dispatched "
            "_execution_end_dispatched"
        ),
        "agent": (
            "id crew agent_executor tools_handler tools_results cache_handler agent_knowledge_context "
            "crew_knowledge_context knowledge_search_query execution_context checkpoint_kickoff_event_id "
            "_rpm_controller _request_within_rpm_limit _original_role _original_goal _original_backstory "
            "_token_process _kickoff_event_id _tool_failures _times_executed _mcp_resolver _last_messages"
        ),
        "task": (
            "id used_tools tools_errors delegations prompt_context output processed_by_agents retry_count start_time "
            "end_time checkpoint_original_description checkpoint_original_expected_output _guardrail_retry_counts "
            "_original_description _original_expected_output _original_output_file _thread"
        ),
    }.items()
}
"""What a kickoff writes, or what an object is known by: a copy has its own."""


class Copies:
    """Copies of parts (crews, agents, tasks), one for each, that name each other where the originals do.

    LLMs, tools, memories and whatever else a part has are shared with the original; lists and dicts, knowledge sources
    and what names a part itself are copied.
    """

    def __init__(self, kept: Iterable[Any] = ()) -> None:
        self._kept = list(kept)
        """Parts that stay themselves."""
        self._known: dict[int, Any] = {id(part): part for part in self._kept}
        self._alive: list[Any] = []  # of an object that is gone, another could have the id

    def of(self, value: Any) -> Any:
        """What stands for the value in the copies: the value itself, where it is no part and names none."""
        if id(value) in self._known:
            return self._known[id(value)]
        if _kind(value):
            return self._part(value)
        if type(value) in (list, dict):
            return self._container(value)
        if type(value) in (tuple, set, frozenset):
            return type(value)(map(self.of, value))
        if isinstance(value, types.MethodType) and _kind(value.__self__):
            return types.MethodType(value.__func__, self.of(value.__self__))
        if _is_knowledge_source(value):
            return self._remember(value, value.model_copy(update={n: self.of(v) for n, v in vars(value).items()}))
        return self._with_copies(value) if _names_a_part(value) else value

    def relink(self) -> None:
        """Let the parts that stay themselves name the copies of the others."""
        for part in self._kept:
            for fields in (vars(part), part.__pydantic_private__ or {}):
                left = LEFT_BEHIND[_kind(part)]
                fields.update({name: self.of(v) for name, v in list(fields.items()) if name not in left and _holds(v)})
            if _kind(part) == "crew":
                _equip_agents(part)

    def _remember(self, value: Any, twin: Any) -> Any:
        self._alive.append(value)
        self._known[id(value)] = twin
        return twin

    def _container(self, value: Any) -> Any:
        twin = self._remember(value, type(value)())
        if isinstance(value, dict):
            twin.update({key: self.of(item) for key, item in list(value.items())})
        else:
            twin.extend(map(self.of, list(value)))
        return twin

    def _with_copies(self, value: Any) -> Any:
        """A tool or a helper that names a part, such as the agent that it asks."""
        try:
            twin = self._remember(value, copy.copy(value))
        except Exception as error:
            raise UnfaithfulCopyError(f"a {type(value).__name__} of it cannot be copied ({error})") from error
        for fields in (vars(twin), getattr(twin, "__pydantic_private__", None) or {}):
            fields.update({name: self.of(item) for name, item in list(fields.items()) if _holds(item)})
        return twin

    def _part(self, part: Any) -> Any:
        kind, known = _kind(part), type(part)
        twin = self._remember(part, part.model_copy())
        # What the user wrote is read after the text: a kickoff that runs meanwhile sets it before the text.
        texts = {name: getattr(part, name) for name in TEXTS[kind]}
        texts = {name: getattr(part, f"_original_{name}", None) or text for name, text in texts.items()}
        left = LEFT_BEHIND[kind]
        fields = {name: v for name, v in vars(part).items() if _goes_along(known, name, v)}
        fields = {name: self.of(v) for name, v in fields.items() if name not in left}
        fields.update({n: f.get_default(call_default_factory=True) for n, f in known.model_fields.items() if n in left})
        object.__setattr__(twin, "__dict__", {**fields, **texts})
        private = {name: self.of(v) for name, v in (part.__pydantic_private__ or {}).items() if name not in left}
        own = {name: a.get_default() for name, a in known.__private_attributes__.items() if name in left}
        private.update({name: value for name, value in own.items() if value is not PydanticUndefined})
        object.__setattr__(twin, "__pydantic_private__", private)
        object.__setattr__(twin, "__pydantic_extra__", self.of(part.__pydantic_extra__))
        if kind == "agent":
            _equip_agent(twin, part)
        elif kind == "crew":
            _equip_crew(twin)
        return twin


def _equip_agent(agent: Any, original: Any) -> None:
    """What CrewAI makes for an agent when it is made: its limiter, and its cache if it asked for one."""
    from crewai.agents.cache.cache_handler import CacheHandler

    if agent.max_rpm:
        agent._rpm_controller = _rpm.limiter(agent.max_rpm, agent._logger)
    _models.resolve(agent)
    if getattr(agent, "_constructor_cache_opt_in", False):
        given = original.cache_handler
        agent.set_cache_handler(CacheHandler() if type(given) is CacheHandler or given is None else given)


def _equip_crew(crew: Any) -> None:
    crew._rpm_controller = _rpm.limiter(crew.max_rpm, crew._logger)
    _equip_agents(crew)


def _equip_agents(crew: Any) -> None:
    for agent in crew.agents:
        if crew.cache:
            agent.set_cache_handler(crew._cache_handler)
        if crew.max_rpm:
            agent.set_rpm_controller(crew._rpm_controller)


def _goes_along(known: Any, name: str, value: Any) -> bool:
    """Whether it is more than a method that we put in its place for another run, or a value worked out from others."""
    if name in known.model_fields:
        return True
    return getattr(value, "_crew_nb", "") != "a run" and not isinstance(
        getattr(known, name, None), functools.cached_property
    )


def _kind(value: Any) -> str:
    """What kind of part it is; empty where it is none."""
    return next((kind for kind, known in _kinds().items() if isinstance(value, known)), "")


@functools.cache
def _kinds() -> Mapping[str, type]:
    from crewai import Crew, Task
    from crewai.agents.agent_builder.base_agent import BaseAgent

    return {"agent": BaseAgent, "task": Task, "crew": Crew}


def _is_knowledge_source(value: Any) -> bool:
    from crewai.knowledge.source.base_knowledge_source import BaseKnowledgeSource

    return isinstance(value, BaseKnowledgeSource)


def _holds(value: Any, depth: int = 3) -> bool:
    """Whether it is a part, or lists some, or names one."""
    if isinstance(value, list | tuple | set | frozenset | dict):
        items = list(value.values()) if isinstance(value, dict) else list(value)
        return depth > 0 and any(_holds(item, depth - 1) for item in items)
    return bool(_kind(value)) or bool(_kind(getattr(value, "__self__", None))) or _names_a_part(value)


def _names_a_part(value: Any) -> bool:
    """Whether it is an object with an attribute that is a part, or lists some."""
    if isinstance(value, type | types.FunctionType | types.ModuleType | types.MethodType) or _kind(value):
        return False
    found = [*getattr(value, "__dict__", {}).values(), *(getattr(value, "__pydantic_private__", None) or {}).values()]
    parts = (item for v in found for item in (v if type(v) in (list, tuple) else (v,)))
    return any(_kind(item) for item in parts)


def isolated(crew: Crew, kept: Iterable[Any] = ()) -> Crew:
    """A copy of the crew with agents and tasks of its own, save the parts in `kept`, which stay themselves.

    Raises:
        UnfaithfulCopyError: When something of the crew would be lost, with what it is.
    """
    if lost := lost_by_copying(crew):
        raise UnfaithfulCopyError(lost)
    copies = Copies(kept)
    twin: Crew = copies.of(crew)
    for task in _outer_tasks(crew):
        copies.of(task).output = task.output
    copies.relink()
    twin.stream = False  # a streaming crew hands out an iterator; tokens reach the board by events
    return twin


def lost_by_copying(crew: Crew) -> str:
    """What a copy of this crew would be without, in words; empty where it has all."""
    if any(task.output is None for task in _outer_tasks(crew)):
        return "one of its tasks takes its context from a task outside the crew, which has not run"
    if crew.checkpoint_kickoff_event_id is not None and any(task.output is None for task in crew.tasks):
        return "it was restored from a checkpoint, and a copy would begin anew"
    return ""


def _outer_tasks(crew: Crew) -> list[Any]:
    """What its tasks take as context from outside."""
    own = {id(task) for task in crew.tasks}
    found = [before for task in crew.tasks if isinstance(task.context, list) for before in task.context]
    return [before for before in found if id(before) not in own]
