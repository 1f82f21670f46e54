"""State to the small JSON that the board draws; pure, of bounded size, and without characters that break a comm.

Times are seconds since the batch was created, so that they stay short; `now` in the summary sets the browser's clock.
"""

from __future__ import annotations

import csv
import heapq
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from crew_nb._board.markdown import being_said, in_a_line, open_fence, render, so_far
from crew_nb._board.summary import calls as calls_text
from crew_nb._board.summary import edge_text, summarize
from crew_nb._state.plain import plain
from crew_nb._state.state import as_run_here
from crew_nb._state.words import one_line, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crew_nb._board.summary import Tally
    from crew_nb._state.state import BatchState, Call, RunState, TaskState, Wait

Json = dict[str, Any]
ExportFormat = Literal["md", "json", "csv"]
SAID = 4_000
"""Characters of what an LLM is saying that an opened row shows, rendered anew as often as it is drawn."""
WholeForm = Literal["text", "html"]

TAIL = 160
"""Characters of text that a closed row shows."""
LABEL = 200
DRAFT = 1_500
"""Characters of a draft that a person is asked about."""
CARD = 6_000
FIELDS = 60
"""Fields of a structured output that a card shows."""
PARSED = 1_000_000
"""Characters of a structured output that are read to find its fields."""
DETAIL_BYTES = 30_000
_HEADING = re.compile(r"#{1,6} ")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How words begin that a spreadsheet program takes for a formula."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?%?")
INSIDE = 12
"""Tasks that the steps of a run have begun, of which its opened row shows the newest where there is too little room."""
LANE_SPANS = 300
LOG_LINES = 250
"""Lines of the log in a frozen board."""


def summary(state: BatchState, now: float, tally: Tally | None = None) -> Json:
    """What the head of the board says of the whole batch.

    Args:
        state: The batch.
        now: Unix seconds.
        tally: What the last summary of this batch has counted.
    """
    facts = summarize(state, now, tally)
    return {
        "key": readable(state.key),
        "name": one_line(state.name, LABEL),
        "total": facts.total,
        "counts": {status: count for status, count in facts.counts.items() if count},
        "created": round(state.created, 3),
        "finished": _at(state.finished, state.created),
        "paused": state.paused,
        "notes": [one_line(note, 300) for note in state.notes[-5:]],
        "limit": state.max_concurrency,
        "limit_reason": one_line(state.limit_reason, LABEL),
        "in_flight": state.in_flight,
        "elapsed": round(facts.elapsed, 1),
        "idle": [[_at(start, state.created), _at(end, state.created)] for start, end in facts.idle],
        "eta": None if facts.eta is None else round(facts.eta, 1),
        "tokens": facts.tokens,
        "saved": facts.saved,
        "cost": None if facts.cost is None else round(facts.cost, 6),
        "projected_cost": None if facts.projected_cost is None else round(facts.projected_cost, 6),
        "unpriced_calls": facts.unpriced_calls,
        "speedup": None if facts.speedup is None else round(facts.speedup, 1),
        "offline": facts.offline,
        "worked": round(facts.worked, 1),
        "at_work": round(facts.at_work, 1),
        "from_record": facts.from_record,
        "dropped_calls": facts.dropped_calls,
    }


def shape(run: RunState) -> list[Json]:
    """The tasks of a crew as they were planned; the same for all runs of one blueprint, so it is sent once."""
    return [
        _slim(
            name=one_line(t.spec.name, 80) or f"task {place + 1}",
            agent=one_line(t.spec.agent, 80),
            joins=list(t.spec.joins),
            joined=one_line(edge_text(run, place), 80),
            is_async=t.spec.is_async,
            is_step=t.spec.is_step,
            asks_human=t.spec.asks_human,
        )
        for place, t in enumerate(run.own_tasks)
    ]


def row(run: RunState, origin: float, shape: int) -> Json:
    """One closed row of the board.

    Args:
        run: The run.
        origin: Unix seconds from which times are counted.
        shape: Number of its tasks' shape.
    """
    stopped = run.status == "cancelled"
    busy = _at_work_inside(run)
    return _slim(
        index=run.index,
        label=one_line(run.label, LABEL),
        cells={one_line(c.name, 60): one_line(c.value, LABEL) for c in run.columns} or None,
        status=run.status,
        shape=shape,
        attempt=run.attempt if run.attempt > 1 else None,
        queued=_at(run.queued, origin),
        started=_at(run.started, origin),
        finished=_at(run.finished, origin),
        last=None if run.final else _at(run.last_event, origin),
        tokens=run.usage.total_tokens,
        saved=run.saved.total_tokens or None,
        cost=run.cost,
        tasks=[_task(t, origin, busy.get(place, t)) for place, t in enumerate(run.own_tasks)],
        call=_running(run.calls),
        waits=[_wait(run, w, origin) for w in run.waits[:4]],
        error=None if run.error is None or stopped else one_line(f"{run.error.type}: {run.error.message}", 2 * TAIL),
        stopped=one_line(_why_stopped(run), 2 * TAIL) if stopped else None,
        said=in_a_line(_without_heading(run.output), TAIL) if run.status == "done" else None,
        offline=run.offline,
        from_record=run.from_record,
        recorded=run.recorded_calls > 0,
        dropped_calls=run.dropped_calls,
        worker=one_line(run.worker, 60),
    )


def _without_heading(text: str) -> str:
    """The text without a heading that more follows: it mostly says the inputs again."""
    heading, _, rest = text.lstrip().partition("\n")
    return rest if _HEADING.match(heading) and (rest := rest.lstrip()) else text


def _at_work_inside(run: RunState) -> dict[int, TaskState]:
    """By the place of each step, what runs in it now: of several, the one that speaks, or the newest."""
    found: dict[int, TaskState] = {}
    for place, task in enumerate(run.tasks):
        step = run.own_place(place)
        if step is not None and step != place and task.status in ("running", "waiting"):
            known = found.get(step)
            if known is None or task.text or not known.text:
                found[step] = task
    return found


def _task(task: TaskState, origin: float, busy: TaskState) -> Json:
    """A task of a closed row; `busy` is itself, or what runs in it."""
    return _slim(
        status=task.status,
        started=_at(task.started, origin),
        finished=_at(task.finished, origin),
        rounds=task.rounds if task.rounds > 1 else None,
        taken_over=task.taken_over,
        text=being_said(busy.text, TAIL) if busy.text else None,
        tool=one_line(busy.tool or task.tool, 60) or None,
        call=_running(busy.calls) or _running(task.calls),
        error=one_line(task.error, TAIL) if task.error else None,
    )


def _running(calls: tuple[Call, ...]) -> str | None:
    name = next((c.name for c in reversed(calls) if c.kind == "llm" and c.finished is None), None)
    return one_line(name, 60) if name else None


def _wait(run: RunState, wait: Wait, origin: float) -> Json:
    person = wait.reason == "person"
    return _slim(
        key=wait.key,
        reason=wait.reason,
        since=_at(wait.since, origin),
        until=_at(wait.until, origin),
        detail=one_line(wait.detail, LABEL) or None,
        task=run.own_place(wait.task),
        draft=_cut(_draft(run, wait), DRAFT) if person else None,
    )


def _draft(run: RunState, wait: Wait) -> str:
    if wait.task is None or not 0 <= wait.task < len(run.tasks):
        return ""
    task = run.tasks[wait.task]
    said = (c.output for c in reversed(task.calls) if c.kind == "llm" and c.output)
    return task.output or task.text or next(said, "")


def lane(run: RunState, origin: float) -> Json:
    """The spans of a run for the timeline: what each task did when; the last `LANE_SPANS` of them."""
    run = as_run_here(run)
    spans = sorted(
        ((c, place) for place, calls in [(-1, run.calls), *enumerate(t.calls for t in run.tasks)] for c in calls),
        key=lambda pair: pair[0].started,
    )
    kept = spans[-LANE_SPANS:]
    waiting = [
        {
            "kind": "wait",
            "task": -1 if w.task is None else run.own_place(w.task),
            "name": w.reason,
            "started": _at(w.since, origin),
        }
        for w in run.waits
    ]
    return {
        "spans": [
            _slim(
                kind=c.kind,
                task=run.own_place(place),
                name=one_line(c.name, 60),
                status=None if c.status == "done" else c.status,
                started=_at(c.started, origin),
                finished=_at(c.finished, origin),
                tokens=c.usage.total_tokens,
                detail=one_line(c.detail, 80) or None if c.kind != "llm" else None,
            )
            for c, place in kept
        ]
        + waiting,
        "left_out": len(spans) - len(kept),
    }


def card(run: RunState) -> Json:
    """The outcome of a run for the results: as text, and as HTML that Python has sanitized."""
    text = run.output
    if not text and run.error is None:
        return {}
    if run.error is not None and not text:
        hint = one_line(run.error.hint, 300)
        if run.status == "cancelled":
            return {"stopped": one_line(_why_stopped(run), 600), "hint": hint}
        return {"error": one_line(f"{run.error.type}: {run.error.message}", 600), "hint": hint}
    if len(text) > CARD and (found := _fields(text, CARD)) is not None:
        values, left_out = found
        return {"text": readable(text[:CARD]), "fields": values, "left_out": left_out}
    return {"text": readable(text[:CARD]), "html": _html(text[:CARD]), "left_out": max(0, len(text) - CARD)}


def _fields(text: str, room: int) -> tuple[dict[str, str], int] | None:
    """The fields of a structured output, the long ones cut shorter until all fit, and the characters left out."""
    if not text.lstrip().startswith("{") or len(text) > PARSED:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    whole = {
        one_line(name, 80): readable(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False))
        for name, v in value.items()
    }
    kept = dict(list(whole.items())[:FIELDS])
    limit = room
    while limit > 1 and sum(len(name) + min(len(v), limit) for name, v in kept.items()) > room:
        limit //= 2
    values = {name: v if len(v) <= limit else v[: limit - 1] + "…" for name, v in kept.items()}
    return values, sum(map(len, whole.values())) - sum(map(len, values.values()))


def whole(run: RunState, form: WholeForm) -> str:
    """The output of a run, which a card has cut: as text, or as HTML that is rendered and sanitized here."""
    return render(run.output) if form == "html" else readable(run.output)


def _why_stopped(run: RunState) -> str:
    """Why a run was stopped; empty where somebody just did."""
    if run.error is None:
        return ""
    reason = run.error.message.removeprefix(f"run {run.index} ({run.label}) ")
    return "" if reason in ("stopped", "cancelled") else reason


def detail(run: RunState, origin: float, room: int = DETAIL_BYTES) -> Json:
    """Everything that happened in a run, for its opened row.

    Long texts are cut, and say by how much; they are cut shorter until the whole is within `room` bytes of JSON.
    """
    limit, calls, inside = 12_000, 60, len(run.tasks)
    while True:
        view = _detail(run, origin, limit, calls, inside)
        if (limit <= 100 and inside <= INSIDE) or size(view) <= room:
            return view
        limit, calls, inside = max(100, limit // 2), max(6, calls // 2), max(INSIDE, inside // 2)


def _detail(run: RunState, origin: float, limit: int, most: int, inside: int) -> Json:
    """What a run did; of the tasks that its steps have begun, the newest `inside`."""
    tokens = [sum(c.usage.total_tokens for c in task.calls) for task in run.tasks]
    for place in range(len(run.tasks) - 1, -1, -1):  # a step comes before what it begins
        parent = run.tasks[place].spec.parent
        if parent is not None:
            tokens[parent] += tokens[place]
    own = len(run.own_tasks)
    final = _final_task(run)
    first = max(own, len(run.tasks) - inside)
    left_out = Counter(run.own_place(place) for place in range(own, first))

    def whole(place: int, task: TaskState) -> Json:
        parent = task.spec.parent
        is_final = final is not None and (place == final or (parent is not None and task.output == run.output))
        is_parents = parent is not None and bool(task.output) and task.output == _given(run.tasks[parent])
        return _slim(
            agent=one_line(task.agent, 120),
            status=task.status,
            started=_at(task.started, origin),
            finished=_at(task.finished, origin),
            rounds=task.rounds if task.rounds > 1 else None,
            taken_over=task.taken_over,
            tokens=tokens[place],
            text=_being_said(task.text, limit) if task.text else None,
            output=_shown(_given(task), limit) if _given(task) and not (is_final or is_parents) else None,
            is_final=is_final,
            is_parents=is_parents and not is_final,
            error=_cut(task.error, limit) if task.error else None,
            calls=[_call(c, origin, limit // 4) for c in task.calls[-most:]],
            calls_left_out=max(0, len(task.calls) - most),
            inside_left_out=left_out[place] or None,
        )

    tasks = [whole(place, task) for place, task in enumerate(run.tasks[:own])]
    found = [
        {
            "place": place,
            "name": one_line(task.spec.name, 80),
            "parent": _shown_parent(run, place, own, first),
            "crew": task.spec.crew,
            **_slim(
                joined=one_line(edge_text(run, place), 80) if task.spec.is_step else None, is_step=task.spec.is_step
            ),
            **whole(place, task),
        }
        for place, task in enumerate(run.tasks[first:], first)
    ]
    stopped = run.status == "cancelled"
    error = None if stopped else run.error
    return _slim(
        index=run.index,
        status=run.status,
        label=_cut(run.label, 2_000),
        why=one_line(run.why, 300) if run.path == "stock" else None,
        worker=one_line(run.worker, 60),
        tasks=tasks,
        inside=found,
        calls=[_call(c, origin, limit // 4) for c in run.calls[-most:]],
        calls_left_out=max(0, len(run.calls) - most),
        output=_shown(run.output, limit) if run.output else None,
        log=[
            _slim(at=_at(line.at, origin), task=line.task, text=_cut(line.text, max(80, limit // 24)))
            for line in run.log[-most:]
        ],
        log_left_out=max(0, len(run.log) - most),
        stopped=_cut(_why_stopped(run), limit) if stopped else None,
        hint=one_line(run.error.hint, 600) if stopped and run.error is not None else None,
        error=None
        if error is None
        else _slim(
            type=one_line(error.type, 120),
            message=_cut(error.message, limit),
            traceback=_cut(error.traceback, limit, keep_end=True) if error.traceback else None,
            hint=one_line(error.hint, 600),
        ),
    )


def _given(task: TaskState) -> str:
    """Its output; none while it is in another round."""
    return "" if task.spec.is_step and task.status in ("running", "waiting") else task.output


def _shown_parent(run: RunState, place: int, own: int, first: int) -> int | None:
    """What it runs in, or where that is left out, the step around all of it."""
    parent = run.tasks[place].spec.parent
    return parent if parent is None or parent < own or parent >= first else run.own_place(place)


def _final_task(run: RunState) -> int | None:
    """The task whose output is that of the run; of a flow, the step that ended last with it."""
    same = [place for place, t in enumerate(run.own_tasks) if run.output and t.output == run.output]
    if same and not run.tasks[same[-1]].spec.is_step:
        return same[-1] if same[-1] == len(run.own_tasks) - 1 else None
    return max(same, key=lambda place: run.tasks[place].finished or 0.0, default=None)


def _call(call: Call, origin: float, limit: int) -> Json:
    return _slim(
        kind=call.kind,
        name=one_line(call.name, 80),
        status=call.status,
        started=_at(call.started, origin),
        finished=_at(call.finished, origin),
        agent=one_line(call.agent, 80),
        attempt=call.attempt if call.attempt > 1 else None,
        tokens=call.usage.total_tokens,
        cost=call.cost,
        detail=_cut(call.detail.strip("\n"), limit) if call.detail else None,
        output=_cut(call.output.strip("\n"), limit) if call.output else None,
    )


def _cut(text: str, limit: int, *, keep_end: bool = False) -> Json:
    kept = text[-limit:] if keep_end else text[:limit]
    return _slim(text=readable(kept), left_out=len(text) - len(kept))


def _being_said(text: str, limit: int) -> Json:
    """The end of what an LLM is saying, from the beginning of a line."""
    kept = text[-min(limit, SAID) :]
    if (cut := len(text) - len(kept)) and "\n" in kept:
        kept = kept.partition("\n")[2]
        cut = len(text) - len(kept)
    fence = open_fence(text[:cut])
    return {"html": render(so_far(f"{fence}\n{kept}" if fence else kept)), "left_out": cut}


def _shown(text: str, limit: int) -> Json:
    return {"html": _html(text[:limit]), "left_out": max(0, len(text) - limit)}


@lru_cache(maxsize=128)
def _html(text: str) -> str:
    # Rendering is the one slow step here, and an opened row asks for the same texts five times a second.
    return render(text)


def log(run: RunState, origin: float) -> list[Json]:
    """What happened in a run, a line each, in order; of one that came from the record, only that it did."""
    run = as_run_here(run)
    lines: list[tuple[float, str, str]] = [(run.queued, "queued", "queued")]
    again = f", attempt {run.attempt}" if run.attempt > 1 else ""
    if run.started is not None:
        lines.append((run.started, "running", f"started{again}"))
    for call in run.calls:
        lines += _said(call, "")
    for task in run.tasks:
        name = one_line(task.spec.name, 60)
        if task.taken_over:
            lines.append((run.queued if task.finished is None else task.finished, "done", f"{name}: taken over"))
        elif task.started is not None:
            by = f" by {one_line(task.agent, 60)}" if task.agent else ""
            lines.append((task.started, "running", f"{name}: started{by}"))
        for call in task.calls:
            lines += _said(call, f"{name}: ")
        if task.finished is not None and not task.taken_over:
            words = {
                "failed": f"failed: {one_line(task.error, TAIL)}",
                "skipped": "skipped, its condition did not hold",
            }
            lines.append((task.finished, task.status, f"{name}: {words.get(task.status, task.status)}"))
    for said in run.log:
        known = said.task is not None and 0 <= said.task < len(run.tasks)
        name = f"{one_line(run.tasks[said.task].spec.name, 60)}: " if known else ""  # type: ignore[index]
        lines.append((said.at, "log", f"{name}{one_line(said.text, 2 * TAIL)}"))
    for wait in run.waits:
        lines.append((wait.since, "waiting", _waits(wait.reason, wait.detail)))
    if run.finished is not None:
        lines.append((run.finished, run.status, _ending(run)))
    lines.sort(key=lambda line: line[0])
    return [{"at": _at(at, origin), "run": run.index, "status": status, "text": text} for at, status, text in lines]


class Lines(dict[int, "tuple[RunState, list[Json]]"]):
    """The lines of runs as they were, so that only those of a run that changed are written again."""

    def of(self, run: RunState, origin: float) -> list[Json]:
        """The lines of one run."""
        known = self.get(run.index)
        if known is None or known[0] is not run:
            known = self[run.index] = (run, log(run, origin))
        return known[1]


def newest(runs: Sequence[RunState], origin: float, limit: int, known: Lines | None = None) -> tuple[list[Json], bool]:
    """The newest lines of all runs in order, at most `limit` (from 1), and whether there are earlier ones.

    Runs are looked at from the one that spoke last, and only as far as they can have one of these lines.
    """
    known = Lines() if known is None else known
    kept: list[tuple[float, int, int, Json]] = []
    for run in sorted(runs, key=lambda r: r.last_event, reverse=True):
        if len(kept) >= limit and _at(run.last_event, origin) < kept[0][0]:  # type: ignore[operator]
            return [line for *_, line in sorted(kept)], True
        for place, line in enumerate(known.of(run, origin)):
            item = (line["at"], run.index, place, line)
            if len(kept) < limit:
                heapq.heappush(kept, item)
            else:
                heapq.heappushpop(kept, item)
    return [line for *_, line in sorted(kept)], False


def _said(call: Call, prefix: str) -> list[tuple[float, str, str]]:
    what = {"llm": "LLM", "tool": "tool", "wait": ""}[call.kind]
    name = one_line(call.name, 60)
    took = 0.0 if call.finished is None else call.finished - call.started
    if call.kind == "wait":
        return [
            (call.started, "waiting", f"{prefix}{_waits(call.name, call.detail)}"),
            (call.started + took, "running", f"{prefix}went on after {took:.1f} s"),
        ]
    detail = f": {one_line(call.detail, 80)}" if call.kind == "tool" and call.detail else ""
    lines = [(call.started, "running", f"{prefix}{what} {name} called{detail}")]
    if call.finished is not None:
        spent = f", {call.usage.total_tokens:,} tokens" if call.usage.total_tokens else ""
        end = {
            "done": f"answered in {took:.1f} s{spent}",
            "failed": f"failed after {took:.1f} s: {one_line(call.output, TAIL)}",
        }.get(call.status, f"stopped after {took:.1f} s")
        lines.append((call.finished, call.status, f"{prefix}{what} {name} {end}"))
    return lines


def _waits(reason: str, detail: str) -> str:
    return f"waits for {_FOR.get(reason, reason)}" + (f": {one_line(detail, LABEL)}" if detail else "")


_FOR = {
    "rate limit": "the rate limit",
    "retry": "another try",
    "person": "a person",
    "pause": "the end of the pause",
    "slot": "a free place",
}


def _ending(run: RunState) -> str:
    if run.status == "failed" and run.error is not None:
        return f"failed: {one_line(f'{run.error.type}: {run.error.message}', 2 * TAIL)}"
    if run.from_record:
        return f"{run.status}, from the record"
    if run.dropped_calls:
        return f"{run.status}; {calls_text(run.dropped_calls)} could not be stopped, the answers are dropped"
    if run.status == "cancelled" and (why := _why_stopped(run)):
        return f"cancelled: {one_line(why, 2 * TAIL)}"
    return run.status


def export(state: BatchState, rows: Sequence[Json], fmt: ExportFormat) -> str:
    """The outcomes of all runs, whole, as one file in Markdown, JSON or CSV.

    Args:
        state: The batch.
        rows: A row per run, of any values.
        fmt: The file's format.
    """
    if fmt == "md":
        parts = [f"# {readable(state.name) or 'Results'}\n"]
        for r in state.runs:
            error = f"{r.error.type}: {r.error.message}" if r.error else ""
            parts.append(f"## {r.index}: {readable(r.label)}\n\n{readable(r.output or error) or r.status}\n")
        return "\n".join(parts)
    table = [{readable(name): _told(name, value) for name, value in row.items()} for row in rows]
    if fmt == "json":
        return json.dumps(table, ensure_ascii=False, indent=2) + "\n"
    out = io.StringIO()
    file = csv.DictWriter(out, fieldnames=list(dict.fromkeys(name for row in table for name in row)) or ["run"])
    file.writeheader()
    file.writerows({name: _cell(value) for name, value in row.items()} for row in table)
    return out.getvalue()


def _told(name: str, value: object) -> object:
    """The value as JSON that people read: without what says how to build it again; a moment as ISO 8601."""
    if name in ("started", "finished") and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).isoformat()
    return _untagged(plain(value, readable))


def _untagged(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_untagged(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "$" not in tree:
        return {name: _untagged(item) for name, item in tree.items()}
    pairs = tree["v"] if tree["$"] == "dict" else None
    return _untagged(tree["v"]) if pairs is None else {str(_untagged(k)): _untagged(v) for k, v in pairs}


def _cell(value: object) -> object:
    """The value, an object as JSON; with a mark before words that a spreadsheet program would run as a formula."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    runs = isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    return f"'{value}" if runs else value


def size(value: object) -> int:
    """Bytes that the value takes on the wire, as Jupyter packs it."""
    return len(json.dumps(value, ensure_ascii=False).encode())


def _at(at: float | None, origin: float) -> float | None:
    return None if at is None else round(at - origin, 3)


def _slim(**fields: Any) -> Json:
    """The fields without those that say nothing; zero is a time, and stays."""
    return {k: v for k, v in fields.items() if v is not None and v is not False and v != "" and v != []}
