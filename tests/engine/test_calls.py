"""What passes the gate: counted once, streamed only where that changes nothing, whole or not at all."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from crewai import BaseLLM
from crewai.flow.flow import Flow, start
from crewai.types.usage_metrics import UsageMetrics

import crew_nb as cnb
from crew_nb._engine import retry as _retry
from crew_nb._engine.engine import engine
from crew_nb._state.call import Answer, CallRecord
from crew_nb._state.usage import Usage
from tests.support import crews
from tests.support.providers import CALL, KINDS, Ask, Cut, Providers, Raw, Refusal, Reply, Short, Use
from tests.support.scripted_llm import ScriptedLLM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crew_nb._state.attempt import Attempt

TOPIC = {"topic": "Mars"}
REPORT = '{"title": "Mars", "score": 7, "tags": ["red"]}'
WORDS = "Final Answer: Mars is red and far away, and that is all of it: END"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "FIRST_DELAY", 0.01)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Providers]]:
    """Starts a server of every protocol, which answers as it is told."""
    begun: list[Providers] = []

    def start(answer: Callable[[Ask], Reply], **options: Any) -> Providers:
        begun.append(Providers(answer, **options).__enter__())
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", begun[-1].root)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        return begun[-1]

    yield start
    for server in begun:
        server.__exit__()


def _replies(ask: Ask) -> Reply:
    """A call of `search` where it is offered, then words; a report where one is to be filled."""
    if "search" in ask.tools and "3 hits" not in ask.text:
        return Use("search", {"query": "Mars"})
    forms = [tool for tool in ask.tools if tool != "search"]
    if forms:
        return Use(forms[0], {"title": "Mars", "score": 7, "tags": ["red"]})
    return REPORT if "tags" in ask.text else WORDS


def _run(crew: Any, **options: Any) -> cnb.Result:
    return cnb.kickoff(crew, TOPIC, show=False, **options).batch.wait(120)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_llm_class_answers_and_counts_as_under_bare_crewai(
    serve: Callable[..., Providers], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole or in pieces, with tools, with a model to fill: the same answers, requests, and every token."""
    server = serve(_replies)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.root}/v1")
    shapes: list[dict[str, Any]] = [{}, {"tools": [crews.search]}, {"output_pydantic": crews.Report}]
    for shape in shapes:
        bare = asyncio.run(crews.one(server.llm(kind), **shape).akickoff(TOPIC))
        asked = len(server.asks)
        for stream in (False, True):
            server.asks.clear()
            server.tokens = 0
            result = _run(lambda shape=shape: crews.one(server.llm(kind), **shape), stream=stream)
            assert result.status == "done", (shape, stream, result.state.error)
            assert (result.raw, result.pydantic) == (bare.raw, bare.pydantic), (shape, stream)
            assert len(server.asks) <= asked
            assert result.state.usage.total_tokens == result.token_usage.total_tokens == server.tokens
            if not shape:
                # CrewAI's class for Bedrock does not hear of tokens in streams
                assert [ask.stream for ask in server.asks] == [stream and kind != "bedrock"]
        server.asks.clear()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_half_an_answer_is_asked_again(serve: Callable[..., Providers], kind: str, stream: bool) -> None:
    """An answer that ends in the middle is a lost connection, and never the result."""
    server = serve(lambda ask: Cut(WORDS) if ask.number == 0 else WORDS)
    result = _run(lambda: crews.one(server.llm(kind)), stream=stream)
    assert result.raw.endswith("END")
    assert len(server.asks) == 2
    failed = [call for call in result.state.all_calls if call.status == "failed"]
    assert len(failed) == 1
    why = "500" if kind == "litellm" and not stream else "connection"  # LiteLLM tells of what it cannot read as a 500
    assert [call.detail for call in result.state.all_calls if call.kind == "wait"] == [f"{why}, try 2 of 4"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_room_is_told(serve: Callable[..., Providers], kind: str, stream: bool) -> None:
    """One that ends where its tokens did is the answer, asked for once, and its row says that it is cut short."""
    server = serve(lambda ask: Short(WORDS))
    result = _run(lambda: crews.one(server.llm(kind, max_tokens=20)), stream=stream)
    assert len(server.asks) == 1
    assert result.raw == WORDS.removeprefix("Final Answer: ")
    assert [line.text for line in result.state.log if "is cut short" in line.text]


def test_what_only_streams_lose_comes_whole(serve: Callable[..., Providers]) -> None:
    """Where every stream breaks off, the last try is made without one; without tries left, the run fails."""
    server = serve(lambda ask: Cut(WORDS) if ask.stream else WORDS)
    assert _run(lambda: crews.one(server.llm()), stream=True).raw.endswith("END")
    assert [ask.stream for ask in server.asks] == [True, True, True, False]
    failed = _run(lambda: crews.one(server.llm()), stream=True, max_retries=0)
    assert failed.status == "failed"
    assert "broke off" in failed.state.error.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("sent", "told"), [("<html>Please log in</html>", "Please log in"), ("\xff", "no answer of an")]
)
def test_a_page_is_no_answer(serve: Callable[..., Providers], sent: str, told: str, stream: bool) -> None:
    """A proxy's page with status 200, or what is no text, is tried again; if it stays, the run fails in words."""
    page = Raw(sent.encode("latin-1"))
    server = serve(lambda ask: page if ask.number == 0 else WORDS)
    assert _run(lambda: crews.one(server.llm()), stream=stream).raw.endswith("END")
    failed = _run(lambda: crews.one(serve(lambda ask: page).llm()), stream=stream, max_retries=1)
    assert failed.status == "failed"
    assert told in failed.state.error.message


@pytest.mark.parametrize("wish", [None, True], ids=["the LLM's own", "the board's"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_of_a_function_that_is_not_there_is_no_empty_stream(
    serve: Callable[..., Providers], kind: str, wish: bool | None
) -> None:
    """What CrewAI makes of such a stream is what its caller gets, asked once, as without us."""
    server = serve(lambda ask: Use("another", {}))
    schema = {"name": "answer", "description": "Answers.", "parameters": {"type": "object", "properties": {}}}

    def ask(**more: Any) -> str:
        tools, functions = [{"type": "function", "function": schema}], {"answer": lambda: "answered"}
        return repr(server.llm(kind, **more).call("Plan.", tools=tools, available_functions=functions))

    class Asks(Flow[Any]):
        @start()
        def begin(self) -> str:
            return ask() if wish else ask(stream=True)

    bare = [ask(stream=True), ask(stream=False)]  # Bedrock is asked for the latter: its streams lose tools
    batch = cnb.kickoff(Asks, show=False, stream=wish).batch
    assert batch.wait(60)[0].raw in bare
    assert len(server.asks) == 3
    assert [note for note in batch.state().notes if "streams" in note] == []


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}),
        Refusal(400, {"error": {"message": "must be verified to stream", "param": "stream"}}),
        Refusal(400, {"error": {"message": "unsupported value"}}),
        Refusal(501, {"error": {"message": "not implemented"}}),
        Refusal(500, {"error": {"message": "streaming is not supported"}}),
    ],
    ids=lambda refusal: f"{refusal.status} {str(refusal.body)[-24:]}",
)
def test_streams_that_are_refused_are_given_up(serve: Callable[..., Providers], refusal: Refusal) -> None:
    """Once, for LLMs like it, with a line on the board; the runs are done."""
    server = serve(lambda ask: refusal if ask.stream else WORDS)
    inputs = [{"topic": f"T{n}"} for n in range(4)]
    build = lambda topic: crews.one(server.llm())  # noqa: E731
    batch = cnb.kickoff_for_each(build, inputs, show=False, stream=True, max_concurrency=1)
    assert {result.status for result in batch.wait(120)} == {"done"}
    assert [ask.stream for ask in server.asks] == [True, False, False, False, False]
    assert [note for note in batch.state().notes if "refuses streams" in note] != []


def test_a_request_that_is_wrong_is_no_refusal_of_streams(serve: Callable[..., Providers]) -> None:
    """It is asked once more without a stream, which tells; later ones of that LLM stream as before."""
    bad = Refusal(400, {"error": {"message": "unknown parameter"}})
    server = serve(lambda ask: bad if "T0" in ask.text else WORDS)
    inputs = [{"topic": "T0"}, {"topic": "T1"}]
    build = lambda topic: crews.one(server.llm())  # noqa: E731
    batch = cnb.kickoff_for_each(build, inputs, show=False, stream=True, max_concurrency=1)
    assert [result.status for result in batch.wait(120)] == ["failed", "done"]
    assert [ask.stream for ask in server.asks] == [True, False, True]


def test_streams_without_usage_are_estimated_and_marked(serve: Callable[..., Providers]) -> None:
    """A guess counts, and says so; with a budget, that LLM is asked without streams from then on."""
    server = serve(lambda ask: WORDS, usage_in_streams=False)
    batch = cnb.kickoff(lambda: crews.one(server.llm()), TOPIC, show=False, stream=True).batch
    state = batch.wait(120)[0].state
    assert state.usage.total_tokens > 0
    assert state.estimated_calls == 1
    assert any("estimated" in note and "stream" in note for note in batch.state().notes)
    server.asks.clear()
    inputs = [{"topic": f"T{n}"} for n in range(9)]
    build = lambda topic: crews.one(server.llm())  # noqa: E731
    few = cnb.kickoff_for_each(build, inputs, show=False, stream=True, max_concurrency=1, max_total_tokens=300)
    few.wait(120)
    assert [ask.stream for ask in server.asks][:2] == [True, False]
    assert len(server.asks) <= 4


def test_stream_false_is_no_stream(serve: Callable[..., Providers]) -> None:
    """Whatever the LLM object says, which stays as it is."""
    server = serve(lambda ask: WORDS)
    model = server.llm(stream=True)
    _run(crews.one(model), stream=False)
    _run(lambda: crews.one(model))
    assert [ask.stream for ask in server.asks] == [False, True]
    assert model.stream is True


class Own(BaseLLM):
    """An LLM class of a user's own: tells its tokens to the base class, to nobody, or by counters of its own."""

    tells: str = "base"
    asked: int = 0
    inner: Any = None

    def call(self, messages: Any, callbacks: Any = None, **more: Any) -> str:
        self.asked += 1
        counts = {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42}
        if self.inner is not None:
            answer = self.inner.call(messages, **more)
            if self.tells == "base":
                self._track_token_usage_internal(counts)
            return str(answer)
        if self.tells == "base":
            self._track_token_usage_internal(counts)
        elif self.tells == "dict":
            for name, count in counts.items():
                self._token_usage[name] += count
        elif self.tells == "callbacks":
            for callback in callbacks or ():
                callback.log_success_event({}, {"usage": counts}, 0, 0)
        return "Final Answer: done"

    def get_token_usage_summary(self) -> UsageMetrics:
        if self.tells != "sums":
            return super().get_token_usage_summary()
        return UsageMetrics(
            total_tokens=42 * self.asked, prompt_tokens=30 * self.asked, completion_tokens=12 * self.asked
        )


@pytest.mark.parametrize("tells", ["base", "dict", "sums", "callbacks"])
def test_an_own_llm_class_is_counted_however_it_tells(tells: str) -> None:
    """By one object for many runs at once too: the sum is right, and a budget bites."""
    shared = Own(model="own", tells=tells)
    inputs = [{"topic": f"T{n}"} for n in range(8)]
    batch = cnb.kickoff_for_each(lambda topic: crews.one(shared), inputs, show=False)
    results = batch.wait(120)
    assert results.usage.total_tokens == 8 * 42
    few = cnb.kickoff_for_each(
        lambda topic: crews.one(shared), inputs, show=False, max_concurrency=1, max_total_tokens=100
    )
    assert [result.status for result in few.wait(120)].count("done") == 3


def test_an_llm_that_tells_nothing_is_not_counted_and_said_so() -> None:
    """No number is made up."""
    batch = cnb.kickoff(lambda: crews.one(Own(model="own", tells="")), TOPIC, show=False).batch
    state = batch.wait(120)[0].state
    assert (state.usage.total_tokens, state.uncounted_calls) == (0, 1)
    assert any("not counted" in line.text for line in state.log)
    assert "(+ 1 call not counted)" in str(batch.results)
    held = cnb.kickoff(lambda: crews.one(Own(model="own", tells="")), TOPIC, max_cost=1.0, show=False).batch
    held.wait(120)
    assert any("no budget holds" in note for note in held.state().notes)


@pytest.mark.parametrize("tells", ["", "base"])
def test_an_llm_that_asks_another_is_counted_once(tells: str) -> None:
    """Whether or not it tells again what the other has told."""
    run = cnb.kickoff(lambda: crews.one(Own(model="router", tells=tells, inner=Own(model="own"))), TOPIC, show=False)
    run.wait(120)
    assert run.usage.total_tokens == 42


def test_callbacks_see_the_tokens_of_their_run() -> None:
    """Also of an LLM object that other runs share, and that has counted before."""
    seen = []
    shared = ScriptedLLM(["Final Answer: done"])
    crews.one(shared).kickoff(TOPIC)

    def build(topic: str) -> Any:
        crew = crews.chain(shared, 2)
        crew.after_kickoff_callbacks.append(lambda output: seen.append(output.token_usage.total_tokens) or output)
        return crew

    inputs = [{"topic": f"T{n}"} for n in range(5)]
    results = cnb.kickoff_for_each(build, inputs, show=False).wait(120)
    assert seen == [30] * 5
    assert results.usage.total_tokens == 150


class Witness:
    """Answers questions about Mars, and sees all."""

    def __init__(self) -> None:
        self.seen: list[CallRecord] = []

    def before(self, attempt: Attempt, record: CallRecord) -> Answer | None:
        known = "topic=Mars" in str(record.asked.messages)
        return Answer(value="Final Answer: from memory", usage=Usage(total_tokens=15)) if known else None

    def after(self, attempt: Attempt, record: CallRecord) -> None:
        self.seen.append(record)


def test_a_witness_sees_every_call_and_may_answer_it() -> None:
    """What it knows is not asked, takes no slot and costs nothing."""
    model = ScriptedLLM(["Final Answer: asked"], temperature=0.5)
    witness = Witness()
    attached = threading.Event()

    def build(topic: str) -> Any:
        assert attached.wait(60)
        return crews.one(model, tools=[crews.search])

    def attach() -> None:
        batch._driver._gate_now().witnesses.append(witness)
        attached.set()

    batch = cnb.kickoff_for_each(build, [{"topic": "Mars"}, {"topic": "Venus"}], show=False)
    engine.call(attach)
    results = batch.wait(120)
    assert [result.raw for result in results] == ["from memory", "asked"]
    assert len(model.asked) == 1
    mars, venus = sorted(witness.seen, key=lambda record: record.output)[::-1]
    assert (mars.usage.total_tokens, mars.saved, venus.usage.total_tokens) == (0, Usage(total_tokens=15), 15)
    assert venus.saved is None
    assert (venus.asked.model, venus.asked.settings["temperature"], venus.task) == ("scripted", 0.5, 0)
    assert results.usage.total_tokens == 15


def test_tokens_of_a_failed_call_are_spent(serve: Callable[..., Providers]) -> None:
    """An answer that the provider has counted and nobody could use is in the sum, and in the budget."""
    server = serve(lambda ask: WORDS)

    class Picky(type(server.llm())):  # type: ignore[misc]
        async def acall(self, *args: Any, **more: Any) -> Any:
            await super().acall(*args, **more)
            raise ValueError("not what I wanted")

    model = Picky(model="gpt-4o-mini", base_url=f"{server.root}/v1", api_key="none")
    result = _run(lambda: crews.one(model))
    assert result.status == "failed"
    assert result.state.usage.total_tokens == server.tokens
    assert server.tokens >= CALL
