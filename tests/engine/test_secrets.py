"""What runs tell of keys: on the board, to listeners, in the record and in files; and what they leave alone."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from crewai.tools import BaseTool
from pydantic import PrivateAttr

import crew_nb as cnb
from crew_nb._engine.engine import THREAD_NAME
from crew_nb._record import record as _record
from crew_nb._state import secret_looks
from crew_nb._state.events import CallChunk
from crew_nb._state.secret_looks import LONG
from crew_nb._state.secrets import ENVIRONMENT
from tests.support import crews

if TYPE_CHECKING:
    from pathlib import Path

    from crewai import Crew

KEY = "Zq8hT3mXw0bV5nK2pL7rY4cD9fG1jS6a"
HIDDEN = "***"


def saying(*answers: Any, **options: Any) -> cnb.OfflineLLM:
    """An offline LLM with these answers."""
    return cnb.OfflineLLM(list(answers), latency=0, **{"tokens_per_second": None, **options})


def on_disk() -> str:
    """All bytes of the record."""
    cnb.runs()
    path = _record.default_path()
    return b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*")).decode("latin-1")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("cookie", "chocolate chip"),
        ("token", "United States"),
        ("secret", "recipe of the house"),
        ("password", "open it"),
    ],
)
def test_words_of_an_input_stay_in_every_answer(field: str, words: str) -> None:
    """Whatever they stand under: what is resumed, loaded or said in another batch is what the run gave."""
    answer = f"Here is all about {words}: well known."
    crew = crews.one(saying(answer))
    rows = [{"topic": "A", field: words}, {"topic": "B"}]
    first = cnb.kickoff_for_each(crew, rows, name=f"first {field}", show=False).wait(60)
    again = cnb.kickoff_for_each(crew, rows, resume=f"first {field}", show=False).wait(60)
    other = cnb.kickoff_for_each(crew, [{"topic": "C"}], name=f"other {field}", show=False).wait(60)
    assert [r.state.from_record for r in again] == [True, True]
    assert [r.raw for r in (*first, *again, *other)] == [answer] * 5
    assert cnb.load(f"other {field}")[0].raw == answer


def test_a_token_of_one_input_is_hidden_in_its_run_alone() -> None:
    """What one client sends changes nothing of what another is answered."""
    crew = crews.one(saying(*[f"The token is {KEY}."] * 2))
    rows = [{"topic": "A", "auth_token": KEY}, {"topic": "B"}]
    batch = cnb.kickoff_for_each(crew, rows, name="tokens", show=False)
    assert [r.raw for r in batch.wait(60)] == [f"The token is {KEY}."] * 2
    assert [r.state.output for r in cnb.load("tokens")] == [f"The token is {HIDDEN}.", f"The token is {KEY}."]


def test_what_a_batch_has_learnt_is_known_to_it_alone() -> None:
    """Nothing of it stays with the process, so that hiding costs the same after any number of requests."""
    before = ENVIRONMENT.version
    rows = [{"topic": str(n), "auth_token": f"{KEY}{n}"} for n in range(20)]
    cnb.kickoff_for_each(crews.one(saying("fine")), rows, show=False).wait(60)
    assert ENVIRONMENT.version is before
    again = cnb.kickoff_for_each(crews.one(saying(f"{KEY}7")), [{"topic": "A"}], show=False).wait(60)
    assert again[0].state.output == f"{KEY}7"


class Client:
    """What a tool asks with."""

    __slots__ = ("api_key",)

    def __init__(self) -> None:
        self.api_key = f"{KEY}-slots"


class Search(BaseTool):
    name: str = "search"
    description: str = "Search the web"
    client: object = None
    _api_key: str = PrivateAttr(default=f"{KEY}-private")

    def _run(self, q: str) -> str:
        return f"looked for {q} with {self._api_key} and {self.client.api_key}"  # type: ignore[attr-defined]


def test_keys_in_usual_places_are_neither_shown_nor_kept(tmp_path: Path) -> None:
    """A tool's private attribute, a client's slot, the password in the address of an LLM; and the batch's name."""
    model = saying({"name": "search", "arguments": {"q": "tea"}}, f"{KEY}-private {KEY}-slots {KEY}-address")
    model.base_url = f"https://clerk:{KEY}-address@proxy.example/v1"

    def build(topic: str) -> Crew:
        return crews.one(model, tools=[Search(client=Client())])

    batch = cnb.kickoff_for_each(build, [{"topic": "tea"}], name=f"with {KEY}-slots", show=False)
    results = batch.wait(60)
    saved = results.save(tmp_path / "saved").read_text()
    texts = [results.to_html(), saved, on_disk(), repr(batch), repr(batch.state()), repr(batch.events)]
    assert results[0].status == "done"
    assert results[0].raw.count(KEY) == 3
    assert [text.count(KEY) for text in texts] == [0] * 6


@pytest.mark.parametrize("stopped", [False, True])
def test_a_stream_tells_no_part_of_a_key(stopped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it comes, at its end, and when it is stopped in the middle of the key."""
    spoken = "correct horse battery 7staple"
    monkeypatch.setenv("DB_PASSWORD", spoken)
    answer = f"It is {KEY} or {spoken}, and on it goes."
    heard = threading.Event()
    model = cnb.OfflineLLM(lambda messages: answer if heard.wait(60) else "", latency=0, tokens_per_second=2_000)
    said: list[str] = []
    batch = cnb.kickoff_for_each(crews.one(model), [{"topic": "A", "api_key": KEY}], stream=True, show=False)

    def hear(event: object) -> None:
        if isinstance(event, CallChunk):
            said.append(event.text)
            if stopped and "It" in "".join(said):
                batch.cancel()

    batch.taps.append(hear)
    heard.set()
    batch.wait(60)
    told = "".join(said)
    assert KEY[:8] not in told
    assert "horse" not in told
    assert KEY[:8] not in repr(batch.state())
    if not stopped:
        assert told == f"It is {HIDDEN} or {HIDDEN}, and on it goes."


def _long_answer(messages: Any) -> str:
    return "All work and no play. " * 10_000 + "hf_aBcDeFgHiJ0123456789kLmNoPqRsTuVwX"


def test_long_answers_are_looked_through_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long text is searched on the engine's thread, and nothing is shown before it was; order is kept."""
    looked: list[tuple[str, int]] = []
    search = secret_looks._found

    def see(text: str) -> list[tuple[int, int]]:
        looked.append((threading.current_thread().name, len(text)))
        return search(text)

    monkeypatch.setattr(secret_looks, "_found", see)
    llm = cnb.OfflineLLM(_long_answer, latency=0, tokens_per_second=None)
    batch = cnb.kickoff_for_each(crews.chain(llm, 2), [{"topic": "A"}, {"topic": "B"}], show=False)
    results = batch.wait(60)
    assert max(size for name, size in looked if name == THREAD_NAME) < LONG
    assert max(size for name, size in looked if name != THREAD_NAME) > LONG
    for result in results:
        shown = {result.state.output, *(task.output for task in result.state.tasks)}
        assert {text[-12:] for text in shown} == {" no play. ***"[-12:]}
        kinds = [type(event).__name__ for event in batch.events if event.run == result.index]
        assert [k for k in kinds if k.startswith("Task")] == ["TaskStarted", "TaskFinished"] * 2
        assert kinds[-1] == "RunFinished"


def test_long_answers_are_let_go_with_their_handle() -> None:
    """What a batch's texts took is free when nobody holds the batch: nothing of ours keeps them."""
    crew = crews.one(cnb.OfflineLLM(_long_answer, latency=0, tokens_per_second=None))

    def run(rows: int) -> int:
        batch = cnb.kickoff_for_each(crew, [{"topic": f"T{i}"} for i in range(rows)], show=False)
        batch.wait(60)
        gone = threading.Event()
        weakref.finalize(batch._driver, gone.set)
        del batch
        end = time.monotonic() + 30
        while not gone.wait(0.05) and time.monotonic() < end:  # what told of the end may still be on its way out
            gc.collect()
        _record.get().flush()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert run(6) - run(2) < len(_long_answer([]))
    finally:
        tracemalloc.stop()
