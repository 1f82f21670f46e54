"""An OpenAI-compatible LLM server in its own process: the outside witness of what was asked, when, and by whom."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    import crewai

ROOT = Path(__file__).parents[2]
# No proxy of the environment stands between a test and its own process.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One chat completion that the server was asked for; times are Unix seconds."""

    id: int
    arrived: float
    ended: float | None
    """None while it is in flight."""
    topic: str
    """The first topic named in the prompt."""
    topics: list[str]
    """All topics named in the prompt: more than one means that runs were mixed up."""
    stream: bool
    structured: bool
    """It said which schema the answer is to have."""
    attempt: int
    """How often this very prompt had come by then."""
    status: int | None
    """None where no answer was begun."""
    fault: str | int | None
    disconnected: bool
    """The client went away before the answer's end."""
    tokens: int
    """Tokens sent."""
    prompt_tokens: int
    completion_tokens: int
    """Tokens told of in the usage block; 0 where none was sent."""
    model: str = ""
    prompt: str = ""
    """Filled by `stats(prompts=True)`."""
    body: dict[str, Any] = field(default_factory=dict)
    """Filled by `stats(bodies=True)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What the server has seen since its last reset."""

    in_flight: int
    peak: int
    """Most requests in flight at once."""
    requests: list[Request]
    others: list[str]
    """Requests to endpoints that the server does not have."""
    embedded: list[str]
    """Texts that it was asked to embed."""

    @property
    def by_topic(self) -> Counter[str]:
        """Requests per topic."""
        return Counter(r.topic for r in self.requests)

    @property
    def total_tokens(self) -> int:
        """Tokens that the usage blocks told of, prompts included."""
        return sum(r.prompt_tokens + r.completion_tokens for r in self.requests if r.completion_tokens)

    def after(self, at: float) -> list[Request]:
        """Requests that arrived later than the Unix time."""
        return [r for r in self.requests if r.arrived > at]

    def most_in(self, seconds: float) -> int:
        """Most arrivals in any window of so many seconds."""
        times = sorted(r.arrived for r in self.requests)
        first, most = 0, 0
        for place, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, place - first + 1)
        return most


class Server:
    """The server's process; use it as a context manager, or `start()` and `stop()` it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""

    def start(self) -> Self:
        """Start the process and wait for its port."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.asgi"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the LLM server ended with code {self._process.wait(60)} before it served")
        self._root = f"http://127.0.0.1:{json.loads(line)['port']}"
        self.base_url = f"{self._root}/v1"
        return self

    def stop(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(60)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def configure(self, **settings: Any) -> None:
        """Change how later requests are answered; what is not named stays.

        Args:
            **settings: `latency` (seconds, or a pair), `tokens`, `tokens_per_second`, `answer`, `drawn` (by what is
                asked alone), `tool_calls`, `hold`, `topic_pattern`, `seed`, `faults` (a list of dicts: `kind` (an HTTP
                status, `hang`, `cut`, `malformed` or `slow`), `share`, `topic`, `times`, `retry_after`), and `topics`
                (other settings for prompts that contain the key).
        """
        self._post("_configure", settings)

    def reset(self) -> None:
        """Forget everything, cut what is in flight, and answer at once again."""
        self._post("_reset", {})

    def release(self) -> None:
        """Answer those requests that `hold` keeps waiting now."""
        self._post("_release", {})

    def stats(self, *, prompts: bool = False, bodies: bool = False) -> Stats:
        """What was asked for since the last reset."""
        told = "&".join([*["prompts=1"] * prompts, *["bodies=1"] * bodies])
        with _open(f"{self._root}/_stats?{told}", timeout=60) as response:
            seen = json.load(response)
        return Stats(**{**seen, "requests": [Request(**r) for r in seen["requests"]]})

    def wait_for(self, condition: Callable[[Stats], object], timeout: float = 60.0) -> Stats:
        """The statistics once the condition holds.

        Raises:
            TimeoutError: It did not hold in time; the message tells what the server saw.
        """
        end = time.monotonic() + timeout
        while not condition(stats := self.stats()):
            if time.monotonic() > end:
                raise TimeoutError(f"not so within {timeout} s: {stats}")
            time.sleep(0.01)
        return stats

    def _post(self, path: str, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        request = urllib.request.Request(f"{self._root}/{path}", data, {"content-type": "application/json"})
        with _open(request, timeout=60):
            pass


def llm(server: Server, **options: Any) -> crewai.LLM:
    """A CrewAI LLM that talks to the server through the OpenAI SDK."""
    from crewai import LLM

    settings = {"model": "openai/gpt-4o-mini", "base_url": server.base_url, "api_key": "test-key", **options}
    return LLM(**settings)
