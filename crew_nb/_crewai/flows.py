"""The Flow as a kind of thing that can be kicked off: a fresh instance for each run, its methods as steps."""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
from typing import TYPE_CHECKING, Any, Literal, cast

from crew_nb._crewai import flow_goes_on as _goes_on
from crew_nb._crewai.kind import Ask, Ready, claim
from crew_nb._crewai.names import abort, usage_metrics
from crew_nb._crewai.outputs import FlowOutput, text
from crew_nb._crewai.placeholders import NO_DATA, Data
from crew_nb._state import events as ev
from crew_nb._state.errors import BlueprintError, NobodyToAskError, UnfaithfulCopyError

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Mapping

    from crewai.flow.runtime import Flow

# Made by CrewAI when a flow is made, and anew for each.
_MADE_ANEW = frozenset({"memory", "persistence", "execution_context", "entity_type"})


class _Flows:
    """The Flow, as a kind: a class, an instance, or what a declaration has made."""

    name = "flow"
    arguments = frozenset({"input_files"})
    needs = frozenset[str]()
    takes_objects = True

    def owns(self, value: object) -> bool:
        """Whether it is a Flow or a class of flows."""
        module = sys.modules.get("crewai.flow.runtime")  # where nobody has loaded it, nothing is a Flow
        if module is None:
            return False
        return issubclass(value, module.Flow) if inspect.isclass(value) else isinstance(value, module.Flow)

    def template(self, given: Any) -> Any:
        """A class as it is, an instance as a fresh one."""
        if inspect.isclass(given):
            _check_class(given)
            return given
        return _twin(given)

    def copy(self, given: Any) -> Flow[Any]:
        """A fresh instance."""
        return _instance(cast("type[Flow[Any]]", given)) if inspect.isclass(given) else _twin(given)

    def adopt(self, built: Any, begun: datetime.datetime, factory: Any) -> tuple[Flow[Any], frozenset[int]]:
        """The flow of a factory; a class, or one that another run has had, gives a fresh instance."""
        mine = not inspect.isclass(built) and claim([built])
        return (built if mine else self.copy(built)), frozenset()

    def settle(self, subject: Flow[Any], data: Data, *, leave_unknown: bool) -> None:
        """Its state is its own already, and no text of it is filled in."""

    def label(self, given: Any) -> str:
        """Its name."""
        kind = given if inspect.isclass(given) else type(given)
        return str(getattr(given, "name", None) or kind.__name__)

    def placeholders(self, subject: Any, data: Data = NO_DATA) -> set[str]:
        """None: inputs go into its state."""
        return set()

    def parameters(self, subject: Flow[Any]) -> list[inspect.Parameter]:
        """What its state has, with what it begins with."""
        state: Any = subject.state
        if isinstance(state, dict):
            parts = {name: (inspect.Parameter.empty, value) for name, value in state.items()}
        else:
            parts = {n: (field.annotation, getattr(state, n)) for n, field in type(state).model_fields.items()}
        return [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation)
            for name, (annotation, value) in parts.items()
            if name != "id" and name.isidentifier()
        ]

    def words_in_braces(self, subject: Any, data: Data) -> list[str]:
        """None."""
        return []

    def reads(self, subject: Any) -> set[str]:
        """A trigger's payload goes to the steps that take it."""
        return {"crewai_trigger_payload"}

    def takes_other_inputs(self, subject: Any) -> bool:
        """Whatever its steps do with its state."""
        return True

    def known_by(self, given: Any) -> Any:
        """Its class with what was set on it; each instance has ids of its own."""
        if inspect.isclass(given):
            cast(
                "type[Flow[Any]]", given
            ).flow_definition()  # kept in the class from its first use on, and so always part of its content
            return given
        state = given.state if isinstance(given.state, dict) else given.state.model_dump()
        fields = {name: vars(given).get(name) for name in given.model_fields_set - _MADE_ANEW}
        content = None if _is_of_class(given) else given._definition.model_dump(mode="json")
        return [type(given), content, fields, {name: value for name, value in state.items() if name != "id"}]

    def inputs(self, subject: Flow[Any], inputs: dict[str, Any] | None, taken: set[str]) -> dict[str, Any] | None:
        """All inputs where the state is a dict; else without those that a factory took and the state does not have."""
        if inputs is None or isinstance(subject.state, dict):
            return inputs
        fields = type(subject.state).model_fields
        return {name: value for name, value in inputs.items() if name in fields or name not in taken}

    def make_ready(self, subject: Flow[Any], *, keep_replay: bool) -> Ready:
        """Let our listener count its tokens: CrewAI's own would wait for the whole bus, on the shared loop."""
        subject.stream = False  # else it hands out an iterator; tokens reach the board by events
        subject._usage_aggregation_handler = _count_nothing
        methods = list(subject._definition.methods)
        usage = subject._aggregated_usage_metrics
        return Ready(
            steps=tuple(steps(subject)),
            places={f"step:{id(subject)}:{name}": place for place, name in enumerate(methods)},
            llms=[],
            tools=[],
            path="stock",
            why="",
            hear_usage=lambda counts: usage.add_usage_metrics(usage_metrics(counts)),
            notes=_notes(subject),
        )

    def asks(self, subject: Flow[Any]) -> Literal["never", "maybe", "surely"]:
        """Its steps may call `ask()`, ask for feedback, or run crews that do."""
        return "maybe"

    def let_ask(self, subject: Flow[Any], ask: Ask) -> None:
        """Where no provider of the user's is set, the row asks."""

        def review(message: str, output: Any, *, method_name: str = "", **more: Any) -> str:
            return ask(method_name, f"{text(output)}\n\n{message}", f"step:{id(subject)}:{method_name}")

        object.__setattr__(subject, "_request_human_feedback", review)
        if subject._resolve_input_provider().__class__.__module__.startswith("crewai."):
            subject.input_provider = _ByForm(ask)

    async def start(self, subject: Flow[Any], inputs: dict[str, Any] | None, how: Mapping[str, Any]) -> FlowOutput:
        """What its last step returned, and its state."""
        _goes_on.where_it_ended(subject, inputs)
        value = await subject.kickoff_async(inputs=inputs, **{n: how[n] for n in self.arguments & set(how)})
        if type(value).__name__ == "HumanFeedbackPending":
            raise TypeError(
                "the flow waits for feedback that its own provider gets elsewhere. Go on with "
                "`Flow.from_pending(flow_id)`, or leave provider= out, and the row asks."
            )
        return FlowOutput(value=value, state=subject.state)


FLOW = _Flows()


class _ByForm:
    """CrewAI's `InputProvider` for `Flow.ask()`: the form in the row."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def request_input(self, message: str, flow: Flow[Any], metadata: dict[str, Any] | None = None) -> str | None:
        """The person's words; None where they have none."""
        from crewai.flow.flow_context import current_flow_method_name

        step = str(current_flow_method_name.get("unknown"))
        try:
            return self._ask(step, message, f"step:{id(flow)}:{step}") or None
        except NobodyToAskError as error:
            raise abort(str(error)) from error  # `ask()` would take any other error for no answer


def _count_nothing(source: Any, event: Any) -> None:
    """Stands where a flow's own listener would be: ours has counted."""


def _is_of_class(flow: Flow[Any]) -> bool:
    """Whether its methods are those of its class, and no declaration's."""
    return type(flow).__module__.partition(".")[0] != "crewai"


def _instance(kind: type[Flow[Any]]) -> Flow[Any]:
    _check_class(kind)
    return kind()


def _check_class(kind: type) -> None:
    needed = _needed(kind)
    if needed:
        raise BlueprintError(
            f"{kind.__name__}() needs {', '.join(needed)}, and inputs go into a flow's state. Give a function that "
            f"makes it: `lambda: {kind.__name__}({', '.join(f'{name}=...' for name in needed)})`."
        )


def _needed(kind: type) -> list[str]:
    """What its constructor cannot do without."""
    init: Any = kind.__dict__.get("__init__") or getattr(kind, "__init__")  # noqa: B009 - of the class, not of one
    try:
        parameters = list(inspect.signature(init).parameters.values())[1:]
    except (TypeError, ValueError):
        return []
    plain = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in plain]


def _twin(flow: Flow[Any]) -> Flow[Any]:
    """A fresh instance like it.

    Raises:
        UnfaithfulCopyError: When its constructor needs something, or it holds what a fresh one would not have.
    """
    kind = type(flow)
    needed = _needed(kind)
    if needed:
        raise UnfaithfulCopyError(_unfaithful(kind, f"its constructor needs {', '.join(needed)}"))
    fields = {n: vars(flow)[n] for n in flow.model_fields_set - {"execution_context", "entity_type"} if n in vars(flow)}
    if _memory_is_crewais(flow):
        fields.pop("memory", None)
    try:
        if _is_of_class(flow):
            fresh = kind()
            for name, value in fields.items():
                if vars(fresh).get(name) is not value:
                    setattr(fresh, name, value)
        else:
            fresh = kind.from_declaration(contents=flow._definition, **fields)
    except Exception as error:
        raise UnfaithfulCopyError(_unfaithful(kind, f"a fresh one cannot be made ({error})")) from error
    if more := sorted(set(_attributes(flow)) - set(_attributes(fresh))):
        raise UnfaithfulCopyError(_unfaithful(kind, f"{', '.join(more)} would be lost"))
    _take_state(flow, fresh)
    return fresh


def _memory_is_crewais(flow: Flow[Any]) -> bool:
    memory = vars(flow).get("memory")
    scope = getattr(memory, "root_scope", "") or ""
    return type(memory).__name__ == "Memory" and str(scope).startswith("/flow/")


def _attributes(flow: Flow[Any]) -> Iterator[str]:
    yield from (name for name in vars(flow) if name not in type(flow).model_fields)
    yield from (flow.__pydantic_extra__ or {})


def _take_state(flow: Flow[Any], fresh: Flow[Any]) -> None:
    """What was put into its state before is in the fresh one's, under an id of its own."""
    try:
        if isinstance(flow.state, dict):
            fresh._state = {**copy.deepcopy(flow.state), "id": fresh.flow_id}
        else:
            fresh._state = flow.state.model_copy(deep=True, update={"id": fresh.flow_id})
    except Exception as error:
        raise UnfaithfulCopyError(_unfaithful(type(flow), f"its state cannot be copied ({error})")) from error


def _unfaithful(kind: type, lost: str) -> str:
    return (
        f"this {kind.__name__} cannot be made anew for each run: {lost}. Give a function that makes it:\n\n"
        f"    def build_flow():\n        return {kind.__name__}(...)\n\nand pass build_flow instead of the flow."
    )


def steps(flow: Flow[Any]) -> Iterator[ev.TaskSpec]:
    """Its methods, each with those that it listens to."""
    methods = flow._definition.methods
    places = {str(name): place for place, name in enumerate(methods)}
    emitted: dict[str, list[int]] = {}
    for name, method in methods.items():
        for label in [*(method.emit or ()), *((method.human_feedback.emit or ()) if method.human_feedback else ())]:
            emitted.setdefault(str(label), []).append(places[str(name)])
    routers = [places[str(name)] for name, method in methods.items() if method.router]
    for name, method in methods.items():
        heard: list[int] = []
        for condition in (method.listen, method.start):
            for event in _events(condition):
                heard += [places[event]] if event in places else emitted.get(event, routers)
        yield ev.TaskSpec(
            name=str(name),
            agent="",
            joins=tuple(dict.fromkeys(heard)),
            asks_human=method.human_feedback is not None,
            is_step=True,
        )


def _events(condition: Any) -> Iterator[str]:
    """The names in a condition such as `{"and": ["research", {"or": [...]}]}`."""
    if isinstance(condition, str):
        yield condition
    elif isinstance(condition, dict):
        for part in condition.values():
            yield from _events(part)
    elif isinstance(condition, list | tuple):
        for part in condition:
            yield from _events(part)


def _notes(flow: Flow[Any]) -> tuple[str, ...]:
    with contextlib.suppress(Exception):
        if flow.max_method_calls < 1:
            return (f"max_method_calls is {flow.max_method_calls}: no step of the flow can run",)
    return ()
