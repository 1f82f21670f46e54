"""What kind an error is, whether trying again can help, and how long to wait first.

Nothing is retried unless its kind is known to pass by itself. Providers' packages are recognised by what their errors
carry (status, headers, codes, class names), so none of them is imported.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import math
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Kind = Literal[
    "rate limit",
    "server error",
    "timeout",
    "connection",
    "auth",
    "bad request",
    "not found",
    "context length",
    "cancelled",
    "bug",
    "other",
]

FIRST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds between two tries at most, unless the server asks for more."""
LONGEST_RETRY_AFTER = 600.0
"""Seconds; a server that asks for more ends the call, and `batch.retry()` is for later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an error is."""

    kind: Kind
    retryable: bool
    retry_after: float | None = None
    """Seconds the server asked to wait."""
    status: int | None = None
    """The HTTP status, where there was an answer."""
    hint: str = ""
    """What to do about it, where we know."""


def backoff(tries: int, verdict: Verdict, rng: random.Random | None = None) -> float:
    """Seconds to wait after `tries` failed tries: N retries are N + 1 tries.

    Half of an exponential delay is fixed and half is drawn, so that runs that failed together do not come back
    together. A longer wait that the server asked for is kept, with up to a second drawn on top.
    """
    draw = rng or random
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(tries - 1, 32))
    seconds = draw.uniform(delay / 2, delay)
    if verdict.retry_after is not None and verdict.retry_after > seconds:
        return verdict.retry_after + draw.uniform(0.0, min(1.0, verdict.retry_after / 2))
    return seconds


# Class names and error codes, as lower-case letters and digits. Specific ones count before the HTTP status: several
# providers send 400 for a wrong key or a prompt that is too long.
_SPECIFIC: dict[str, Kind] = {
    "contextlengthexceeded": "context length",
    "contextlengthexceedederror": "context length",
    "contextwindowexceedederror": "context length",
    "llmcontextlengthexceedederror": "context length",
    "apikeyinvalid": "auth",
    "invalidapikey": "auth",
    "throttlingexception": "rate limit",
    "toomanyrequestsexception": "rate limit",
    "modelnotreadyexception": "server error",
    "modeltimeoutexception": "timeout",
}
_NO_CREDIT = frozenset(
    {"insufficientquota", "billinghardlimitreached", "servicequotaexceededexception", "insufficientbalance"}
)
_NAMES: dict[str, Kind] = {
    "429": "rate limit",
    "ratelimiterror": "rate limit",
    "ratelimitexceeded": "rate limit",
    "ratelimitexceedederror": "rate limit",
    "resourceexhausted": "rate limit",
    "toomanyrequests": "rate limit",
    "internalservererror": "server error",
    "internalserverexception": "server error",
    "servererror": "server error",
    "serviceunavailable": "server error",
    "serviceunavailableerror": "server error",
    "serviceunavailableexception": "server error",
    "overloadederror": "server error",
    "modelerrorexception": "server error",
    "modelstreamerrorexception": "server error",
    "badgatewayerror": "server error",
    "badgateway": "server error",
    "apierror": "server error",
    "apiresponsevalidationerror": "server error",
    "deadlineexceeded": "timeout",
    "authenticationerror": "auth",
    "permissiondeniederror": "auth",
    "permissiondenied": "auth",
    "permissionerror": "auth",
    "unauthenticated": "auth",
    "accessdeniedexception": "auth",
    "expiredtokenexception": "auth",
    "unrecognizedclientexception": "auth",
    "nocredentialserror": "auth",
    "clientauthenticationerror": "auth",
    "mcpauthenticationerror": "auth",
    "modelnotfound": "not found",
    "notfounderror": "not found",
    "resourcenotfounderror": "not found",
    "resourcenotfoundexception": "not found",
    "badrequesterror": "bad request",
    "invalidrequesterror": "bad request",
    "unprocessableentityerror": "bad request",
    "invalidargument": "bad request",
    "validationexception": "bad request",
    "contentpolicyviolationerror": "bad request",
    "unsupportedparamserror": "bad request",
}
_BROKEN_LINES = frozenset(
    {
        "apiconnectionerror",
        "chunkedencodingerror",
        "clientconnectionerror",
        "clientpayloaderror",
        "connectionclosederror",
        "connectionerror",
        "endpointconnectionerror",
        "gaierror",
        "httpclienterror",
        "incompleteread",
        "incompletereaderror",
        "networkerror",
        "newconnectionerror",
        "protocolerror",
        "proxyerror",
        "remoteprotocolerror",
        "responsestreamingerror",
        "servicerequesterror",
        "serviceresponseerror",
        "sslerror",
    }
)
_TOO_LONG = re.compile(
    r"maximum context length|context.length.exceeded|context window|input is too long|prompt is too long"
    r"|exceeds? (the )?(token limit|maximum number of tokens)|too many (input )?tokens",
    re.IGNORECASE,
)
_LIMITED = re.compile(
    r"rate.?limit|too many requests|throttl|resource.?exhausted|slow down|\b(?:error|status|code|http)\W{0,3}429\b",
    re.IGNORECASE,
)
"""How a gateway says that it is asked too often, where it has no status for it; CrewAI's words are among them."""
_MAY_LIMIT = frozenset({400, 403, 409, 420, 503})
_KEY = re.compile(r"\b(?:api_key|[A-Z0-9_]+_API_KEY)\b")
_IS_MISSING = re.compile(r"\b(?:required|must be set|not set|missing)\b")
_SET_KEY = re.compile(r"\b[Ss]et (?:the )?`?([A-Z0-9_]+_API_KEY)\b")
_NOT_ALNUM = re.compile(r"[^a-z0-9]")
_SCHEME_AND_HOST = re.compile(r"\A(\w+://)(?:[^/@?#]*@)?([^/?#]+)")
_BUGS = (
    TypeError,
    AttributeError,
    NameError,
    LookupError,
    ArithmeticError,
    AssertionError,
    ImportError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
)

_BY_STATUS: dict[int, Kind] = {
    401: "auth",
    402: "auth",
    403: "auth",
    404: "not found",
    408: "timeout",
    409: "server error",
    410: "not found",
    425: "server error",
    429: "rate limit",
    504: "timeout",
}
_LASTING_STATUSES = frozenset({501, 505})
_PASSING: frozenset[Kind] = frozenset({"rate limit", "server error", "timeout", "connection"})

_CLIENTS = frozenset(
    {
        "openai",
        "anthropic",
        "google",
        "botocore",
        "boto3",
        "litellm",
        "azure",
        "httpx",
        "httpcore",
        "aiohttp",
        "requests",
    }
)
_KEY_BY_HOST = {
    "openai.azure.com": "AZURE_API_KEY",
    "openai.com": "OPENAI_API_KEY",
    "anthropic.com": "ANTHROPIC_API_KEY",
    "googleapis.com": "GEMINI_API_KEY or GOOGLE_API_KEY",
    "azure.com": "AZURE_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
    "deepseek.com": "DEEPSEEK_API_KEY",
    "cerebras.ai": "CEREBRAS_API_KEY",
    "groq.com": "GROQ_API_KEY",
    "mistral.ai": "MISTRAL_API_KEY",
}
_KEY_BY_CLIENT = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GEMINI_API_KEY or GOOGLE_API_KEY",
    "azure": "AZURE_API_KEY",
    "botocore": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}


def classify(error: BaseException) -> Verdict:
    """What `error` is, found in it or in what caused it; never raises, whatever the error's own methods do.

    An answer of the server says most, then a timeout, then a broken connection: CrewAI and the clients wrap the one
    in the other.
    """
    try:
        return _classify(error)
    except BaseException:  # the user's class may raise wherever it is looked at
        return Verdict(kind="other", retryable=False)


def _classify(error: BaseException) -> Verdict:
    if isinstance(error, asyncio.CancelledError | concurrent.futures.CancelledError | KeyboardInterrupt | SystemExit):
        return Verdict(kind="cancelled", retryable=False)
    if isinstance(error, BaseExceptionGroup):
        verdicts = [classify(e) for e in error.exceptions]
        return next((v for v in verdicts if not v.retryable), verdicts[0])
    best: Verdict | None = None
    weight = 0
    for link in _chain(error):
        with contextlib.suppress(Exception):  # an error of the user's whose own text or attributes raise
            verdict, says = _judge(link)
            if verdict is not None and says > weight:
                best, weight = verdict, says
    if best is not None:
        return best
    return Verdict(kind="bug" if isinstance(error, _BUGS) else "other", retryable=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        if link.__cause__ is not None:
            link = link.__cause__
        elif link.__suppress_context__ or isinstance(link, _BUGS):
            # A KeyError while a 429 was being handled is the handler's bug, not a rate limit.
            return
        else:
            link = link.__context__


def _judge(error: BaseException) -> tuple[Verdict | None, int]:
    """The verdict on one link of a chain and how much it says; None where it says nothing."""
    status = _status(error)
    codes = _codes(error)
    text = str(error)
    if _NO_CREDIT.intersection(codes) or status == 402 or "credit balance is too low" in text.lower():
        kind: Kind = "rate limit" if status == 429 else "auth"
        hint = "The account has no quota or credit left: look at its billing page. Trying again will not help."
        return Verdict(kind=kind, retryable=False, status=status, hint=hint), 3
    specific = next((_SPECIFIC[c] for c in codes if c in _SPECIFIC), None)
    if specific is None and status in (400, 413, 422) and _TOO_LONG.search(text):
        specific = "context length"
    if specific is None and status in (None, 400) and _is_missing_key(text):
        specific = "auth"
    if specific is not None:
        return _verdict(specific, error, status), 3
    if status in _MAY_LIMIT and _LIMITED.search(text):
        return _verdict("rate limit", error, status), 3
    if status is not None:
        kind = _BY_STATUS.get(status, "server error" if status >= 500 else "bad request")
        return _verdict(kind, error, status), 3
    limited = _LIMITED.search(text) is not None
    for code in codes:
        if code in _NAMES:
            in_words = limited and _NAMES[code] in ("bad request", "not found")
            return _verdict("rate limit" if in_words else _NAMES[code], error, status), 3
        if "timeout" in code or code == "timedout":
            return _verdict("timeout", error, status), 2
        if code in _BROKEN_LINES:
            return _verdict("connection", error, status), 3 if "CERTIFICATE_VERIFY_FAILED" in text else 1
    if isinstance(error, _UNREADABLE) and _is_unread_answer(error):
        return _verdict("connection", error, status), 1
    return (_verdict("rate limit", error, status), 1) if limited else (None, 0)


def _verdict(kind: Kind, error: BaseException, status: int | None) -> Verdict:
    headers = _headers(error)
    retryable = kind in _PASSING and status not in _LASTING_STATUSES
    if headers.get("x-should-retry") == "false" or "CERTIFICATE_VERIFY_FAILED" in str(error):
        retryable = False
    wait = _retry_after(headers, _body(error)) if retryable else None
    hint = _hint(kind, error, status)
    if wait is not None and wait > LONGEST_RETRY_AFTER:
        retryable = False
        hint = f"The server asks to wait {wait / 60:,.0f} minutes: run it again then, with batch.retry()."
    return Verdict(kind=kind, retryable=retryable, retry_after=wait, status=status, hint=hint)


def _hint(kind: Kind, error: BaseException, status: int | None) -> str:
    at = _origin(error)
    where = f" ({at})" if at else ""
    if kind == "auth":
        key = _key_name(error, at)
        if at.endswith("offline.invalid"):
            return f"OfflineLLM was told to refuse this by its `errors`; a real LLM would want another key in {key}."
        if status is None:
            return f"No key was found: set {key}, or api_key of the LLM."
        what = "accept the API key" if status in (400, 401) else "allow this with the API key"
        return f"The server did not {what}: look at api_key of the LLM, or at {key}, and at base_url{where}."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "The server's certificate was not accepted: look at base_url, or at the proxy and SSL_CERT_FILE."
    return {
        "rate limit": 'The provider limits how often it may be asked: set max_rpm, max_tpm or max_concurrency="auto".',
        "server error": "The provider had a problem of its own: batch.retry() runs the run again.",
        "timeout": "No answer came in time: raise the timeout, or lower max_concurrency.",
        "connection": f"The server could not be reached, or hung up: look at the network and at base_url{where}.",
        "not found": f"The server does not know this: look at model and base_url of the LLM{where}.",
        "bad request": "The server refuses the request as it is: look at the LLM's parameters and at the inputs.",
        "context length": "The prompt is longer than the LLM takes: give shorter inputs, or fewer tasks as context.",
    }.get(kind, "")


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    places = [
        getattr(error, "status_code", None),
        getattr(error, "http_status", None),
        getattr(response, "status_code", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
    ]
    if isinstance(response, Mapping):
        places.append(_dig(response, "ResponseMetadata", "HTTPStatusCode"))
    for status in places:
        if isinstance(status, int) and 400 <= status <= 599:
            return int(status)
    return None


def _codes(error: BaseException) -> list[str]:
    """Error codes, then class names from the class up, as lower-case letters and digits."""
    body = _body(error)
    found = [
        getattr(error, "code", None),
        getattr(error, "type", None),
        getattr(error, "status", None),
        _dig(body, "error", "code"),
        _dig(body, "error", "type"),
        _dig(body, "error", "status"),
        _dig(body, "Error", "Code"),
        _dig(body, "code"),
        _dig(body, "type"),
        *(_dig(d, "reason") for d in _details(body)),
        # Python's own PermissionError is about a file, not about a key.
        *(c.__name__ for c in type(error).__mro__ if c is not PermissionError),
    ]
    return [_NOT_ALNUM.sub("", code.lower()) for code in found if isinstance(code, str)]


def _body(error: BaseException) -> Any:
    """The answer's body, where the error carries it."""
    for body in (getattr(error, "body", None), getattr(error, "details", None), getattr(error, "response", None)):
        if isinstance(body, Mapping):
            return body
    return {}


def _details(body: Any) -> list[Any]:
    details = _dig(body, "error", "details")
    return details if isinstance(details, list) else []


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _headers(error: BaseException) -> dict[str, str]:
    response = getattr(error, "response", None)
    for headers in (
        getattr(response, "headers", None),
        getattr(error, "headers", None),
        getattr(error, "litellm_response_headers", None),
        _dig(response, "ResponseMetadata", "HTTPHeaders"),
    ):
        if headers and hasattr(headers, "items"):
            return {str(k).lower(): str(v).strip() for k, v in headers.items()}
    return {}


def _retry_after(headers: Mapping[str, str], body: Any) -> float | None:
    """Seconds to wait, from the most to the least exact of what the server said."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    if "retry-after" in headers:
        seconds = _number(headers["retry-after"])
        return seconds if seconds is not None else _until(headers["retry-after"])
    for detail in _details(body):
        delay = _duration(_dig(detail, "retryDelay"))
        if delay is not None:
            return delay
    resets = {what: _duration(headers.get(f"x-ratelimit-reset-{what}")) for what in ("requests", "tokens")}
    known = {what: reset for what, reset in resets.items() if reset is not None}
    # What is used up decides; where that is not said, the later one is safe.
    used_up = [known[what] for what in known if headers.get(f"x-ratelimit-remaining-{what}") == "0"]
    return max(used_up or known.values(), default=None)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _until(date: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except ValueError:
        return None


_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d{1,20}(?:\.\d{1,20})?)(ms|us|µs|ns|d|h|m|s)")
_PARTS = re.compile(f"(?:{_PART.pattern})+")


def _duration(text: object) -> float | None:
    """Seconds of `6m0s`, `120ms`, `1.5s` or `12`."""
    if not isinstance(text, str):
        return None
    if _PARTS.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return _number(text)


def _is_missing_key(text: str) -> bool:
    return _missing_key(text) is not None or "api key not valid" in text.lower()


def _missing_key(text: str) -> str | None:
    """The key that the text says is missing, by its name."""
    for sentence in text.split("."):
        key = _KEY.search(sentence)
        if key is not None and _IS_MISSING.search(sentence, key.end()):
            return key[0]
    asked = _SET_KEY.search(text)
    return asked and asked[1]


def _key_name(error: BaseException, origin: str) -> str:
    """The environment variable that holds the key, as far as can be told."""
    named = _missing_key(str(error))
    if named and named != "api_key":
        return named
    for host, key in _KEY_BY_HOST.items():
        if origin.endswith((f"//{host}", f".{host}")):
            return key
    return _KEY_BY_CLIENT.get(type(error).__module__.partition(".")[0], "the environment variable of its provider")


def _origin(error: BaseException) -> str:
    """Scheme, host and port that were asked; no path and no user, where keys may stand."""
    for holder in (error, getattr(error, "response", None)):
        try:
            url = getattr(getattr(holder, "request", None), "url", None)
        except RuntimeError:  # httpx raises for an error without a request
            continue
        found = _SCHEME_AND_HOST.match(str(url or ""))
        if found:
            return found[1] + found[2]
    return ""


def in_words(error: Exception) -> Exception:
    """The error; where it is a client's trouble with an answer that is not in its form, one that says so."""
    if type(error) in _UNREADABLE and _is_unread_answer(error):
        answer = getattr(error, "doc", None) or getattr(error, "obj", None)
        shown = " ".join(str(answer).split())[:200] if isinstance(answer, str | bytes) else ""
        told = UnreadableAnswerError(shown)
        told.__cause__ = error
        return told
    return error


class UnreadableAnswerError(ConnectionError):
    """Raised when a server's answer is not in the form that its client reads, as a proxy's page."""

    def __init__(self, answer: str) -> None:
        what = f": {answer}" if answer else ""
        super().__init__(f"the server's answer is cut off, or no answer of an LLM's at all{what}")


_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError, IndexError, KeyError)
_LLM_CLASSES = ("crewai.llms.", "crewai.llm")


def _is_unread_answer(error: BaseException) -> bool:
    """Whether a provider's client could not read an answer, and not the user's own code, or a call that is wrong."""
    places = []
    frame = error.__traceback__
    while frame is not None:
        places.append(str(frame.tb_frame.f_globals.get("__name__", "")))
        frame = frame.tb_next
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return any(place.partition(".")[0] in _CLIENTS for place in places)
    if not places or not (places[-1].startswith(_LLM_CLASSES) or places[-1].partition(".")[0] in _CLIENTS):
        return False
    if isinstance(error, AttributeError):
        return error.obj is None or isinstance(error.obj, str | bytes | list | dict)
    return not isinstance(error, TypeError) or "NoneType" in str(error)
