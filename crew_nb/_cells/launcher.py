"""`cnb.launcher`: the form that launches. What it starts, it starts as the verbs do, and the code it shows says so.

Messages from the browser come on any thread; they only read the form, start a batch or hand on a command, so that the
kernel's loop is never held.
"""

from __future__ import annotations

import base64
import contextvars
import functools
import time
import uuid
import weakref
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Unpack

from crew_nb._cells import code as _code
from crew_nb._cells import display as _display
from crew_nb._cells import estimate as _estimate
from crew_nb._cells import form as _form
from crew_nb._cells import verbs as _notebook
from crew_nb._cells.controls import CONTROLS, HELD, holds, in_a_form, value_of, words_for
from crew_nb._cells.sheet import Form, Sheet
from crew_nb._cells.uploads import Uploads
from crew_nb._crewai import blueprint as _blueprint
from crew_nb._crewai import startable as _startable
from crew_nb._engine.engine import engine
from crew_nb._state import loop as _loop
from crew_nb._state.errors import BlueprintError, CrewNbError, NotFinishedError, OptionError
from crew_nb._state.html import Html, el, join
from crew_nb._state.options import Options, options
from crew_nb._state.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crew_nb._cells.form import Field, Row
    from crew_nb._cells.verbs import BatchOptions
    from crew_nb._crewai.startable import CrewLike
    from crew_nb._handles.batch import Batch


LINGER_SECONDS = 300.0
"""How long the form stays after the end of its batch and the last touch: longer than a board, for it is used again."""

STATIC_ROWS = 50
"""Rows of inputs in the static form."""


_reads: weakref.WeakKeyDictionary[Batch, Uploads] = weakref.WeakKeyDictionary()
"""Batches that may read uploads, now or when they are tried again."""


@dataclass
class _Kept:
    """What a cell's form holds, for when the cell is run again."""

    given: Any
    own: set[str]
    """Names of the crew's own fields."""
    rows: list[Row]
    options: dict[str, str]
    batch: Batch | None = None
    tried: Batch | None = None
    """The first rows, while the rest has not been run."""
    seen: _estimate.Measured | None = None
    """What the newest runs took."""
    uploads: Uploads = field(default_factory=Uploads)
    launcher: Launcher | None = None
    """Whose form shows it."""
    execution: object = None
    """The run of the cell that made that one."""

    def follow(self, batch: Batch) -> None:
        """Let whoever shows the form hear of the batch; once for each, however often the cell is run again."""

        def changed() -> None:
            if self.launcher is not None:
                self.launcher._changed(batch)

        async def ended() -> None:
            if self.launcher is not None:
                self.launcher._ended(batch)

        _reads[batch] = self.uploads
        batch.observe(changed, ended)


_kept: dict[tuple[str, str], _Kept] = {}
"""By cell and crew, for the life of the kernel; never on disk."""


class Launcher:
    """The handle of a form: `launcher.batch` is its newest batch, `launcher.inputs` what its rows mean."""

    def __init__(self, crew: CrewLike, inputs: Any = None, **given: Unpack[BatchOptions]) -> None:
        chosen = options(**given)
        self.crew = crew
        """The crew or factory as it was given."""
        self._place = _loop.where()
        self._is_live = self._place.kind == "kernel" and not self._place.headless
        self._context = contextvars.copy_context()
        self._startable = _startable.startable(crew)
        self._shape = _form.shape(self._startable)
        self._fixed = {name: value for name, value in given.items() if not holds(name, value)}
        fields, rows = _form.given(self._shape.fields, inputs) if inputs is not None else (self._shape.fields, [{}])
        words = {name: words_for(value) for name, value in given.items() if holds(name, value)}
        self._kept = self._recall((rows if inputs is not None else None, words), rows, words)
        self._fields = _form.with_columns(fields, [name for row in self._kept.rows for name in row])
        self._parts: list[str] = []
        self._outputs: list[_display.Output] = []
        self._shown_in: object = None
        self._heir: Launcher | None = None
        """The launcher of the same cell, when that was run again."""
        self.form: Sheet = (Form if self._is_live else Sheet)(
            title=self._shape.title,
            fields=self._columns(),
            controls=[
                {"name": name, "label": label, "empty": empty, "kind": kind, "main": main}
                for name, label, empty, kind, main in CONTROLS
            ],
            rows=self._kept.rows,
            options=self._kept.options,
        )
        self.form.heard = self._heard
        self.form.counts = self._counts
        self.form.observe(self._edited, ["rows", "options", "shows_code"])
        self._estimate()
        self._box: Any = self._boxed() if self._is_live else None
        if isinstance(self.form, Form):
            _display.pace(self.form)
        before, self._kept.launcher = self._kept.launcher, self
        if self._kept.batch is not None:
            self._watch(self._kept.batch)
        if before is not None:
            before._retire(self)
        if chosen.show:
            self._show()

    def _recall(self, given: Any, rows: list[Row], words: dict[str, str]) -> _Kept:
        """What the form of this cell had when it was last run, unless other inputs are given now.

        Nothing where the front end does not say which cell it is: another one would have it as well.
        """
        own = {f.name for f in self._shape.fields}
        kept = new = _Kept(given, own, rows, words, execution=_execution())
        if self._place.cell_id:
            key = (self._place.cell_id, self._shape.title)
            kept = _kept.get(key, new)
            if kept is not new and kept.execution is not None and kept.execution == new.execution:
                return new  # the second one in this cell
            if kept.given != given:
                new.launcher = kept.launcher
                kept = new
            _kept[key] = kept
            kept.execution = new.execution
        gone = kept.own - own  # the crew may have other placeholders now than when the words were typed
        kept.rows = [{name: words for name, words in row.items() if name not in gone} for row in kept.rows]
        kept.own = own
        return kept

    def _retire(self, heir: Launcher) -> None:
        """The cell was run again and has another form: what still shows this one becomes static, and it is closed."""
        self._heir = heir
        for output in self._outputs:
            output.close()
        self._outputs.clear()
        if isinstance(self.form, Form):
            if heir._kept.batch is not self._kept.batch:
                self._lay_aside()
            for widget in (self._box, self._box.layout, self.form):
                widget.close()

    @property
    def batch(self) -> Batch:
        """The handle of the newest batch.

        Raises:
            NotFinishedError: Nothing has been started yet.
        """
        if self._kept.batch is None:
            raise NotFinishedError("nothing has been started yet. Press Run in the form first, then run this cell.")
        return self._kept.batch

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What the rows mean now, one dict per run; cells that mean nothing are left out."""
        return self._inputs([row for row in self._rows() if not _form.is_blank(row)])[0]

    def _inputs(self, rows: list[Row]) -> tuple[list[dict[str, Any]], dict[int, dict[str, str]]]:
        """The inputs, with files read where their content is asked for, and what is wrong in them."""
        inputs, wrong = _form.inputs_of(self._fields, rows)
        for name in (f.name for f in self._fields if f.reads):
            for place, row in enumerate(inputs):
                if name in row:
                    path = row[name]
                    try:
                        row[name] = path.read_bytes()
                    except OSError as error:
                        del row[name]
                        wrong.setdefault(place, {})[name] = f"{path} cannot be read: {error.strerror}."
        return inputs, wrong

    def __repr__(self) -> str:
        batch = self._kept.batch
        count = sum(not _form.is_blank(row) for row in self._rows())
        return f"<Launcher of {self._shape.title}: {count} input{'' if count == 1 else 's'}, {batch or 'not started'}>"

    def _ipython_display_(self) -> None:
        # A cell that ends with cnb.launcher(...) has it already.
        if self._shown_in is None or self._shown_in != _execution():
            self._show()

    # --- what is shown -------------------------------------------------------------------------------------------

    def _boxed(self) -> Any:
        import ipywidgets

        box: Any = ipywidgets.VBox([self.form])  # type: ignore[attr-defined]
        box.add_class("crew-nb-launcher")
        return box

    def _show(self) -> None:
        if self._heir is not None:
            self._heir._show()
            return
        self._shown_in = _execution()
        if self._place.kind != "kernel":
            print(self._static()["text/plain"])
        elif not self._is_live:
            from IPython.display import display

            display(self._static(), raw=True)  # type: ignore[no-untyped-call]
        else:
            output = _display.Output(
                self._box, static=self._static, over=self._over, touched=self._touched, linger=LINGER_SECONDS
            )
            self._outputs.append(output)
            if self._over():
                engine.call(output.settle)

    def _over(self) -> bool:
        return self._kept.batch is not None and self._kept.batch.open_runs == 0

    def _touched(self) -> float:
        board = self._kept.batch.board if self._kept.batch is not None else None
        return max(self.form.touched, getattr(board, "touched", 0.0))

    def _static(self) -> dict[str, str]:
        """The form as a table, and the board, without script."""
        batch = self._kept.batch
        rows = [row for row in self._rows() if not _form.is_blank(row)]
        count = f"{len(rows):,} input" + ("" if len(rows) == 1 else "s")
        text = f"Launcher of {self._shape.title}: {count}. Run this cell to have the form."
        parts: list[Html | str] = [
            el("p", el("strong", f"Launch {self._shape.title}"), f" — {count}. Run this cell to have the form.")
        ]
        if rows:
            parts.append(_table([f.name for f in self._fields], [Secrets(given=row).scrub_inputs(row) for row in rows]))
        if batch is not None and rows:
            parts[1:] = [el("details", el("summary", "Inputs"), *parts[1:])]
        body = el("div", *parts, class_="crew-nb mathjax_ignore tex2jax_ignore", dir="auto")
        if batch is None:
            return _display.bundle(text, body)
        said, board = _display.drawn(batch.state())
        return _display.bundle(f"{text}\n\n{said}", join([body, board]))

    def _watch(self, batch: Batch) -> None:
        """Put the board of a batch below the form, where it is one in a browser."""
        if not self._is_live:
            batch.make_board = functools.partial(_notebook._make_board, self._place)
            return
        board = batch.board
        if board is None or board.comm is None:
            board = _display.live_board(batch, [batch])
        if board not in self._box.children:
            self._lay_aside()
        self._box.children = (self.form, board)
        for output in self._outputs:
            output.thaw()
            output.keep()

    def _lay_aside(self) -> None:
        """The board below the form is of an older batch: it goes when that goes."""
        for board in self._box.children[1:]:
            engine.call(board.rest)

    def _changed(self, batch: Batch) -> None:
        if batch.open_runs == 0:
            batch.state()  # who does not look is not told when it is tried again
        for output in self._outputs:
            output.changed()
        if self._is_live:
            batch.board.wake()
        self.form.wake()

    def _ended(self, batch: Batch) -> None:
        if self._is_live:
            batch.board.flush()
            batch.board.freeze()
        self._estimate()
        if batch is self._kept.batch:
            for output in self._outputs:
                output.settle()

    def _counts(self) -> dict[str, Any]:
        batch = self._kept.batch
        if batch is None:
            return {}
        found = Counter(run.status for run in batch.state().runs)
        ended = found["done"] + found["failed"] + found["cancelled"]
        return {
            "word": batch.status,
            "total": len(batch),
            "open": len(batch) - ended,
            "done": found["done"],
            "failed": found["failed"],
            "stopped": found["cancelled"],
        }

    # --- what the browser says -----------------------------------------------------------------------------------

    def _heard(self, content: dict[str, Any]) -> None:
        doing: dict[str, Callable[[dict[str, Any]], None]] = {
            "run": self._run,
            "stop": lambda _: self._kept.batch.cancel() if self._kept.batch is not None else None,
            "retry": lambda _: self._retry(),
            "read": self._read,
            "upload": self._upload,
            "column": self._column,
            "names": lambda _: self.form.put(names=self._variables()),
        }
        do = doing.get(str(content.get("t")))
        if do is None:
            return
        try:
            do(content)
            if content.get("ask") and not content.get("more"):
                self.form.put(taken=str(content["ask"]))
        except Exception as error:  # a handler's error would be seen by nobody
            said = str(error) if isinstance(error, CrewNbError | ValueError) else f"{type(error).__name__}: {error}"
            self._refuse(said)

    def _refuse(self, alert: str, **where: Any) -> None:
        # The number makes the same words news again.
        self.form.put(problems={"alert": alert, "number": self.form.problems.get("number", 0) + 1, **where})

    def _edited(self, change: Any) -> None:
        self.form.touched = time.monotonic()
        self._kept.rows = self._rows()
        self._kept.options = dict(_words(self.form.options))
        if change["name"] != "shows_code":
            self._estimate()
            if self._kept.batch is None:
                for output in self._outputs:
                    output.keep()
        if self.form.shows_code:
            self.form.put(code=self.code())

    def _rows(self) -> list[Row]:
        return [dict(_words(row)) for row in self.form.rows[: _form.ROWS_MOST]]

    def _take(self, fields: tuple[Field, ...], rows: list[Row], *, replace: bool) -> None:
        if not rows:
            raise ValueError("no row was found in what was given.")
        if replace:  # columns that only the rows before had go with them
            filled = {name for row in rows for name, words in row.items() if words.strip()}
            fields = tuple(f for f in fields if f.name in self._kept.own or f.name in filled)
        self._fields = fields
        before = [] if replace else [row for row in self._rows() if not _form.is_blank(row)]
        if len(before) + len(rows) > _form.ROWS_MOST:
            raise ValueError(f"the form holds {_form.ROWS_MOST:,} rows.")
        self.form.put(fields=self._columns(), rows=before + rows, problems={})

    def _read(self, content: dict[str, Any]) -> None:
        """Rows from pasted words, a file, a grid, or a variable."""
        replace = bool(content.get("replace"))
        match content.get("how"):
            case "grid":
                given = content.get("values")
                lists = given if isinstance(given, dict) else {}
                values = {str(k): [str(v) for v in found] for k, found in lists.items() if isinstance(found, list)}
                self._take(self._fields, _form.grid(values), replace=replace)
            case "variable":
                name = str(content.get("name")).strip()
                names = self._namespace()
                if name not in names:
                    raise ValueError(f"there is no variable {name!r}.")
                fields, rows = _form.given(self._fields, _as_inputs(names[name], self._fields))
                self._take(fields, rows, replace=replace)
            case "text":
                self._parts.append(str(content.get("text")))
                if content.get("more"):
                    return
                words = "".join(self._parts)
                self._parts.clear()
                rows = _form.read(words, self._fields, str(content.get("into") or ""))
                columns = dict.fromkeys(name for row in rows for name in row)
                self._take(_form.with_columns(self._fields, columns), rows, replace=replace)

    def _column(self, content: dict[str, Any]) -> None:
        """A further input, such as a placeholder of a crew that is not built yet; or away with one."""
        name = str(content.get("name")).strip()
        if content.get("remove"):
            self._drop(name)
            return
        if not name or any(f.name == name for f in self._fields):
            raise ValueError(f"there is a column {name!r} already." if name else "a column needs a name.")
        self._fields = _form.with_columns(self._fields, [name])
        self.form.put(fields=self._columns(), problems={})

    def _drop(self, name: str) -> None:
        """Away with a column that the crew does not ask for, and with what stands in it."""
        if name in self._kept.own:
            raise ValueError(f"{self._shape.title} asks for {name}; its column stays.")
        self._fields = tuple(f for f in self._fields if f.name != name)
        rows = [{n: words for n, words in row.items() if n != name} for row in self._rows()]
        self.form.put(fields=self._columns(), rows=rows, problems={})

    def _columns(self) -> list[dict[str, Any]]:
        """The fields for the browser, each with whether it is the crew's own."""
        return [{**_as_json(f), "own": f.name in self._kept.own} for f in self._fields]

    def _upload(self, content: dict[str, Any]) -> None:
        """A file of the browser's machine becomes one of the kernel's, and its path the words of the cell."""
        self._parts.append(str(content.get("text")))
        if content.get("more"):
            return
        data = base64.b64decode("".join(self._parts))
        self._parts.clear()
        rows, place = self._rows(), content.get("row")
        if not isinstance(place, int) or not 0 <= place < len(rows):
            return
        path = self._kept.uploads.keep(str(content.get("name")), data)
        rows[place][str(content.get("field"))] = str(path)
        self.form.put(rows=rows)

    def _chosen(self) -> dict[str, Any]:
        """The options of the form that are not empty.

        Raises:
            OptionError: One of them cannot be meant.
        """
        found = {name: value_of(name, words) for name, words in _words(self.form.options) if name in HELD and words}
        return {**{n: value for n, value in found.items() if value is not None}, **self._fixed, "show": True}

    def _run(self, content: dict[str, Any]) -> None:
        """Start all rows, or the first few; nothing starts while one of them is wrong."""
        if self._kept.batch is not None and not self._over():
            raise ValueError("a batch is running. Stop it first, or wait for its end.")
        rows = content.get("rows")
        given = content.get("options")
        self.form.put(
            rows=_form.filled([dict(_words(row)) for row in rows] if isinstance(rows, list) else self._rows()),
            options=dict(_words(given)) if isinstance(given, dict) else self.form.options,
        )
        inputs, wrong = self._inputs(self._rows())
        first = content.get("first")
        if isinstance(first, int):
            inputs, wrong = inputs[:first], {place: found for place, found in wrong.items() if place < first}
        for place, found in _form.lacks(self._fields, inputs).items():
            wrong[place] = {**found, **wrong.get(place, {})}
        for place, said in _form.faults(self._startable, inputs).items():
            if place not in wrong:
                wrong[place] = {"": said.removeprefix(f"inputs[{place}]: ")}
        bad_options = self._bad_options()
        if wrong or bad_options:
            self._refuse(
                _sorry(len(wrong), len(bad_options)),
                rows={str(place): found for place, found in wrong.items()},
                options=bad_options,
            )
            return
        chosen = self._chosen()
        name = chosen.get("name") or self._shape.title
        if isinstance(first, int):
            # A name of its own, so that the rest takes these runs from the record and no others.
            chosen["name"] = f"{name}: first {len(inputs)} ({uuid.uuid4().hex[:4]})"
        else:
            chosen["name"] = name
            tried = self._kept.tried
            if tried is not None and self._kept_runs() and not chosen.get("resume"):
                chosen["resume"] = tried.name
        self.form.put(problems={})
        # A copy: the context may be in use, and prints of the crews belong to the cell that made the form.
        batch = self._context.copy().run(self._launch, inputs, chosen)
        self._kept.tried = batch if isinstance(first, int) else None
        self._estimate()

    def _launch(self, inputs: list[dict[str, Any]], chosen: dict[str, Any]) -> Batch:
        plans = _blueprint.plans_for_each(self._startable, inputs)

        def show(batch: Batch) -> None:
            self._kept.batch = batch
            self._kept.follow(batch)
            self._watch(batch)

        batch = _notebook.launch(plans, options(**chosen), show)
        self.form.wake()
        return batch

    def _retry(self) -> None:
        if self._kept.batch is not None:
            self._kept.batch.retry()

    def _bad_options(self) -> dict[str, str]:
        found = {}
        for name, words in _words(self.form.options):
            if name in HELD and words:
                try:
                    value = value_of(name, words)
                    if value is not None:
                        options(**{name: value})
                except OptionError as error:
                    found[name] = in_a_form(name, str(error))
        return found

    # --- what it will take, and the code -------------------------------------------------------------------------

    def _kept_runs(self) -> int:
        """How many of the rows were tried, and are done."""
        tried = self._kept.tried
        if tried is None:
            return 0
        done = [run.inputs for run in tried.runs if run.status == "done"]
        count = 0
        for row in self.inputs:
            if row in done:
                done.remove(row)
                count += 1
        return count

    def _estimate(self) -> None:
        rows = _form.filled(self._rows())
        needed = any(f.required for f in self._fields)
        count = 0 if needed and all(map(_form.is_blank, rows)) else len(rows)
        if not count:
            self.form.put(estimate="")
            return
        good = {name: words for name, words in _words(self.form.options) if name not in self._bad_options()}
        chosen = Options(**{n: value_of(n, w) for n, w in good.items() if w and n in ("max_concurrency", "max_rpm")})
        tried = self._kept_runs()
        newest = self._kept.batch
        self._kept.seen = (_estimate.measured(newest.state()) if newest is not None else None) or self._kept.seen
        words = _estimate.estimate(
            count,
            self._shape,
            concurrency=chosen.concurrency,
            max_rpm=chosen.max_rpm,
            seen=self._kept.seen,
            tried=tried,
            offer=newest is None or self._over(),
        )
        self.form.put(estimate=words)

    def code(self) -> str:
        """The cell that would do what Run does."""
        known = {f.name: f.default for f in fields(Options)}
        try:
            chosen = options(**self._chosen())
        except OptionError:
            chosen = options()
        plain = {
            name: getattr(chosen, name)
            for name, default in known.items()
            if name not in ("show", "on") and getattr(chosen, name) != default
        }
        crew, imports = _code.expression(self.crew, self._namespace(), self)
        rows = _form.inputs_of(self._fields, _form.filled(self._rows()))[0]
        return _code.cell(crew, rows, plain, imports, reads={f.name for f in self._fields if f.reads})

    def _namespace(self) -> Mapping[str, Any]:
        return getattr(_loop._shell(), "user_ns", None) or {}

    def _variables(self) -> list[str]:
        names = []
        for name, value in self._namespace().items():
            tables = hasattr(value, "columns") and (hasattr(value, "to_dict") or hasattr(value, "to_dicts"))
            lists = isinstance(value, list | tuple) and value and isinstance(value[0], dict | str)
            grids = isinstance(value, dict) and value and all(isinstance(v, list | tuple) for v in value.values())
            if not name.startswith("_") and name not in ("In", "Out") and (tables or lists or grids):
                names.append(name)
        return sorted(names)


def launcher(crew: CrewLike, inputs: Any = None, **given: Unpack[BatchOptions]) -> Launcher:
    """Show a form that starts the crew over many inputs, with its board below; returns its handle at once.

    `launcher.batch` is the handle of the newest batch, so that `await launcher.batch` joins it, and `launcher.inputs`
    has the inputs. The form keeps what is in it when the cell is run again, where the front end says which cell that
    is, as JupyterLab, Notebook 7 and VS Code do.

    Args:
        crew: A `Crew`, or a function that returns one; placeholders and parameters become the form's fields.
        inputs: What the form begins with: one dict per run, a DataFrame, or one dict of lists, which is a grid.
        **given: The options that the form begins with; those of `kickoff_for_each`.

    Raises:
        BlueprintError: When the crew cannot be run, or the inputs are none.
        OptionError: When an option has a value that cannot be meant.
    """
    return Launcher(crew, inputs, **given)


def _sorry(rows: int, wrong_options: int) -> str:
    parts = [f"{rows:,} row" + ("" if rows == 1 else "s")] if rows else []
    parts += [f"{wrong_options} option" + ("" if wrong_options == 1 else "s")] if wrong_options else []
    they = "it is" if rows + wrong_options == 1 else "they are"
    return f"Nothing was started: {' and '.join(parts)} cannot be used as {they}."


def _words(values: object) -> list[tuple[str, str]]:
    """Names and words out of what a browser sent."""
    return [(str(k), str(v)) for k, v in values.items() if v] if isinstance(values, dict) else []


def _as_json(of: Field) -> dict[str, Any]:
    try:
        default = "" if of.default is None else of.words(of.default)
    except BlueprintError:
        default = ""
    return {
        "name": of.name,
        "kind": of.kind,
        "required": of.required,
        "default": default,
        "choices": list(of.choices),
    }


def _as_inputs(value: Any, of: tuple[Field, ...]) -> Any:
    """A list of plain values as inputs of the first field."""
    if isinstance(value, list | tuple) and value and not isinstance(value[0], dict) and of:
        return [{of[0].name: item} for item in value]
    return value


def _table(names: list[str], rows: list[Row]) -> Html:
    left = "text-align:left"
    head = el("tr", *(el("th", name, scope="col", style=left) for name in ["#", *names]))
    body = [
        el("tr", el("td", place), *(el("td", row.get(name, ""), style=left, dir="auto") for name in names))
        for place, row in enumerate(rows[:STATIC_ROWS])
    ]
    more = len(rows) - len(body)
    note = el("p", el("em", f"… {more:,} more inputs not shown here.")) if more else None
    return join([el("table", el("thead", head), el("tbody", *body)), note])


def _execution() -> object:
    """Which cell runs now."""
    return getattr(_loop._shell(), "execution_count", None)
