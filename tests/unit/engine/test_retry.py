"""Errors of real clients on real HTTP answers, and of clients that are not installed by what their errors carry."""

from __future__ import annotations

import asyncio
import concurrent.futures
import email.utils
import json
import random
import subprocess
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crew_nb._engine.retry import LONGEST_DELAY, LONGEST_RETRY_AFTER, Verdict, backoff, classify
from crew_nb._state.errors import NobodyToAskError, RunTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Answer:
    """What the server answers next, over real HTTP."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, dict[str, str](), b""
        self.cut = False
        self.url = ""

    def be(self, status: int, body: Any = b"", headers: dict[str, str] | None = None, cut: bool = False) -> None:
        self.status, self.headers, self.cut = status, headers or {}, cut
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.fixture
def answer() -> Iterator[Answer]:
    now = Answer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(now.status)
            for name, value in {"Content-Type": "application/json", **now.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(now.body) + (100 if now.cut else 0)))
            self.end_headers()
            self.wfile.write(now.body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    now.url = f"http://127.0.0.1:{server.server_port}"
    yield now
    server.shutdown()
    thread.join()
    server.server_close()


def error_of(call: Callable[[], Any]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("no error was raised")


def asked(answer: Answer, stream: bool = False) -> Exception:
    """The error with which the real OpenAI client ends on the server's answer."""
    with openai.OpenAI(api_key="sk-secret", base_url=f"{answer.url}/v1", max_retries=0, timeout=5) as client:
        messages: Any = [{"role": "user", "content": "hello"}]
        return error_of(lambda: list(client.chat.completions.create(model="m", messages=messages, stream=stream)))


def like(name: str, module: str = "sdk", bases: tuple[type[BaseException], ...] = (Exception,), **carried: Any) -> Any:
    """An error as a client that is not installed raises it: its class, its module, what it carries."""
    error = type(name, bases, {"__module__": module})("the message")
    for attribute, value in carried.items():
        setattr(error, attribute, value)
    return error


def wrapped(outer: Exception, cause: BaseException) -> Exception:
    outer.__cause__ = cause
    return outer


# --- the OpenAI client over HTTP


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "bad request", False),
        (401, "auth", False),
        (402, "auth", False),
        (403, "auth", False),
        (404, "not found", False),
        (408, "timeout", True),
        (409, "server error", True),
        (413, "bad request", False),
        (422, "bad request", False),
        (429, "rate limit", True),
        (500, "server error", True),
        (501, "server error", False),
        (502, "server error", True),
        (503, "server error", True),
        (504, "timeout", True),
        (529, "server error", True),
    ],
)
def test_an_http_status_decides(answer: Answer, status: int, kind: str, retryable: bool) -> None:
    """What passes by itself is tried again; what will be the same next time is not."""
    answer.be(status, {"error": {"message": "no", "type": None, "code": None}})
    verdict = classify(asked(answer))
    assert (verdict.kind, verdict.retryable, verdict.status) == (kind, retryable, status)
    assert verdict.hint


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After-Ms": "1500", "Retry-After": "2"}, 1.5),
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "2.5s"}, 2.5),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-remaining-tokens": "900",
                "x-ratelimit-reset-tokens": "1m30s",
            },
            0.12,
        ),
        ({"x-ratelimit-reset-requests": "1h", "Retry-After": "3"}, 3.0),
        ({"x-ratelimit-reset-requests": "12"}, 12.0),
        ({"x-ratelimit-reset-requests": "1s later"}, None),
    ],
)
def test_the_wait_that_the_server_asks_for_is_read(
    answer: Answer, headers: dict[str, str], seconds: float | None
) -> None:
    """Seconds, milliseconds, and OpenAI's durations; nonsense is none."""
    answer.be(429, {"error": {"message": "slow down"}}, headers)
    verdict = classify(asked(answer))
    assert verdict.retryable
    assert verdict.retry_after == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_as_a_date_is_read(answer: Answer) -> None:
    """HTTP allows a date; one that has passed means at once."""
    answer.be(503, {}, {"Retry-After": email.utils.formatdate(time.time() + 100, usegmt=True)})
    wait = classify(asked(answer)).retry_after
    assert wait is not None
    assert 90 < wait <= 100
    answer.be(503, {}, {"Retry-After": email.utils.formatdate(time.time() - 100, usegmt=True)})
    assert classify(asked(answer)).retry_after == 0.0


def test_a_wait_of_more_than_ten_minutes_ends_the_call(answer: Answer) -> None:
    """A daily quota is not waited for with a slot in the batch: the hint says when to run it again."""
    answer.be(429, {"error": {"message": "daily limit"}}, {"Retry-After": "7200"})
    verdict = classify(asked(answer))
    assert (verdict.retryable, verdict.retry_after) == (False, 7200.0)
    assert "120 minutes" in verdict.hint
    assert "batch.retry()" in verdict.hint
    answer.be(429, {"error": {"message": "daily limit"}}, {"Retry-After": str(LONGEST_RETRY_AFTER)})
    assert classify(asked(answer)).retryable


@pytest.mark.parametrize("status", [429, 402, 400])
def test_an_empty_account_is_not_a_rate_limit_that_passes(answer: Answer, status: int) -> None:
    """`insufficient_quota` comes as 429 and stays; the hint speaks of billing."""
    answer.be(status, {"error": {"message": "quota", "type": "insufficient_quota", "code": "insufficient_quota"}})
    verdict = classify(asked(answer))
    assert not verdict.retryable
    assert "billing" in verdict.hint


def test_a_refused_key_names_the_setting_and_the_server_but_no_secret(answer: Answer) -> None:
    """Which setting, which variable, which server; not the key, and not what else stands in the address."""
    answer.be(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
    verdict = classify(asked(answer))
    for named in ("api_key", "OPENAI_API_KEY", "base_url", answer.url):
        assert named in verdict.hint
    request = httpx.Request("POST", "https://user:sk-secret@llm.example:8443/v1/sk-secret?key=sk-secret")
    error = httpx.HTTPStatusError("no", request=request, response=httpx.Response(401, request=request))
    hint = classify(error).hint
    assert "https://llm.example:8443)" in hint
    assert "sk-secret" not in hint


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY"),
        ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
        ("https://api.anthropic.com/v1/messages", "ANTHROPIC_API_KEY"),
        ("https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY or GOOGLE_API_KEY"),
        ("https://mine.openai.azure.com/openai", "AZURE_API_KEY"),
        ("https://notopenai.com/v1", "the environment variable of its provider"),
    ],
)
def test_the_hint_names_the_variable_of_the_server_that_was_asked(url: str, variable: str) -> None:
    """Many providers speak OpenAI's protocol, each with a key of its own."""
    request = httpx.Request("POST", url)
    error = httpx.HTTPStatusError("no", request=request, response=httpx.Response(403, request=request))
    assert variable in classify(error).hint


def test_a_prompt_that_is_too_long_is_its_own_kind(answer: Answer) -> None:
    """By its code, and by its words where a server gives no code; CrewAI's own error too."""
    answer.be(400, {"error": {"message": "too long", "code": "context_length_exceeded"}})
    assert classify(asked(answer)).kind == "context length"
    answer.be(400, {"error": {"message": "This model's maximum context length is 8192 tokens."}})
    verdict = classify(asked(answer))
    assert (verdict.kind, verdict.retryable) == ("context length", False)
    assert classify(like("LLMContextLengthExceededError", "crewai.utilities")).kind == "context length"


def test_a_rate_limit_that_speaks_of_tokens_is_no_long_prompt(answer: Answer) -> None:
    """`Too many tokens per minute` passes by itself."""
    answer.be(429, {"error": {"message": "Too many tokens, please wait"}})
    assert classify(asked(answer)).kind == "rate limit"


def test_a_server_that_says_not_to_retry_is_believed(answer: Answer) -> None:
    """OpenAI's own header for it."""
    answer.be(500, {}, {"x-should-retry": "false"})
    assert not classify(asked(answer)).retryable


def test_an_answer_that_is_cut_off_is_tried_again(answer: Answer) -> None:
    """A connection that ends early, malformed JSON, a malformed piece of a stream, an error within a stream."""
    answer.be(200, b'{"id": "x", "choi', cut=True)
    assert classify(asked(answer)).retryable
    answer.be(200, b'{"id": "x", "choi')
    verdict = classify(asked(answer))
    assert (verdict.kind, verdict.retryable) == ("connection", True)
    events = {"Content-Type": "text/event-stream"}
    answer.be(200, b'data: {"id": "x", "choi\n\n', events)
    assert classify(asked(answer, stream=True)).kind == "connection"
    answer.be(200, b'data: {"error": {"message": "overloaded", "type": "server_error", "code": null}}\n\n', events)
    verdict = classify(asked(answer, stream=True))
    assert (verdict.kind, verdict.retryable) == ("server error", True)


def test_the_users_own_json_error_is_not_tried_again() -> None:
    """The same error class, raised by a callback that reads an answer, will be the same next time."""
    verdict = classify(error_of(lambda: json.loads("{")))
    assert (verdict.kind, verdict.retryable) == ("other", False)


def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    """The hint names where it was looked for."""
    with openai.OpenAI(api_key="k", base_url="http://127.0.0.1:9/v1", max_retries=0) as client:
        error = error_of(lambda: client.models.list())
    verdict = classify(error)
    assert (verdict.kind, verdict.retryable, verdict.status) == ("connection", True, None)
    assert "http://127.0.0.1:9" in verdict.hint
    # as CrewAI's provider hands it on
    assert classify(wrapped(ConnectionError("Failed to connect to OpenAI API"), error)).kind == "connection"


def test_a_missing_key_names_the_variable_to_set() -> None:
    """The OpenAI client and CrewAI's providers say it in their own words."""
    error = error_of(lambda: openai.OpenAI(api_key=None, base_url="http://127.0.0.1:9/v1"))
    verdict = classify(error)
    assert (verdict.kind, verdict.retryable) == ("auth", False)
    assert "OPENAI_API_KEY" in verdict.hint
    assert "ANTHROPIC_API_KEY" in classify(ValueError("ANTHROPIC_API_KEY is required")).hint
    words = "API key is required. Set OPENROUTER_API_KEY environment variable or pass api_key parameter."
    assert "set OPENROUTER_API_KEY" in classify(ValueError(words)).hint


# --- wrappers and chains


def test_crewais_wrappers_are_looked_through() -> None:
    """A ValueError around a 404, a ConnectionError around a timeout, a RuntimeError around a throttle."""
    request = httpx.Request("POST", "https://api.openai.com/v1")
    missing = openai.NotFoundError("no", response=httpx.Response(404, request=request), body=None)
    assert classify(wrapped(ValueError("Model m not found"), missing)).kind == "not found"
    slow = wrapped(ConnectionError("Failed to connect to OpenAI API"), openai.APITimeoutError(request))
    assert (classify(slow).kind, classify(slow).retryable) == ("timeout", True)
    throttled = like("ClientError", "botocore.exceptions", response={"Error": {"Code": "ThrottlingException"}})
    assert classify(wrapped(RuntimeError("API throttled"), throttled)).kind == "rate limit"


def test_an_error_raised_while_another_was_handled_is_looked_through() -> None:
    """`raise ...` without `from`, unless what was raised is plainly a bug of the handler."""
    limited = like("RateLimitError", status_code=429)

    def handle(error: Exception) -> None:
        try:
            raise limited
        except Exception:
            raise error  # noqa: B904

    assert classify(error_of(lambda: handle(RuntimeError("the LLM failed")))).kind == "rate limit"
    assert classify(error_of(lambda: handle(KeyError("oops")))).kind == "bug"


def test_a_suppressed_cause_is_not_looked_at() -> None:
    """`raise ... from None` says that the other error does not matter."""

    def hide() -> None:
        try:
            raise like("RateLimitError", status_code=429)
        except Exception:
            raise RuntimeError from None

    assert classify(error_of(hide)).kind == "other"


def test_a_chain_that_bites_its_tail_ends() -> None:
    """Two errors that name each other as cause."""
    a, b = RuntimeError("a"), RuntimeError("b")
    a.__cause__, b.__cause__ = b, a
    assert classify(a).kind == "other"


def test_a_group_is_retried_only_if_all_of_it_can_be() -> None:
    """One error that stays is enough."""
    passing, staying = like("RateLimitError", status_code=429), TypeError("a bug")
    assert classify(ExceptionGroup("both", [passing, passing])).retryable
    assert not classify(ExceptionGroup("both", [passing, staying])).retryable


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit(1)]
)
def test_a_stop_is_no_error(error: BaseException) -> None:
    """Whatever it was raised by, it is never tried again."""
    assert classify(error) == Verdict(kind="cancelled", retryable=False)


async def test_asyncios_timeout_is_a_timeout() -> None:
    """Although it is raised from a CancelledError."""
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    assert classify(caught.value).kind == "timeout"


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (TimeoutError(), "timeout", True),
        (ConnectionResetError(), "connection", True),
        (BrokenPipeError(), "connection", True),
        (httpx.ReadTimeout("slow"), "timeout", True),
        (httpx.PoolTimeout("slow"), "timeout", True),
        (httpx.ConnectError("no"), "connection", True),
        (httpx.RemoteProtocolError("cut"), "connection", True),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "connection", False),
        (RunTimeoutError(0, "topic=AI", "passed its timeout of 2 s"), "timeout", True),
        (NobodyToAskError("nobody"), "other", False),
        (TypeError("a factory's bug"), "bug", False),
        (KeyError("topic"), "bug", False),
        (ZeroDivisionError(), "bug", False),
        (ModuleNotFoundError("crewai_tools"), "bug", False),
        (ValueError("bad input"), "other", False),
        (FileNotFoundError("inputs.csv"), "other", False),
        (PermissionError("inputs.csv"), "other", False),
        (Exception("who knows"), "other", False),
    ],
)
def test_pythons_httpxs_and_our_own_errors(error: Exception, kind: str, retryable: bool) -> None:
    """What is not known to pass is not tried again."""
    verdict = classify(error)
    assert (verdict.kind, verdict.retryable) == (kind, retryable)


# --- clients that are not installed here; what their errors carry was taken from the real ones


def google(code: int, status: str, **detail: Any) -> Any:
    body = {"error": {"code": code, "message": "m", "status": status, "details": [detail]}}
    name = "ServerError" if code >= 500 else "ClientError"
    base = type("APIError", (Exception,), {"__module__": "google.genai.errors"})
    return like(name, "google.genai.errors", (base,), code=code, status=status, details=body)


def bedrock(code: str, status: int) -> Any:
    answer = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    base = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})
    return like(code, "botocore.errorfactory", (base,), response=answer)


def anthropic(kind: str, status: int, headers: dict[str, str] | None = None) -> Any:
    body = {"type": "error", "error": {"type": kind, "message": "m"}}
    response = types.SimpleNamespace(status_code=status, headers=headers or {})
    return like("APIStatusError", "anthropic", status_code=status, body=body, response=response)


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "retry_after"),
    [
        (anthropic("rate_limit_error", 429, {"retry-after": "9"}), "rate limit", True, 9.0),
        (anthropic("overloaded_error", 529), "server error", True, None),
        (anthropic("overloaded_error", 200), "server error", True, None),  # within a stream that began well
        (anthropic("authentication_error", 401), "auth", False, None),
        (google(429, "RESOURCE_EXHAUSTED", retryDelay="17s"), "rate limit", True, 17.0),
        (google(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID"), "auth", False, None),
        (google(400, "INVALID_ARGUMENT"), "bad request", False, None),
        (google(503, "UNAVAILABLE"), "server error", True, None),
        (google(504, "DEADLINE_EXCEEDED"), "timeout", True, None),
        (bedrock("ThrottlingException", 429), "rate limit", True, None),
        (bedrock("ThrottlingException", 400), "rate limit", True, None),
        (bedrock("ServiceQuotaExceededException", 400), "auth", False, None),
        (bedrock("ModelNotReadyException", 429), "server error", True, None),
        (bedrock("ModelTimeoutException", 408), "timeout", True, None),
        (bedrock("AccessDeniedException", 403), "auth", False, None),
        (bedrock("ValidationException", 400), "bad request", False, None),
        (like("NoCredentialsError", "botocore.exceptions"), "auth", False, None),
        (like("ReadTimeoutError", "botocore.exceptions"), "timeout", True, None),
        (like("EndpointConnectionError", "botocore.exceptions"), "connection", True, None),
        (like("RateLimitError", "litellm", status_code=429), "rate limit", True, None),
        (like("Timeout", "litellm", status_code=408), "timeout", True, None),
        (like("ContextWindowExceededError", "litellm", status_code=400), "context length", False, None),
        (like("ContentPolicyViolationError", "litellm", status_code=400), "bad request", False, None),
        (like("ConnectionError", "requests.exceptions", (OSError,)), "connection", True, None),
        (like("ReadTimeout", "requests.exceptions", (OSError,)), "timeout", True, None),
        (like("ChunkedEncodingError", "requests.exceptions", (OSError,)), "connection", True, None),
        (like("ClientResponseError", "aiohttp", status=429, headers={"Retry-After": "2"}), "rate limit", True, 2.0),
        (like("ClientPayloadError", "aiohttp"), "connection", True, None),
        (like("ServerTimeoutError", "aiohttp"), "timeout", True, None),
        (like("ServiceRequestError", "azure.core.exceptions"), "connection", True, None),
        (like("ResourceExhausted", "google.api_core.exceptions", code=429), "rate limit", True, None),
        (like("ValidationError", "pydantic_core", (ValueError,)), "other", False, None),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, Exception) else None,
)
def test_clients_are_known_by_what_their_errors_carry(
    error: Exception, kind: str, retryable: bool, retry_after: float | None
) -> None:
    """Without importing any of them."""
    verdict = classify(error)
    assert (verdict.kind, verdict.retryable, verdict.retry_after) == (kind, retryable, retry_after)


def test_no_client_is_imported() -> None:
    """Neither the module nor a verdict brings in a provider's package."""
    code = (
        "import sys; from crew_nb._engine.retry import classify; classify(RuntimeError('429'))\n"
        "assert not {'openai', 'anthropic', 'httpx', 'crewai', 'litellm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- backoff


PASSING = Verdict(kind="server error", retryable=True)


def test_the_delay_doubles_up_to_its_cap() -> None:
    """Between half of 1, 2, 4 … 60 seconds and all of it."""
    rng = random.Random(7)
    for tries, longest in [(1, 1), (2, 2), (3, 4), (6, 32), (7, LONGEST_DELAY), (10_000, LONGEST_DELAY)]:
        drawn = [backoff(tries, PASSING, rng) for _ in range(300)]
        assert longest / 2 <= min(drawn) < 0.6 * longest
        assert 0.9 * longest < max(drawn) <= longest


def test_the_same_seed_draws_the_same_delays() -> None:
    """So that a storm can be replayed."""
    assert [backoff(t, PASSING, random.Random(3)) for t in range(1, 6)] == [
        backoff(t, PASSING, random.Random(3)) for t in range(1, 6)
    ]


@given(tries=st.integers(1, 50), asked_for=st.floats(0, LONGEST_RETRY_AFTER), seed=st.integers())
def test_no_try_comes_sooner_than_the_server_asked(tries: int, asked_for: float, seed: int) -> None:
    """And not much later than the longer of the two waits."""
    verdict = Verdict(kind="rate limit", retryable=True, retry_after=asked_for)
    seconds = backoff(tries, verdict, random.Random(seed))
    assert asked_for <= seconds <= max(asked_for + 1.0, LONGEST_DELAY)
