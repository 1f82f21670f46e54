"""Recorded answers: a file of text with what LLMs said, made to be committed beside a notebook.

One line a call, and one for each longer text, which several calls may hold. Lines are appended as calls end, under a
lock that other kernels heed, so that a kernel that is killed loses no line but the one it was writing; at the end of
a batch they are put in order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from crew_nb._state import question as _question
from crew_nb._state.errors import RecordError
from crew_nb._state.html import el
from crew_nb._state.plain import Json, dumps
from crew_nb._state.usage import Usage

try:
    import fcntl
except ImportError:  # Windows: two kernels are not kept apart there
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KIND = "crew_nb answers"
VERSION = 1
LONG = 100
"""Characters from which a text has a line of its own."""
SHOWN = 100
"""Characters of a question or an answer in a table."""

Place = tuple[str, int, int | None, int]
"""Run, repeat, task, and how often the same was asked there before."""


@dataclass(slots=True, eq=False, kw_only=True)
class Kept:
    """One answer, with what it answers."""

    call: str
    """What its question is known by."""
    run: str = ""
    """The run that asked, by its inputs; empty where that makes no difference."""
    repeat: int = 0
    task: int | None = None
    turn: int = 0
    """How often the task had asked the same before."""
    order: int = 0
    """How many LLM calls of its task came before it."""
    agent: str = ""
    asked: dict[str, Json]
    answer: Json = None
    raised: str = ""
    """The class of the error that a tool raised; the answer is what it says."""
    ran: Json = None
    """Functions that the LLM's own class called for it, with their arguments."""
    usage: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    pieces: list[list[float]] = field(default_factory=list)
    """When how many characters of it came: seconds and counts."""
    origin: str = ""
    """The batch that recorded it, where that was in this kernel."""
    used: bool = False
    """Whether a run in this kernel asked it."""

    @property
    def place(self) -> Place:
        """Where it was asked."""
        return self.run, self.repeat, self.task, self.turn

    @property
    def turn_in_file(self) -> tuple[Any, ...]:
        """By what lines are in order."""
        task = -1 if self.task is None else self.task
        return self.run, self.repeat, task, self.order, "model" in self.asked, self.turn, self.call

    def line(self) -> dict[str, Json]:
        """As it stands in the file, what is at its default left out."""
        names = ("call", "run", "repeat", "task", "turn", "order", "agent", "asked", "answer", "raised", "ran", "usage")
        values = {name: getattr(self, name) for name in (*names, "seconds", "pieces")}
        return {name: value for name, value in values.items() if value not in (None, 0, "", [], {})}


_TREES = ("asked", "answer", "ran")
"""What texts are set apart in."""
_ANY = Kept(call="", run="", asked={})


@dataclass(frozen=True, slots=True)
class Copy:
    """Recorded answers on their way to another process, which does not have the file."""

    path: str
    kept: tuple[Kept, ...]

    def into(self, answers: Answers | None) -> Answers:
        """They again, with what is known already; nothing of it is written."""
        answers = answers or Answers(Path(self.path))
        for kept in self.kept:
            answers.add(kept)
        return answers


class Answers:
    """A file of recorded answers; `cnb.answers(path)` opens one.

    Any thread may use it. One object per file in a kernel, so that what is asked here is known to all batches.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_new = True
        """Whether it was begun in this kernel: what is missing is then asked, and recorded."""
        self.damaged = 0
        """Lines that could not be read when it was last looked at."""
        self._lock = threading.RLock()
        self._texts: dict[str, str] = {}
        self._on_disk: set[str] = set()
        """The texts that have a line in the file."""
        self._by_call: dict[str, dict[Place, Kept]] = {}
        self._waiting: list[Kept] = []
        """What is not in the file yet."""
        self._seen: tuple[int, int, int] | None = None
        self._orderly = True

    # --- what a user reads ----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._by_call.values()))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """A dict per answer: who asked what, how often, what was said, and whether a run in this kernel asked it."""
        return [
            {
                "run": kept.run,
                "repeat": kept.repeat,
                "task": kept.task,
                "turn": kept.turn,
                "agent": kept.agent,
                "asked": self._words(_last(kept.asked)),
                "answer": self._words(kept.answer if kept.answer is not None else kept.ran),
                "of": str(self.whole(kept.asked.get("model") or kept.asked.get("tool") or kept.asked.get("embedder"))),
                "tokens": kept.usage.get("total_tokens", 0),
                "used": kept.used,
            }
            for kept in self._sorted()
        ]

    def to_frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(self.rows())

    def prune(self) -> int:
        """Take out of the file what no run in this kernel has asked, and tell how many answers that were.

        Raises:
            RecordError: When nothing of the file was asked in this kernel, so that all of it would go.
        """
        with self._lock:
            if not any(kept.used for kept in self._all()):
                raise RecordError(
                    f"no run in this kernel has asked anything of {self.path.name}: run every cell of the lesson, "
                    "then prune."
                )
            with _open(self.path) as file:
                self._refresh(file)
                before = len(self)
                for call, places in list(self._by_call.items()):
                    self._by_call[call] = {place: kept for place, kept in places.items() if kept.used}
                self._write_whole()
            return before - len(self)

    def __repr__(self) -> str:
        used = sum(kept.used for kept in self._all())
        return f"<{self.path.name}: {len(self):,} answers, {used:,} of them asked in this kernel>"

    def _repr_html_(self) -> str:
        rows = self.rows()
        head = el("tr", *(el("th", name) for name in (rows[0] if rows else ())))
        lines = (el("tr", *(el("td", str(value)) for value in row.values())) for row in rows[:SHOWN])
        return str(el("div", el("p", repr(self)), el("table", head, *lines)))

    def _words(self, value: Json) -> str:
        value = self.whole(value)
        text = value if isinstance(value, str) else dumps(value)
        text = " ".join(text.split())
        return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"

    # --- what a batch asks of it ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Read what is new in the file.

        Raises:
            RecordError: When it is no file of answers, or cannot be read.
        """
        with self._lock:
            try:
                found = self.path.stat()
            except FileNotFoundError:
                if self._seen is not None:  # it was taken away: recording begins again
                    self.__init__(self.path)  # type: ignore[misc]
                return
            except OSError as error:
                raise RecordError(f"answers: {self.path} cannot be read: {error}") from error
            if self._seen is None and found.st_size:
                self.is_new = False
            if _state_of(found) != self._seen:
                with _open(self.path, write=False) as file:
                    self._refresh(file)

    def find(self, call: str, place: Place, origin: str) -> Kept | None:
        """The answer to that question in that place of a run.

        Another run's serves where that was recorded before the batch `origin` began, and is as often asked: in a
        batch that records, every run gets answers of its own.
        """
        run, repeat, task, turn = place
        with self._lock:
            known = self._by_call.get(call, {})
            kept = known.get(place)
            if kept is None:
                fit = [k for k in known.values() if (k.repeat, k.turn) == (repeat, turn) and k.origin != origin]
                order = [(k.run != run, k.task != task, k.turn_in_file, n) for n, k in enumerate(fit)]
                kept = fit[min(order)[-1]] if fit else None
            if kept is not None:
                kept.used = True
            return kept

    def nearest(self, asked: Mapping[str, Any], place: Place) -> dict[str, Any] | None:
        """The recorded question that is most like this one, of the same task if there is one."""
        with self._lock:
            kinds = [name for name in ("model", "tool", "embedder") if name in asked]
            fit = [kept for kept in self._all() if all(name in kept.asked for name in kinds)]
            for same in (lambda k: (k.run, k.task) == (place[0], place[2]), lambda k: k.task == place[2]):
                if of_task := [kept for kept in fit if same(kept)]:
                    fit = of_task
                    break
            trees = [self.whole(kept.asked) for kept in fit]
            return max(trees, key=lambda tree: _question.nearness(asked, tree), default=None)

    def copied(self) -> Copy:
        """All of it, for another process."""
        with self._lock:
            whole = (replace(k, **{name: self.whole(getattr(k, name)) for name in _TREES}) for k in self._all())
            return Copy(str(self.path), tuple(whole))

    def add(self, kept: Kept) -> None:
        """Take in an answer; `flush` puts it into the file."""
        with self._lock:
            known = self._by_call.setdefault(kept.call, {})
            if kept.place not in known:
                for name in _TREES:
                    setattr(kept, name, self._apart(getattr(kept, name)))
                known[kept.place] = kept
                self._waiting.append(kept)

    def flush(self) -> None:
        """Put what waits into the file; returns when it is there.

        Raises:
            RecordError: When it cannot be written.
        """
        with self._lock:
            if not self._waiting:
                return
            with _open(self.path) as file:
                self._refresh(file)
                waiting, self._waiting = self._waiting, []
                end = file.seek(0, os.SEEK_END)
                lines: list[Json] = [] if end else [_head()]
                for kept in waiting:
                    line = kept.line()
                    lines += [{"text": key, "is": self._texts[key]} for key in self._new_texts(line)]
                    lines.append(line)
                if end and file.seek(end - 1) >= 0 and file.read(1) != b"\n":
                    file.write(b"\n")  # a line was cut short there
                file.write("".join(f"{dumps(line)}\n" for line in lines).encode())
                file.flush()
                self._seen = _state_of(os.fstat(file.fileno()))
                self._orderly = False

    def tidy(self) -> None:
        """Put the lines in order, where some were added: the same answers are the same file, however they came."""
        with self._lock:
            self.flush()
            if not self._orderly:
                with _open(self.path) as file:
                    self._refresh(file)
                    self._write_whole()

    def whole(self, tree: Json) -> Any:
        """The tree with its longer texts in their places."""
        if type(tree) is list:
            return [self.whole(item) for item in tree]
        if type(tree) is not dict:
            return tree
        if tree.get("$") == "text":
            return self._texts.get(str(tree.get("of")), "")
        return {name: self.whole(item) for name, item in tree.items()}

    # --- the file -------------------------------------------------------------------------------------------------

    def _all(self) -> list[Kept]:
        return [kept for known in self._by_call.values() for kept in known.values()]

    def _sorted(self) -> list[Kept]:
        with self._lock:
            return sorted(self._all(), key=lambda kept: kept.turn_in_file)

    def _apart(self, tree: Json) -> Any:
        """The tree with longer texts set apart, each once."""
        if type(tree) is list:
            return [self._apart(item) for item in tree]
        if type(tree) is dict:
            return {name: self._apart(item) for name, item in tree.items()}
        if type(tree) is not str or len(tree) < LONG:
            return tree
        key = hashlib.sha256(tree.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        self._texts[key] = tree
        return {"$": "text", "of": key}

    def _new_texts(self, tree: Json) -> list[str]:
        """The texts in a tree that have no line yet, in their order; they have one now."""
        new = [key for key in _texts_of(tree) if key in self._texts and key not in self._on_disk]
        self._on_disk.update(new)
        return list(dict.fromkeys(new))

    def _refresh(self, file: IO[bytes]) -> None:
        """Take what others have written; the file is locked."""
        state = _state_of(os.fstat(file.fileno()))
        if state == self._seen:
            return
        file.seek(0)
        before = {(kept.call, kept.place): kept for kept in self._all()}
        waiting, self._waiting = self._waiting, []
        self._on_disk, self._by_call, self.damaged = set(), {}, 0
        text = file.read().decode("utf-8", "replace")
        self._read([line for line in text.split("\n") if line], before)  # answers may have other line ends in them
        for kept in waiting:
            self._texts.update({key: self._texts[key] for key in _texts_of(kept.line()) if key in self._texts})
            if self._by_call.setdefault(kept.call, {}).setdefault(kept.place, kept) is kept:
                self._waiting.append(kept)
        self._seen = state

    def _read(self, lines: list[str], before: Mapping[Any, Kept]) -> None:
        if lines and not _is_head(lines[0]):
            raise RecordError(f"answers: {self.path} is no file of recorded answers, or of a newer crew_nb.")
        known = []
        for text in lines[1:]:
            try:
                line = json.loads(text)
                if "text" in line:
                    self._texts[str(line["text"])] = str(line["is"])
                    self._on_disk.add(str(line["text"]))
                    continue
                kept = Kept(**line)
                Usage.from_dict(kept.usage)
                sorted([kept.turn_in_file, _ANY.turn_in_file])
            except (ValueError, TypeError, KeyError, AttributeError):  # cut short, or written by hand
                self.damaged += 1
                continue
            known.append(kept)
            if (earlier := before.get((kept.call, kept.place))) is not None:
                kept.used, kept.origin = earlier.used, earlier.origin
            self._by_call.setdefault(kept.call, {}).setdefault(kept.place, kept)
        self._orderly = known == sorted(known, key=lambda kept: kept.turn_in_file) and not self.damaged

    def _write_whole(self) -> None:
        """Write all of it anew, in order; the file is locked, and whole at every moment."""
        self._on_disk = set()
        lines: list[Json] = [_head()]
        for kept in self._sorted():
            line = kept.line()
            lines += [{"text": key, "is": self._texts[key]} for key in self._new_texts(line)]
            lines.append(line)
        partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_text("".join(f"{dumps(line)}\n" for line in lines), encoding="utf-8")
            shutil.copymode(self.path, partial)
            partial.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise RecordError(f"answers: {self.path} cannot be written: {error}") from error
        self._waiting = []
        self._seen = _state_of(self.path.stat())
        self._orderly = True


_opened: dict[Path, Answers] = {}
_opening = threading.Lock()


def opened(path: str | os.PathLike[str]) -> Answers:
    """The answers of that file, as it is now; a file that is not there yet has none.

    Raises:
        RecordError: When it is no file of answers, or cannot be read.
    """
    where = Path(path).expanduser().resolve()
    with _opening:
        found = _opened.setdefault(where, Answers(where))
    found.look()
    return found


def answers(path: str | os.PathLike[str]) -> Answers:
    """Open a file of recorded answers: who was asked what, how often, and what no run in this kernel has asked.

    Args:
        path: What `answers=` of a verb was given.

    Raises:
        RecordError: When there is no such file, or it is no file of answers.
    """
    if not Path(path).expanduser().is_file():
        raise RecordError(f'there is no file {path}. answers="{path}" on a verb records one.')
    return opened(path)


def _head() -> dict[str, Json]:
    return {"kind": KIND, "version": VERSION}


def _is_head(text: str) -> bool:
    with contextlib.suppress(ValueError, AttributeError):
        head = json.loads(text)
        return head.get("kind") == KIND and head.get("version", VERSION + 1) <= VERSION  # type: ignore[no-any-return]
    return False


def _texts_of(tree: Json) -> Iterator[str]:
    if type(tree) is dict and tree.get("$") == "text":
        yield str(tree.get("of"))
    elif type(tree) in (dict, list):
        for item in tree.values() if type(tree) is dict else tree:
            yield from _texts_of(item)


def _last(asked: Mapping[str, Any]) -> Json:
    """What a question comes to: its last message, or a tool's arguments."""
    messages = asked.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        return messages[-1].get("content")
    return asked.get("arguments") or asked.get("text")


def _state_of(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@contextlib.contextmanager
def _open(path: Path, *, write: bool = True) -> Iterator[IO[bytes]]:
    """The file, which no other kernel writes while this lasts.

    Raises:
        RecordError: When it cannot be opened.
    """
    try:
        while True:
            file = path.open("a+b" if write else "rb")
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                break
            file.close()  # another kernel has put it in order meanwhile
    except OSError as error:
        raise RecordError(f"answers: {path} cannot be opened: {error}") from error
    with file:
        yield file
