"""One kind of thing that CrewAI can start: what a module must know of it, so that all else can do without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from crew_nb._crewai.placeholders import NO_DATA

if TYPE_CHECKING:
    import datetime

    from crew_nb._crewai.placeholders import Data
    from crew_nb._state.events import TaskSpec


class Kind(Protocol):
    """One kind of thing that can be kicked off."""

    name: str
    """What people call one."""

    def owns(self, value: object) -> bool:
        """Whether it is one of these; loads nothing for the question."""

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

    def words_in_braces(self, subject: Any, data: Data) -> list[str]:
        """What stands in braces in its texts and is no data."""

    def reads(self, subject: Any) -> set[str]:
        """Inputs that CrewAI puts into its prompts by itself."""

    def takes_other_inputs(self, subject: Any) -> bool:
        """Whether code of the user's sees the inputs before they are filled in, and may put others in their place."""

    def make_ready(self, subject: Any, *, keep_replay: bool) -> Ready:
        """Prepare it for the shared loop; it runs once."""

    async def start(self, subject: Any, inputs: dict[str, Any] | None) -> Any:
        """Run it to its end; its output is what CrewAI itself would have returned.

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
