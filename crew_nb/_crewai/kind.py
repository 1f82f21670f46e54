"""One kind of thing that CrewAI can start: what a module must know of it, so that all else can do without."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from crew_nb._crewai.placeholders import NO_DATA

if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from inspect import Parameter

    from crew_nb._crewai.placeholders import Data
    from crew_nb._state.events import TaskSpec
    from crew_nb._state.usage import Usage


Ask = Callable[[str, str, str], str]
"""Asks a person, from a worker thread: what asks, what to look at, and the place of the step; gives the answer."""


class Kind(Protocol):
    """One kind of thing that can be kicked off."""

    name: str
    """What people call one."""

    arguments: frozenset[str]
    """Further arguments that its kickoff takes."""
    needs: frozenset[str]
    """Inputs that it cannot do without."""
    takes_objects: bool
    """Whether an input may be any object; else it is one that a prompt can show."""

    def owns(self, value: object) -> bool:
        """Whether it is one of these; loads nothing for the question."""

    def template(self, given: Any) -> Any:
        """It as it is now: what the user does to it later does not reach the queued runs. Raises as `copy` does."""

    def copy(self, given: Any) -> Any:
        """One like it that shares nothing that a run changes.

        Raises:
            UnfaithfulCopyError: When something of it would be lost, with what it is and the factory to write.
        """

    def adopt(self, built: Any, begun: datetime.datetime, factory: Any) -> tuple[Any, frozenset[int]]:
        """What a factory that was called at that time has built, made the run's own: a copy of what others have.

        With it come the ids of those of its parts that the factory made for this run.

        Raises:
            UnfaithfulCopyError: When it has to be copied, and something would be lost.
        """

    def settle(self, subject: Any, data: Data, *, leave_unknown: bool) -> None:
        """Take apart what its own parts share, and see to it that its texts are filled in once.

        Args:
            subject: It is the run's own.
            data: What its factory was given.
            leave_unknown: Whether names in braces that are no inputs stay as they are.
        """

    def label(self, given: Any) -> str:
        """Its name for people."""

    def placeholders(self, subject: Any, data: Data = NO_DATA) -> set[str]:
        """The names in braces that inputs fill."""

    def parameters(self, subject: Any) -> list[Parameter]:
        """Further inputs that are known, with their types and what they are without being given."""

    def words_in_braces(self, subject: Any, data: Data) -> list[str]:
        """What stands in braces in its texts and is no data."""

    def reads(self, subject: Any) -> set[str]:
        """Inputs that CrewAI puts into its prompts by itself."""

    def takes_other_inputs(self, subject: Any) -> bool:
        """Whether code of the user's sees the inputs before they are filled in, and may put others in their place."""

    def known_by(self, given: Any) -> Any:
        """What stands for it where runs are known by their content."""

    def inputs(self, subject: Any, inputs: dict[str, Any] | None, taken: set[str]) -> dict[str, Any] | None:
        """Those of the inputs that it is kicked off with; `taken` are those that its factory took."""

    def make_ready(self, subject: Any, *, keep_replay: bool) -> Ready:
        """Prepare it for the shared loop; it runs once."""

    def asks(self, subject: Any) -> Literal["never", "maybe", "surely"]:
        """Whether it asks a person."""

    def let_ask(self, subject: Any, ask: Ask) -> None:
        """Where it asks by itself, without CrewAI's `HumanInputProvider`, it asks by this function."""

    async def start(self, subject: Any, inputs: dict[str, Any] | None, how: Mapping[str, Any]) -> Any:
        """Run it to its end, and return its output.

        Args:
            subject: It.
            inputs: What it is kicked off with.
            how: Further arguments of its kickoff, by name.

        Raises:
            TypeError: When that is no output, with what is wrong.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What is known of a thing that is about to run."""

    steps: tuple[TaskSpec, ...]
    """Its tasks, in order."""
    places: dict[str, int]
    """The position of each of them by CrewAI's id."""
    llms: list[Any]
    """Every LLM object that it may ask, once each."""
    tools: list[Any]
    """The tools of its agents."""
    path: Literal["direct", "stock"]
    """Whose executor runs it."""
    why: str
    """Why it is CrewAI's own; empty where it is not."""
    hear_usage: Callable[[Usage], object] | None = None
    """Who wants to know, besides us, what each LLM call took."""
    notes: tuple[str, ...] = ()
    """What people should know of it, for the head of the board."""


_claimed: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
"""What a run has had, by id: a factory that hands it out again gets a copy of what it built."""

_claiming = threading.Lock()  # factories are called in many threads at once, and may share what they hand out


def claim(parts: Iterable[Any]) -> list[Any]:
    """Those that no run had before; they are this run's from now on."""
    with _claiming:
        free = [part for part in parts if _claimed.get(id(part)) is not part]
        _claimed.update({id(part): part for part in free})
        return free
