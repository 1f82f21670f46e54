"""`Rating`: a person rates outputs, shuffled and without seeing which variant each is; what is rated is a score.

Each rating is on disk before the next output is shown.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crew_nb._scores.scoring import values
from crew_nb._scores.sheet import PERSON, Scored
from crew_nb._state import loop as _loop
from crew_nb._state.errors import OptionError
from crew_nb._state.html import el
from crew_nb._state.plain import plain
from crew_nb._state.words import readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crew_nb._board.rater import Rater
    from crew_nb._scores.judge import Scale
    from crew_nb._scores.scoring import Output
    from crew_nb._scores.sheet import Sheet

MOST_LEVELS = 9
"""Levels of a scale: there is a key for each."""

SIDES = {"left": 1.0, "tie": 0.5, "right": 0.0}
"""What the left one gets by what is said of a pair."""

INPUT_CHARS, OUTPUT_CHARS, NOTE_CHARS = 4_000, 20_000, 2_000

DISK_SECONDS = 10.0
"""How long a rating waits for the disk."""

Item = tuple[int, ...]
"""The runs that are shown together: one, or the left and the right one."""


class Rating:
    """Outputs that a person rates; in a cell it draws itself, and is used by keyboard.

    `say` and `undo` do in code what the keys do.
    """

    def __init__(
        self,
        sheet: Sheet,
        outputs: Sequence[Output],
        name: str,
        scale: Scale,
        pairs: str | None,
        seed: str,
    ) -> None:
        self.name = name
        self._sheet = sheet
        self._outputs = {each.state.index: each for each in outputs if each.state.status == "done"}
        self._factor = pairs
        self.levels: dict[str, Any] = SIDES if pairs is not None else _levels(scale)
        """What can be said, by the words for it."""
        self._said: dict[Item, tuple[str, str]] = {}
        """What was taken back, and its note."""
        self.problem = ""
        """Why the last rating is not on disk; empty where it is."""
        self._widget: Rater | None = None
        items = self._items()
        # The same in each kernel, and another one for another person.
        random.Random(f"{seed} {name}").shuffle(items)  # noqa: S311 - no secret
        self._check_earlier()
        self._done = [item for item in items if self._is_rated(item)]
        self._left = [item for item in items if not self._is_rated(item)]

    def _items(self) -> list[Item]:
        if self._factor is None:
            return [(run,) for run in self._outputs]
        if self._factor not in self._sheet.factors:
            raise OptionError(
                f"pairs is {self._factor!r}, which is no factor of these results. They have "
                f"{self._sheet.known_factors}."
            )
        alike: dict[Any, list[int]] = {}
        for run in self._outputs:
            cell = self._sheet.cells[run]
            others = [str(level) for name, level in cell.variant.items() if name != self._factor]
            alike.setdefault((cell.input, *others, cell.repeat), []).append(run)
        both = [pair for runs in alike.values() for pair in itertools.combinations(runs, 2)]
        # Which of two stands left must not tell anything.
        return [pair if random.Random(f"{self.name} {pair}").random() < 0.5 else pair[::-1] for pair in both]  # noqa: S311

    def _check_earlier(self) -> None:
        for output in self._outputs.values():
            found = self._sheet.found(output.state, self.name)
            if found is None:
                continue
            fits = bool(found.against) if self._factor else found.values.get(self.name) in self.levels.values()
            if found.by != PERSON or not fits or (found.against and not self._factor):
                raise OptionError(
                    f"these results have scores named {self.name!r} that are no such ratings. Write another name=."
                )

    def _found(self, run: int) -> Scored:
        state = self._outputs[run].state
        return self._sheet.found(state, self.name) or Scored(state.attempt, by=PERSON)

    def _other(self, run: int) -> str:
        return str(self._sheet.cells[run].variant[self._factor or ""])

    def _is_rated(self, item: Item) -> bool:
        if len(item) == 1:
            return bool(self._found(item[0]).values)
        left, right = item
        return self._other(right) in self._found(left).against and self._other(left) in self._found(right).against

    def __len__(self) -> int:
        return len(self._done) + len(self._left)

    @property
    def done(self) -> int:
        """How many are rated."""
        return len(self._done)

    @property
    def item(self) -> Item | None:
        """The runs that are to be rated now; None where all are."""
        return self._left[0] if self._left else None

    def say(self, level: Any, note: str = "") -> None:
        """Rate what is to be rated now, and go on to the next.

        Args:
            level: One of the scale; of a pair "left", "right" or "tie".
            note: Why, if there is something to say.

        Raises:
            OptionError: When it is not on the scale, or all are rated.
        """
        item = self.item
        if item is None:
            raise OptionError("all of them are rated. undo() takes the last rating back.")
        word = next((word for word, value in self.levels.items() if level == word or _same(level, value)), None)
        if word is None:
            raise OptionError(f"{level!r:.60} is not on the scale. Write one of {', '.join(self.levels)}.")
        self._put(item, self.levels[word], note[:NOTE_CHARS])
        self._said.pop(item, None)
        self._done.append(self._left.pop(0))
        self._redraw()

    def undo(self) -> None:
        """Take the last rating back; what was rated is to be rated once more."""
        if not self._done:
            return
        item = self._done.pop()
        self._said[item] = self._word_of(item), self._found(item[0]).reasons.get(self.name, "")
        self._put(item, None, "")
        self._left.insert(0, item)
        self._redraw()

    def _word_of(self, item: Item) -> str:
        found = self._found(item[0])
        value = found.values[self.name] if len(item) == 1 else found.against[self._other(item[1])]
        return next(word for word, level in self.levels.items() if _same(level, value))

    def _put(self, item: Item, value: Any, note: str) -> None:
        scrub = self._outputs[item[0]].secrets.scrub
        reasons = {self.name: scrub(note)} if note else {}
        kept = []
        if len(item) == 1:
            said = values(self.name, value) if value is not None else {}
            found = replace(self._found(item[0]), values=said, reasons=reasons) if said else None
            kept = [self._sheet.put(item[0], self.name, found)]
        else:
            for run, other, won in zip(item, item[::-1], (value, None if value is None else 1 - value), strict=True):
                kept.append(self._sheet.put(run, self.name, self._beside(run, self._other(other), won, reasons)))
        try:
            self.problem = next(filter(None, (each.result(DISK_SECONDS) for each in kept if each is not None)), "")
        except TimeoutError:
            self.problem = f"the disk does not answer within {DISK_SECONDS:g} s"

    def _beside(self, run: int, other: str, won: float | None, reasons: Mapping[str, str]) -> Scored | None:
        """A run's score with what it won against one more, or without."""
        known = self._found(run)
        against = {level: share for level, share in known.against.items() if level != other}
        if won is not None:
            against[other] = won
        if not against:
            return None
        share = sum(against.values()) / len(against)
        return replace(known, values={self.name: share}, against=against, reasons=reasons or known.reasons)

    # --- seen ----------------------------------------------------------------------------------------------------

    def shown(self) -> dict[str, Any]:
        """What the page shows: of the variant nothing."""
        item = self.item
        content = {"name": self.name, "done": self.done, "total": len(self), "problem": self.problem}
        if item is None:
            return {**content, "words": self._agreements()}
        from crew_nb._board.markdown import render

        first = self._outputs[item[0]]
        inputs = first.secrets.scrub_inputs(self._sheet.cells[item[0]].inputs)
        word, note = self._said.get(item, ("", ""))
        return {
            **content,
            "inputs": [[str(name), readable(_text(value)[:INPUT_CHARS])] for name, value in inputs.items()],
            "outputs": [render(self._outputs[run].state.output, limit=OUTPUT_CHARS) for run in item],
            "levels": list(self.levels),
            "said": word,
            "note": note,
        }

    def _agreements(self) -> list[str]:
        from crew_nb._scores import agreement

        states = [output.state for output in self._outputs.values()]
        return agreement.in_words(self._sheet, states, self.name)

    def _redraw(self) -> None:
        if self._widget is not None:
            self._widget.tell()

    def __repr__(self) -> str:
        return f"<Rating {self.name}: {self.done:,} of {len(self):,} rated>"

    def _static(self) -> dict[str, str]:
        words = f"{self.done:,} of {len(self):,} outputs rated as {self.name}."
        more = "" if self.item is None else " The cell goes on where it was left, when it is run again."
        return {"text/plain": words, "text/html": el("p", words, more)}

    def _ipython_display_(self) -> None:
        from IPython.display import display

        place = _loop.where()
        if place.kind != "kernel" or place.headless:  # nobody could press a key
            display(self._static(), raw=True)  # type: ignore[no-untyped-call]
            return
        from crew_nb._board.rater import Rater

        if self._widget is None:
            self._widget = Rater(self)
        self._widget.show(self._static)


def _levels(scale: Any) -> dict[str, Any]:
    if scale is bool:
        return {"no": False, "yes": True}
    levels = list(scale) if isinstance(scale, list | tuple) else []
    whole = len(levels) == 2 and all(isinstance(level, int) and not isinstance(level, bool) for level in levels)
    if whole:
        levels = list(range(levels[0], levels[1] + 1))
    words = all(isinstance(level, str) and level.strip() for level in levels)
    if not 2 <= len(set(levels)) == len(levels) <= MOST_LEVELS or not (whole or words):
        raise OptionError(
            f'scale is {scale!r:.60}. Write bool, (1, 5), or up to {MOST_LEVELS} words: ["bad", "fair", "good"].'
        )
    return {str(level): level for level in levels}


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(plain(value))
