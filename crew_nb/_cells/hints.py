"""`%load_ext crew_nb`: above the errors that newcomers meet, what happened and the line to write instead.

The error itself stays as it is, where it is: a hint is an output of its own, shown before the traceback.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import linecache
import re
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

from crew_nb._crewai.check import finding, inspect_crew
from crew_nb._state.errors import RunFailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import FrameType

    from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

    from crew_nb._crewai.check import Finding

_OUTPUT = "raw|pydantic|json|json_dict|tasks_output|token_usage|to_dict"
"""What is read off a crew's output."""

# A pattern in the error's text, and the pitfall behind it; the first that fits is shown.
_ERRORS = tuple(
    (re.compile(pattern), code)
    for pattern, code in (
        (r"(asyncio\.run|Runner\.run)\(\) cannot be called from a running event loop", "asyncio-run"),
        (r"This event loop is already running|Cannot run the event loop while another loop is running", "asyncio-run"),
        (r"invoked synchronously from within a running event loop", "sync-kickoff"),
        (r"Executor is already running", "shared-agent"),
        (r"CrewKickoffStartedEvent[\s\S]{0,1000}<coroutine object", "async-callback"),
        (r"'coroutine' object (has no attribute|is not (iterable|subscriptable))", "not-awaited"),
        (
            rf"'(_GatheringFuture|_asyncio\.Task)' object (has no attribute '({_OUTPUT})'|is not sub)",
            "gather-not-awaited",
        ),
        (r"execution timed out after \d+ seconds\. Consider increasing max_execution_time", "max-execution-time"),
    )
)

_PATH = re.compile(r"(?<!\w)[A-Za-z_]\w*+(?:\.\w++|\[\d++\])+")
_STEP = re.compile(r"\w+")


# What CrewAI writes into a Crew and a Task that are run, and the pitfall of reading it off those that were only copied.
_FILLED = {
    "usage_metrics": "usage-not-filled",
    "token_usage": "usage-not-filled",
    "output": "output-not-filled",
    "start_time": "times-not-filled",
    "end_time": "times-not-filled",
}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Show hints from now on; `%load_ext crew_nb` calls it."""
    if _after not in shell.events.callbacks["post_run_cell"]:
        shell.events.register("post_run_cell", _after)
        shell.showtraceback = _with_hint(shell.showtraceback)  # type: ignore[method-assign]


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Show no hints any more; `%unload_ext crew_nb` calls it."""
    if _after in shell.events.callbacks["post_run_cell"]:
        shell.events.unregister("post_run_cell", _after)
    if getattr(shell.showtraceback, "shows_hints", False):  # and nobody has put another in its place
        del shell.showtraceback


def hint(error: BaseException) -> Finding | None:
    """What is behind the error and what to write instead, or None where it is not one of those that we know."""
    for link in _chain(error):
        if "NoneType" in str(link) and (found := _unfilled_in(link)):
            return found
        if isinstance(link, AttributeError) and (code := _not_joined(link)):
            handle = _name_of(error, lambda value: value is link.obj) or code.partition("-")[0]  # noqa: B023 - used here
            return finding(code, _place(error), name=link.name, handle=handle)
        text = f"{type(link).__name__}: {link}"
        for pattern, code in _ERRORS:
            if pattern.search(text):
                return finding(_precise(code, error, link), _place(error), **_as_written(link))
    return None


def _with_hint(show: Callable[..., None]) -> Callable[..., None]:
    """What shows a traceback, with the hint above."""

    @functools.wraps(show)
    def showtraceback(exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1]
        with contextlib.suppress(Exception):  # it must not hide the user's error
            if error is not None and _after in _shell().events.callbacks["post_run_cell"]:
                _display(hint(error))
        show(exc_tuple, *args, **options)

    showtraceback.shows_hints = True  # type: ignore[attr-defined]
    return showtraceback


def _after(result: ExecutionResult) -> None:
    """The hint under a cell that ended well and has shown None."""
    if result.error_in_exec is None:
        _display(_unfilled_in_cell(str(getattr(result.info, "raw_cell", ""))))


def _display(found: Finding | None) -> None:
    if found is None:
        return
    from IPython.display import display

    from crew_nb._state.html import el

    html = el("div", found.html("Hint"), class_="crew-nb")
    display({"text/plain": found.text("Hint"), "text/html": html}, raw=True)  # type: ignore[no-untyped-call]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, those it was raised from, and those it groups."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or any(link is s for s in seen):
            continue
        seen.append(link)
        yield link
        waiting += [link.__cause__, link.__context__]
        waiting += link.exceptions if isinstance(link, BaseExceptionGroup) else ()


def _precise(code: str, error: BaseException, link: BaseException) -> str:
    """The pitfall by what was called on the way to the error."""
    frames = [frame for frame, _ in _frames(link)]
    if code == "asyncio-run" and any(_module(frame).partition(".")[0] == "uvicorn" for frame in frames):
        return "uvicorn-run"
    if code == "sync-kickoff" and any(f.f_code.co_qualname == "Crew.kickoff_for_each" for f in frames):
        return "sync-kickoff-for-each"
    if code == "shared-agent":
        # A run of ours has agents of its own, so that only its own tasks can share one.
        ours = any(isinstance(e, RunFailedError) for e in _chain(error))
        owners = [f.f_locals.get("self") for f in frames if f.f_code.co_qualname.startswith("Crew._")]
        crews: list[Any] = [owner for owner in owners if hasattr(owner, "tasks")]
        if ours or any(f.code == "agent-on-two-async-tasks" for crew in crews for f in inspect_crew(crew)):
            return "agent-on-two-async-tasks"
    return code


def _not_joined(error: AttributeError) -> str:
    """The pitfall, where an output or results were asked of a handle of ours; empty for any other error."""
    if not str(type(error.obj).__module__).startswith("crew_nb."):
        return ""  # nothing of ours is imported for it
    from crew_nb._handles.batch import Batch
    from crew_nb._handles.results import Results
    from crew_nb._handles.run import Run

    if isinstance(error.obj, Run) and error.name in _OUTPUT.split("|"):
        return "run-not-joined"
    return "batch-not-joined" if isinstance(error.obj, Batch) and error.name in dir(Results) else ""


def _unfilled_in(error: BaseException) -> Finding | None:
    """The pitfall, where something was read off an object of the user's that no run of ours has filled."""
    frame, line = None, 0
    for frame, line in _frames(error):  # noqa: B007 - the last of them
        pass
    if frame is None:
        return None
    text = linecache.getline(frame.f_code.co_filename, line)
    scope = {**frame.f_globals, **frame.f_locals}
    return _unfilled(_PATH.findall(text), scope, _place(error))


def _unfilled_in_cell(cell: str) -> Finding | None:
    """The same of a cell that ended well: it has shown None."""
    if not any(f".{name}" in cell for name in _FILLED):
        return None
    for number, line in enumerate(cell.splitlines(), 1):
        paths = _PATH.findall(line)
        if found := _unfilled(paths, getattr(_shell(), "user_ns", {}), f"line {number}: {line.strip()}"):
            return found
    return None


def _unfilled(paths: Iterable[str], scope: Mapping[str, Any], where: str) -> Finding | None:
    """The first of such paths (`crew.tasks[0].output.raw`) that reads what is empty in a Crew or a Task."""
    if "crew_nb._handles.batch" not in sys.modules:  # nothing of ours has run
        return None
    for path in paths:
        name, *steps = _STEP.findall(path)
        thing = scope.get(name)
        for step in steps:
            kind: Any = type(thing)
            ours = kind.__module__.startswith("crewai.") and hasattr(kind, "model_fields")
            if ours and step in _FILLED and step in kind.model_fields and vars(thing).get(step) is None:
                crews = (v for v in list(scope.values()) if hasattr(type(v), "model_fields"))
                tasks = next((t for c in crews if (t := vars(c).get("tasks")) and any(thing is x for x in t)), [thing])
                return finding(_FILLED[step], where, place=next((n for n, t in enumerate(tasks) if t is thing), 0))
            if isinstance(thing, list) and step.isdecimal() and int(step) < len(thing):
                thing = thing[int(step)]
            else:  # no property is run
                thing = getattr(thing, "__dict__", {}).get(step)
    return None


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _place(error: BaseException) -> str:
    """The line of the cell that led to the error."""
    user = getattr(_shell(), "user_ns", None)
    for frame, line in _frames(error):
        if frame.f_globals is user:
            return f"line {line}: {linecache.getline(frame.f_code.co_filename, line).strip()}"
    return "this cell"


def _as_written(error: BaseException) -> dict[str, str]:
    """The lines to write in the user's own words, as far as the cell has them."""
    words = {"coroutine": "main()"}
    if name := _awaitable(error):
        words |= {"awaited": f"output = await {name}", "gathered": f"results = await {name}"}
    for source, call in _written(error):
        if not isinstance(call, ast.Call):
            continue
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if given and (first := ast.get_source_segment(source, given[0])):
            words["coroutine"] = first
        if found := _kickoff(source, call, ("kickoff",)):
            words["kickoff"] = f"cnb.kickoff({', '.join(found)})"
        if found := _kickoff(source, call, ("kickoff_for_each",)):
            words["each"] = f"cnb.kickoff_for_each({', '.join(found)})"
        if all(pairs := [_kickoff(source, each, ("akickoff", "kickoff_async")) for each in call.args]) and pairs:
            crews = (f"({crew}, {rest[0].removeprefix('inputs=')})" if rest else crew for crew, *rest in pairs)
            words["gather"] = f"cnb.gather({', '.join(crews)})"
    return words


def _kickoff(source: str, call: ast.expr, names: Iterable[str]) -> list[str]:
    """The crew and the arguments of such a call, as they are written; empty for any other."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in names:
        return []
    return [str(ast.get_source_segment(source, part)) for part in (call.func.value, *call.args)] + [
        f"{keyword.arg}={ast.get_source_segment(source, keyword.value)}" for keyword in call.keywords
    ]


def _awaitable(error: BaseException) -> str:
    """The user's name for what was used before it was awaited; empty where it has none, or is a loop's."""
    for source, found in _written(error):
        used = found.value if isinstance(found, ast.Attribute | ast.Subscript) else found
        if isinstance(used, ast.Name) and f"for {used.id} in" not in _cell(error):
            return str(ast.get_source_segment(source, used))
    return ""


def _cell(error: BaseException) -> str:
    """The code of the cell that led to the error."""
    user = getattr(_shell(), "user_ns", None)
    file = next((frame.f_code.co_filename for frame, _ in _frames(error) if frame.f_globals is user), "")
    return "".join(linecache.getlines(file))


def _written(error: BaseException) -> Iterator[tuple[str, ast.expr]]:
    """The expressions in the cell that led to the error, with the source that they stand in."""
    user = getattr(_shell(), "user_ns", None)
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if step.tb_frame.f_globals is user:
            source = _source(code.co_filename, next(islice(code.co_positions(), step.tb_lasti // 2, None)))
            with contextlib.suppress(SyntaxError, ValueError):
                found = ast.parse(source, mode="eval").body
                yield source, found.value if isinstance(found, ast.Await) else found
        step = step.tb_next


def _source(file: str, place: tuple[int | None, int | None, int | None, int | None]) -> str:
    """What stands there."""
    first, last, start, end = place
    if first is None or last is None or start is None or end is None:
        return ""
    lines = [linecache.getline(file, line).encode() for line in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    return b"".join(lines).decode(errors="replace")


def _name_of(error: BaseException, fits: Callable[[object], bool]) -> str:
    """The user's name for such a value, in the line that led to the error; empty where it has none."""
    user = getattr(_shell(), "user_ns", None)
    for frame, line in _frames(error):
        if frame.f_globals is user:
            for name in _STEP.findall(linecache.getline(frame.f_code.co_filename, line)):
                if fits({**frame.f_globals, **frame.f_locals}.get(name)):
                    return str(name)
    return ""


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame, step.tb_lineno
        step = step.tb_next


def _shell() -> Any:
    from IPython.core.getipython import get_ipython

    return get_ipython()
