"""The LLM server: what it counts, and how it goes wrong when asked to, as CrewAI's own OpenAI client sees it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

from tests.support import crews
from tests.support.server import llm

if TYPE_CHECKING:
    from tests.support.server import Server

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


class Verdict(BaseModel):
    title: str
    score: int


@both
def test_an_answer_names_its_topic_and_its_tokens_are_counted(server: Server, stream: bool) -> None:
    """The client's usage is what the server says it handed out."""
    server.configure(tokens=30)
    client = llm(server, stream=stream)
    assert "topic=Mars" in client.call("Tell of topic=Mars")
    stats = server.stats()
    (request,) = stats.requests
    assert (request.topic, request.topics, request.stream) == ("Mars", ["Mars"], stream)
    assert (request.status, request.tokens, request.completion_tokens) == (200, 30, 30)
    assert client.get_token_usage_summary().total_tokens == stats.total_tokens
    assert stats.in_flight == 0


@both
def test_tools_are_called_once_and_told_of(server: Server, stream: bool) -> None:
    """An agent with a tool uses it, and its answer holds the tool's result."""
    crew = crews.one(llm(server, stream=stream), tools=[crews.search])
    assert "3 hits for" in crew.kickoff({"topic": "Mars"}).raw
    assert len(server.stats().requests) == 2


@both
def test_a_response_format_is_followed(server: Server, stream: bool) -> None:
    """A structured output is valid JSON for its schema."""
    result = llm(server, stream=stream).call("Judge topic=Mars", response_model=Verdict)
    assert isinstance(result, Verdict)
    assert "Mars" in result.title


def test_requests_in_flight_are_counted_and_held(server: Server) -> None:
    """`hold` keeps requests waiting until they are released: 8 at once are seen as 8."""
    server.configure(hold=True)
    client = llm(server)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.call, f"topic=T{n}") for n in range(8)]
        assert server.wait_for(lambda s: s.in_flight == 8).peak == 8
        server.release()
        assert all(f"topic=T{n}:" in a.result(60) for n, a in enumerate(answers))
    stats = server.stats()
    assert (stats.in_flight, stats.peak) == (0, 8)
    assert stats.by_topic == {f"T{n}": 1 for n in range(8)}


def test_a_rate_limit_says_when_to_come_back(server: Server) -> None:
    """A 429 carries `Retry-After` and OpenAI's reset headers; the next try is answered."""
    server.configure(faults=[{"kind": 429, "topic": "Mars", "times": 1, "retry_after": 0.25}])
    client = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
    messages: list[Any] = [{"role": "user", "content": "topic=Mars"}]
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="m", messages=messages)
    assert caught.value.response.headers["retry-after"] == "0.25"
    assert caught.value.response.headers["x-ratelimit-reset-requests"] == "0.25s"
    assert client.chat.completions.create(model="m", messages=messages).choices[0].message.content
    client.close()
    assert [(r.status, r.attempt) for r in server.stats().requests] == [(429, 1), (200, 2)]


@both
@pytest.mark.parametrize("kind", [500, 401, "cut", "malformed"])
def test_faults_reach_the_client(server: Server, kind: str | int, stream: bool) -> None:
    """Errors, cut answers and broken JSON end in an exception, and the server tells which it was."""
    server.configure(faults=[{"kind": kind}])
    with pytest.raises(Exception) as caught:
        llm(server, stream=stream, max_retries=0).call("topic=Mars")
    if isinstance(kind, int):
        assert isinstance(caught.value, openai.APIStatusError)
    (request,) = server.stats().requests
    assert request.fault == kind
    assert request.completion_tokens == 0


@both
def test_slow_bytes_arrive_whole(server: Server, stream: bool) -> None:
    """An answer that comes a few bytes at a time, cut anywhere, is the same answer."""
    server.configure(answer="größer — 日本 topic=Mars", faults=[{"kind": "slow"}])
    assert llm(server, stream=stream).call("topic=Mars") == "größer — 日本 topic=Mars"


def test_a_hang_ends_with_the_client(server: Server) -> None:
    """A request that is never answered is in flight until the client closes it, and is then marked so."""
    server.configure(faults=[{"kind": "hang"}])
    with pytest.raises(ConnectionError):
        llm(server, timeout=0.2, max_retries=0).call("topic=Mars")
    (request,) = server.wait_for(lambda s: s.in_flight == 0).requests
    assert (request.status, request.disconnected) == (None, True)


async def test_a_cancelled_call_is_seen_as_a_disconnect(server: Server) -> None:
    """Cancelling `acall` closes its connection, in the middle of a stream too."""
    server.configure(tokens=1000, tokens_per_second=100)
    call = asyncio.create_task(llm(server, stream=True).acall("topic=Mars"))
    await asyncio.to_thread(server.wait_for, lambda s: s.requests and s.requests[0].tokens)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (request,) = server.wait_for(lambda s: s.in_flight == 0).requests
    assert request.disconnected
    assert 0 < request.tokens < 1000


def test_a_share_of_faults_is_the_same_every_time(server: Server) -> None:
    """Seeded faults fall on the same prompts whatever the order of requests."""

    def failed(order: range) -> set[str]:
        server.reset()
        server.configure(faults=[{"kind": 500, "share": 0.3}], seed=7)
        client = openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)
        for n in order:
            with contextlib.suppress(openai.InternalServerError):
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"topic=T{n}"}])
        client.close()
        return {r.topic for r in server.stats().requests if r.status == 500}

    first = failed(range(40))
    assert first == failed(range(39, -1, -1))
    assert 4 <= len(first) <= 20


def test_topics_have_their_own_settings(server: Server) -> None:
    """What is set for a topic leaves the others alone."""
    server.configure(topics={"Mars": {"answer": "red"}})
    client = llm(server)
    assert client.call("topic=Mars") == "red"
    assert "topic=Venus" in client.call("topic=Venus")


def test_windows_and_late_arrivals(server: Server) -> None:
    """Arrivals are counted in any window, and after a moment."""
    client = llm(server)
    for n in range(3):
        client.call(f"topic=T{n}")
    stats = server.stats()
    between = (stats.requests[1].arrived + stats.requests[2].arrived) / 2
    assert stats.most_in(60) == 3
    assert [r.topic for r in stats.after(between)] == ["T2"]


def test_reset_cuts_what_is_in_flight(server: Server) -> None:
    """A reset frees clients that wait, and forgets them."""
    server.configure(hold=True)
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            llm(server, max_retries=0).call("topic=Mars")
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    server.wait_for(lambda s: s.in_flight == 1)
    server.reset()
    thread.join(60)
    assert outcome
    assert server.stats().requests == []
    assert server.stats().in_flight == 0


def test_unknown_endpoints_are_named(server: Server) -> None:
    """CrewAI's default OpenAI client needs chat completions alone; anything else would be listed."""
    crews.one(llm(server)).kickoff({"topic": "Mars"})
    assert server.stats().others == []


def test_times_are_unix_seconds(server: Server) -> None:
    """The server's clock is the test's."""
    before = time.time()
    llm(server).call("topic=Mars")
    (request,) = server.stats().requests
    assert request.ended is not None
    assert before <= request.arrived <= request.ended <= time.time()
