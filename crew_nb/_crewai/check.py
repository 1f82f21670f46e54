"""The pitfalls that would serialize, break or mix up crews, as findings with the line to write instead.

Only looks at crews: nothing is kicked off, and no crew is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai import startable as _startable
from crew_nb._crewai.callables import async_function
from crew_nb._crewai.crews import CREW
from crew_nb._crewai.factories import built
from crew_nb._crewai.names import agents_of
from crew_nb._crewai.placeholders import filled, names_in
from crew_nb._crewai.projects import project_of
from crew_nb._state.errors import BlueprintError

if TYPE_CHECKING:
    from crewai import Crew

    from crew_nb._crewai.startable import CrewLike
    from crew_nb._state.html import Html

Severity = Literal["error", "warning", "note"]
"""`error` fails here too, `warning` is slower or surprising here too, `note` is bare CrewAI's and is seen to here."""

_AGENT_TEXTS, _TASK_TEXTS = ("role", "goal", "backstory"), ("description", "expected_output", "output_file")

_SIGNS = {"error": "✗", "warning": "!", "note": "·"}

# What happens, with what was measured on CrewAI 1.15.30, and what to write instead.
PITFALLS: dict[str, tuple[Severity, str, str]] = {
    "sync-kickoff": (
        "error",
        "A loop runs in every cell, and CrewAI refuses to run agents synchronously inside one; nest_asyncio does not "
        "change that.",
        "run = {kickoff}\nawait run  # in a plain function: run.wait()",
    ),
    "sync-kickoff-for-each": (
        "error",
        "A loop runs in every cell, and CrewAI refuses to run agents synchronously inside one; nest_asyncio does not "
        "change that.",
        "batch = {each}\nresults = await batch",
    ),
    "asyncio-run": (
        "error",
        "The notebook's own loop runs already, and asyncio starts no second one inside it. A cell may await.",
        "await {coroutine}\n# or once, for old cells that have to stay as they are: cnb.allow_nested_loops()",
    ),
    "uvicorn-run": (
        "error",
        "The notebook's own loop runs already, and uvicorn starts no second one inside it. `crew_nb.serve.start(app)` "
        "serves from a loop of its own and gives the cell back.",
        "from crew_nb import serve\nserver = serve.start(app)  # its address: server.url; its end: server.stop()",
    ),
    "not-awaited": (
        "error",
        "It is a coroutine: the call was prepared and nobody awaited it, so nothing has run yet. (An async function in "
        "after_kickoff_callbacks leaves one in place of the output, too.)",
        "{awaited}",
    ),
    "gather-not-awaited": (
        "error",
        "It stands for outputs that are still to come: the crews were started, and nobody has awaited them.",
        "{gathered}",
    ),
    "run-not-joined": (
        "error",
        "A run is the handle of a crew that may still be at work; await it for CrewAI's output.",
        "output = await {handle}\noutput.{name}\n# or, once it is done: {handle}.output.{name}",
    ),
    "batch-not-joined": (
        "error",
        "A batch is the handle of crews that may still be at work; await it for their results.",
        "results = await {handle}\nresults.{name}\n# or, of those that are done so far: {handle}.results.{name}",
    ),
    "shared-agent": (
        "note",
        "An agent has one executor. Under asyncio.gather such crews fail with `Executor is already running`; started "
        "a moment apart, one answered with the other's role, goal and task. crew_nb gives each run agents of its own.",
        "results = await {gather}",
    ),
    "shared-llm": (
        "note",
        "CrewAI counts tokens on the LLM object: four crews that shared one reported 60 tokens each, where 15 were "
        "true. crew_nb counts each run's own calls.",
        "run.usage  # in place of crew.usage_metrics",
    ),
    "agent-on-two-async-tasks": (
        "note",
        "Tasks with async_execution that follow each other run at the same time, and an agent can run one at a time: "
        "bare CrewAI fails with `Executor is already running`. crew_nb gives each of them an agent of its own.",
        "run = cnb.kickoff(crew)  # or one agent for each of these tasks",
    ),
    "equal-roles": (
        "note",
        "Crew.copy(), and so CrewAI's kickoff_for_each, finds agents by role: the tasks of all these go to the first "
        "of them. crew_nb copies by place.",
        "batch = cnb.kickoff_for_each(crew, inputs=[...])  # or give the agents roles of their own",
    ),
    "equal-tasks": (
        "note",
        "Crew.copy(), and so CrewAI's kickoff_for_each, finds tasks by their text: a context that names one of these "
        "gets the last. crew_nb copies by place.",
        "batch = cnb.kickoff_for_each(crew, inputs=[...])  # or give the tasks texts of their own",
    ),
    "max-rpm": (
        "warning",
        "Every copy has a limiter of its own: 8 inputs with max_rpm=2 did not wait at all. On a second "
        "kickoff it sleeps for 60 s, whatever the time that has passed.",
        "batch = cnb.kickoff_for_each(crew, inputs=[...], max_rpm={limit})  # shared by all; none on the crew",
    ),
    "shared-memory": (
        "warning",
        "Runs with one memory read and write it at the same time: one user's run saw another's secret. CrewAI keeps "
        "memory by the crew's name, or where its object says.",
        "{line}  # in a factory: a memory for each run; or memory=False",
    ),
    "async-callback": (
        "note",
        "CrewAI does not await it: before the kickoff, the inputs become a coroutine and the crew fails; after it, "
        "the output becomes one and is lost. crew_nb awaits it.",
        "run = cnb.kickoff(crew)  # or, for bare CrewAI, def callback(value): without async",
    ),
    "max-execution-time": (
        "note",
        "CrewAI waits for the thread to end anyway: with a limit of 1 s, kickoff_async gave up after 4.1 s; akickoff "
        "gave up in time and left the thread and its request behind. It limits a task; crew_nb can limit the run.",
        "run = cnb.kickoff(crew, timeout=60)",
    ),
    "human-input": (
        "note",
        "In a notebook, akickoff shows its panel, reads from a keyboard that is not there and takes the silence for "
        "approval. crew_nb asks in the run's row, and approves nothing by itself.",
        "run = cnb.kickoff(crew)",
    ),
    "kicked-off-before": (
        "note",
        "A kickoff writes its inputs over the placeholders. Crew.copy(), and so CrewAI's kickoff_for_each, takes the "
        "text as it is then: every copy works on those first inputs. crew_nb copies the text as it was.",
        "batch = cnb.kickoff_for_each(crew, inputs=[...])  # or build the crew anew",
    ),
    "fixed-output-file": (
        "warning",
        "Every run writes this file over the one of the run before: of eight runs, one text is left.",
        'Task(..., output_file="{file}")  # named by an input; or leave it out: every text is in results[i].raw',
    ),
    "usage-not-filled": (
        "note",
        "The crew that was run is a copy: the one in this cell stays as it was. What a run used is counted from its "
        "own calls.",
        "output = await run\noutput.token_usage  # or run.usage; of all runs of a batch: results.usage",
    ),
    "output-not-filled": (
        "note",
        "The crew that was run is a copy, and so are its tasks: those in this cell stay as they were.",
        "output = await run\noutput.tasks_output[{place}]  # or its text: run.tasks[{place}].output",
    ),
    "times-not-filled": (
        "note",
        "The crew that was run is a copy, and so are its tasks: those in this cell stay as they were.",
        "run.tasks[{place}].started, run.tasks[{place}].finished  # Unix seconds",
    ),
    "independent-tasks": (
        "warning",
        "They do not take each other's output as context, yet run one after the other.",
        "Task(..., async_execution=True)  # on each of them, with an agent of its own",
    ),
    "one-chain": (
        "note",
        "Each task waits for the one before, so that a single run takes as long as all of them together, whatever "
        "max_concurrency is. Runs with other inputs do overlap.",
        "batch = cnb.kickoff_for_each(crew, inputs=[{...}, ...])",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One pitfall: what would happen, where, and the line to write instead."""

    code: str
    severity: Severity
    what: str
    where: str
    instead: str
    among: Hashable = None
    """What several runs have to have in common for it to be one; None where a run alone has it."""

    def __str__(self) -> str:
        return self.text(self.title)

    def text(self, title: str) -> str:
        """In plain text, under a title that goes before the place."""
        instead = "".join(f"\n      {line}" for line in self.instead.splitlines())
        return f"{title}: {self.where}\n  {self.what}\n  write{instead}"

    def html(self, title: str) -> Html:
        """The same as HTML."""
        from crew_nb._state.html import el, join, prose

        head = el("strong", f"{title}: {self.where}")
        return join((el("p", head, el("br"), prose(self.what), " Write:"), el("pre", self.instead)))

    def _repr_html_(self) -> str:
        from crew_nb._state.html import el

        return str(el("div", self.html(self.title), class_="crew-nb"))

    @property
    def title(self) -> str:
        """The severity, as a sign and a word."""
        return f"{_SIGNS[self.severity]} {self.severity}"


_UNKNOWN = {
    "kickoff": "cnb.kickoff(crew, inputs={...})",
    "each": "cnb.kickoff_for_each(crew, inputs=[{...}, ...])",
    "gather": "cnb.gather(crew_a, crew_b)",
    "awaited": "output = await crew.akickoff(inputs={...})\n# or: output = await cnb.kickoff(crew, inputs={...})",
    "gathered": "results = await asyncio.gather(crew_a.akickoff(), crew_b.akickoff())\n"
    "# or: results = await cnb.gather(crew_a, crew_b); and for an asyncio task: output = await task",
}
"""What stands in a line to write where it is not known how the user wrote it."""


def finding(code: str, where: str, among: Hashable = None, **words: object) -> Finding:
    """The pitfall of that name, found there; `words` fill the line to write."""
    severity, what, instead = PITFALLS[code]
    for name, value in {**_UNKNOWN, **words}.items():
        instead = instead.replace(f"{{{name}}}", str(value))
    return Finding(code=code, severity=severity, what=what, where=where, instead=instead, among=among)


class Findings(Sequence[Finding]):
    """Findings, the gravest first; a list in a cell, text elsewhere, and false where there are none."""

    def __init__(self, found: Iterable[Finding] = ()) -> None:
        order = list(_SIGNS)
        self._found = tuple(sorted(dict.fromkeys(found), key=lambda f: order.index(f.severity)))

    @overload
    def __getitem__(self, place: int) -> Finding: ...
    @overload
    def __getitem__(self, place: slice) -> Findings: ...
    def __getitem__(self, place: int | slice) -> Finding | Findings:
        return Findings(self._found[place]) if isinstance(place, slice) else self._found[place]

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self._found)) or "No pitfalls found."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from crew_nb._state.html import el

        return str(el("div", [f.html(f.title) for f in self._found] or str(self), class_="crew-nb"))


def check(*crews: CrewLike | tuple[CrewLike, dict[str, Any]]) -> Findings:
    """What would serialize, break or mix up these crews, run together or over many inputs, each with its cure.

    Args:
        *crews: A `Crew`, a function that returns one, or a pair (crew, inputs) each, as `gather` takes them. A function
            is called twice, to see what its crews share.

    Raises:
        BlueprintError: When one of them is neither, or its function needs inputs that were not given.
    """
    found: list[Finding] = []
    every: list[tuple[str, Crew]] = []
    for index, given in enumerate(crews):
        source, inputs = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        name = f"crew {index}" if len(crews) > 1 else "the crew"
        source = _startable.startable(source)
        kind = _kinds.find(source)
        if kind is None:
            first: Any
            first, second = built(cast("Any", source), inputs), built(cast("Any", source), inputs)
            if not CREW.owns(first):
                continue
            every += [(name, first), (f"{name}, built again", second)]
            again = {f.among for f in inspect_crew(second, name)}
            # What stands in the way of sharing may be made of the inputs, which were the same for both.
            words = [str(value) for value in (inputs or {}).values()]
            found += [
                f for f in inspect_crew(first, name) if f.among in again and not any(w in str(f.among) for w in words)
            ]
            found += _written_over(first, inputs, name)
        elif kind is not CREW:
            found += _copied_whole(source, name)
        else:
            crew = cast("Crew", source)
            if not any(crew is other for _, other in every):
                found += [*inspect_crew(crew, name), *_copied(crew, name), *_written_over(crew, {}, name)]
            every.append((name, crew))
    return Findings([*found, *_shared(every)])


def inspect_crew(crew: Crew, name: str = "the crew") -> Iterator[Finding]:
    """The pitfalls within one crew; quick enough for every launch."""
    yield from _tasks_at_once(crew, name)
    yield from _waiting(crew, name)
    agents = agents_of(crew)
    limits = [(f"max_rpm={crew.max_rpm} of {name}", crew.max_rpm)]
    limits += [(f"max_rpm={a.max_rpm} of agent {_role(a)} in {name}", a.max_rpm) for a in agents]
    yield from (finding("max-rpm", where, among="max-rpm", limit=limit) for where, limit in limits if limit)
    yield from _memories(crew, name)
    for hook in ("before_kickoff_callbacks", "after_kickoff_callbacks"):
        for callback in getattr(crew, hook):
            if coroutine := async_function(callback):
                yield finding("async-callback", f"{coroutine}() in {hook} of {name}")
    for agent in agents:
        if limit := getattr(agent, "max_execution_time", None):
            yield finding("max-execution-time", f"max_execution_time={limit} of agent {_role(agent)} in {name}")
    for task in crew.tasks:
        if task.human_input:
            yield finding("human-input", f"human_input=True of task {_task(task)} in {name}")


def _memories(crew: Crew, name: str) -> Iterator[Finding]:
    if crew.memory is True:
        line = 'Crew(..., name=f"research {topic}")'
        among = ("memory", crew.name)
        yield finding("shared-memory", f"memory of {name}, whose name is {crew.name!r}", among=among, line=line)
    given = [(crew.memory, name), *((getattr(a, "memory", None), f"agent {_role(a)} in {name}") for a in crew.agents)]
    for memory, where in given:
        if memory and memory is not True and not getattr(memory, "read_only", False):
            view = getattr(memory, "root_path", None) or getattr(memory, "scopes", None)
            whole = getattr(memory, "_memory", None) or memory
            storage = getattr(whole, "storage", None)
            root = str(view or getattr(whole, "root_scope", None) or "/")
            place = ("memory", storage if isinstance(storage, str) else id(storage), root)
            line = 'Memory(..., root_scope=f"/research/{topic}")'
            yield finding("shared-memory", f"memory of {where}, at {root}", among=place, line=line)


def _written_over(crew: Crew, inputs: Mapping[str, Any] | None, name: str) -> Iterator[Finding]:
    """Files that every run of the crew would write, whatever its inputs are."""
    values = [text for value in (inputs or {}).values() if (text := str(value))]
    for task in crew.tasks:
        file = task.output_file or ""
        if file and not names_in(file) and not any(value in file for value in values):
            where = f"output_file={file!r} of task {_task(task)} in {name}"
            yield finding("fixed-output-file", where, file="{topic}" + Path(file).suffix)


def same_files(crew: Crew, inputs: Mapping[str, Any] | None, plan: int, writers: dict[str, int]) -> Iterator[str]:
    """In words, the files of this run that another one of its batch writes, too.

    Args:
        crew: The run's own.
        inputs: What fills its placeholders.
        plan: The place of the run in the batch.
        writers: Which run writes which file; what this one writes is added.
    """
    given = {name: str(value) for name, value in (inputs or {}).items()}
    for task in crew.tasks:
        file = filled(task.output_file or "", given)
        if file and writers.setdefault(os.path.abspath(file), plan) != plan:  # noqa: PTH100 - no disk is read
            yield (
                f"Several runs write {file}, each over the one before. Write an input into its name: "
                f'output_file="{{topic}}{Path(file).suffix}"; every text is in results[i].raw.'
            )


def _tasks_at_once(crew: Crew, name: str) -> Iterator[Finding]:
    """Neighbours with `async_execution` run together; a task without it waits for them first."""
    for together, tasks in groupby(crew.tasks, key=lambda t: bool(t.async_execution)):
        given = [t for t in tasks if together and t.agent is not None]
        for same in _alike(given, key=lambda t: id(t.agent)):
            where = f"agent {_role(same[0].agent)} on the tasks {_and(map(_task, same))} of {name}"
            yield finding("agent-on-two-async-tasks", where)


def _waiting(crew: Crew, name: str) -> Iterator[Finding]:
    if len(crew.tasks) < 2 or any(t.async_execution for t in crew.tasks) or crew.process.value != "sequential":
        return
    # The last task cannot be one of them: CrewAI wants a task without async_execution after two with it.
    free = [
        (before, task)
        for before, task in pairwise(crew.tasks[:-1])
        if isinstance(task.context, list) and not any(t is before for t in task.context)
    ]
    for before, task in free:
        yield finding("independent-tasks", f"tasks {_task(before)} and {_task(task)} of {name}")
    if not free:
        yield finding("one-chain", f"the {len(crew.tasks)} tasks of {name}")


def _copied_whole(source: Any, name: str) -> Iterator[Finding]:
    """That no copy can be made of it."""
    try:
        _kinds.kind_of(source).copy(source)
    except BlueprintError as error:
        lost = str(error).partition(". Give ")[0]
        instead = "def build_crew():\n    ...\n    return Crew(agents=[...], tasks=[...])\n\ncnb.kickoff(build_crew)"
        if CREW.owns(source) and (project := project_of(source)) is not None:
            instead = f"cnb.kickoff(lambda: {type(project).__name__}().crew())"
        yield Finding(code="unfaithful-copy", severity="error", what=f"{lost}.", where=name, instead=instead)


def _copied(crew: Crew, name: str) -> Iterator[Finding]:
    """What a copy of the crew would get wrong; a factory's crews are not copied."""
    yield from _copied_whole(crew, name)
    managed = [agent for agent in agents_of(crew) if agent is not crew.manager_agent]
    for same in _alike(managed, key=lambda a: a.role):
        yield finding("equal-roles", f"{len(same)} agents with the role {_role(same[0])} in {name}")
    joined = {id(t) for task in crew.tasks if isinstance(task.context, list) for t in task.context}
    for same in _alike(crew.tasks, key=lambda t: (t.description, t.expected_output)):
        if any(id(t) in joined for t in same):
            yield finding("equal-tasks", f"{len(same)} tasks with the text of {_task(same[0])} in {name}")
    written = [f"agent {_role(agent)}" for agent in agents_of(crew) if _is_written(agent, _AGENT_TEXTS)]
    written += [f"task {_task(task)}" for task in crew.tasks if _is_written(task, _TASK_TEXTS)]
    if written:
        yield finding("kicked-off-before", f"{_and(written)} of {name}, with the inputs of a kickoff")


def _shared(crews: list[tuple[str, Crew]]) -> Iterator[Finding]:
    """Agents and LLM objects that several runs would use at once."""
    agents = [(agent, name) for name, crew in crews for agent in agents_of(crew)]
    for uses in _alike(agents, key=lambda use: id(use[0])):
        yield finding("shared-agent", f"agent {_role(uses[0][0])} in {_and(name for _, name in uses)}")
    llms = [(agent.llm, f"agent {_role(agent)} in {name}") for agent, name in agents if agent.llm is not None]
    # CrewAI makes the manager at the kickoff; an LLM that is given by its name is made then, too.
    makers = [(crew, name) for name, crew in crews if crew.manager_agent is None]
    llms += [(c.manager_llm, f"manager_llm of {n}") for c, n in makers if not isinstance(c.manager_llm, str | None)]
    for uses in _alike(llms, key=lambda use: id(use[0])):
        yield finding("shared-llm", f"one {type(uses[0][0]).__name__} for {_and(where for _, where in uses)}")


def _is_written(part: Any, texts: Iterable[str]) -> bool:
    """Whether a kickoff has put inputs into one of its texts."""
    before = ((text, getattr(part, f"_original_{text}", None)) for text in texts)
    return any(given is not None and given != getattr(part, text) for text, given in before)


def _alike(things: Iterable[Any], key: Callable[[Any], Any]) -> list[list[Any]]:
    """Groups of those that have their key in common."""
    groups: dict[Any, list[Any]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return [group for group in groups.values() if len(group) > 1]


def _role(agent: Any) -> str:
    return repr(str(agent.role).strip())


def _task(task: Any) -> str:
    text = " ".join((task.name or task.description).split())
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _and(words: Iterable[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} and {last}" if first else last
