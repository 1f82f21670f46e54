"""Secrets are taken out by value and by shape; ordinary text is left alone."""

from __future__ import annotations

import base64
import functools
import os
import re
from collections import namedtuple
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, PrivateAttr, SecretStr

from crew_nb._engine.hide import Stream
from crew_nb._state.events import CallChunk, CallFailed, CallFinished, CrewReady, RunFinished, TaskSpec
from crew_nb._state.secret_looks import AHEAD, HIDDEN, SHAPES, STEP, is_secret, is_secret_name
from crew_nb._state.secrets import PAST, Secrets, learn_environment, together

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = [
    "sk-proj-Ab12cd34EF56gh78IJ90kl12MN34op56",
    "sk-ant-api03-Zx9_y8W7v6U5t4S3r2Q1p0O9n8M7-l6K5",
    "sk-or-v1-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv",
    "hf_aBcDeFgHiJ0123456789kLmNoPqRsTuVwX",
    "gsk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-123456789012-abcdefABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "Incorrect API key provided: {}.", "{{'api_key': '{}'}}", "a\n{}\nb", "x={}"])
def test_well_known_keys_are_hidden_by_their_shape(key: str, around: str) -> None:
    """A key nobody told us of is hidden, whatever stands around it, and the rest of the text stays."""
    scrubbed = Secrets().scrub(around.format(key))
    assert key[6:] not in scrubbed
    assert scrubbed == around.format(HIDDEN)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcDEF123456ghiJKL789", "Authorization: Bearer ***"),
        ("authorization: Basic dXNlcjpwYXNzd29yZA==", "authorization: Basic ***"),
        ("postgres://anna:s3cret@db:5432/x", "postgres://anna:***@db:5432/x"),
        ("GET https://x.org/v1?alt=sse&key=abcdefgh12345", "GET https://x.org/v1?alt=sse&key=***"),
        ('{"password": "tr0ub4dor&3"}', '{"password": "***"}'),
        ("login failed, password=zq9hunter2 and db_pwd=a1b2c3d4e5;x", "login failed, password=*** and db_pwd=***;x"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nrest", "***\nrest"),
    ],
)
def test_credentials_in_headers_addresses_and_fields_are_hidden(text: str, left: str) -> None:
    """Only the secret goes; what says where it stood stays."""
    assert Secrets().scrub(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "The bearer certificates of the token economy keep their secret: a password is a key, not a value.",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b, md5 d41d8cd98f00b204e9800998ecf8427e",
        "550e8400-e29b-41d4-a716-446655440000",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "token = tokens['first_one']; api_key = os.environ['OPENAI_API_KEY']; password=getpass.getpass()",
        'LLM(model="gpt-4o", api_key=key)  # max_tokens=4096, "token": "attention", key="C major"',
        "scikit-learn (sk-learn-compatible-estimators-everywhere), task-2024-report-on-risk, desk-12345678901234567890",
        "see https://docs.python.org/3/library/re.html?highlight=re#re.sub and mailto:a@b.org, ratio 3://4",
        "Basic understanding; bearer of good news 2024; hf_model, r8_x, xai-ok, npm_config",
        "日本語のテキスト🙂 ünïcödé",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Prose, code, hashes and addresses come out as they went in."""
    assert Secrets().scrub(text) == text


def test_a_known_secret_is_hidden_in_every_form_it_takes() -> None:
    """URL-quoted, in JSON, in a repr, in a header and in capitals-free text alike."""
    scrubber = Secrets()
    secret = 'p@ss "w\\rd/ü-x'
    scrubber.learn([f"Bearer {secret}"])
    for form in (
        secret,
        "p%40ss%20%22w%5Crd%2F%C3%BC-x",
        "p%40ss%20%22w%5Crd/%C3%BC-x",
        'p@ss \\"w\\\\rd/\\u00fc-x',
        repr(secret)[1:-1],
    ):
        assert scrubber.scrub(f"<{form}>") == f"<{HIDDEN}>"


def test_the_longer_of_two_known_secrets_wins() -> None:
    """A secret that begins with another one leaves no rest."""
    scrubber = Secrets()
    scrubber.learn(["longsecret1"])
    scrubber.learn(["longsecret1-and-more"])
    assert scrubber.scrub("longsecret1-and-more longsecret1") == f"{HIDDEN} {HIDDEN}"


def test_a_known_secret_that_looks_like_a_word_is_hidden_on_its_own_only() -> None:
    """Other words that contain it stay, and so do placeholders and very short values."""
    scrubber = Secrets()
    scrubber.learn(["correcthorse", "password", "lm-studio", "short"])
    text = "correcthorse, incorrecthorses, the password of lm-studio is short"
    assert scrubber.scrub(text) == "***, incorrecthorses, the password of lm-studio is short"


def test_environment_variables_with_secret_names_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those set after the import; paths and values of other variables are left."""
    scrubber = Secrets()
    monkeypatch.setenv("MY_API_KEY", "value-of-the-key-1")
    monkeypatch.setenv("SERVICE_TOKEN", "value-of-the-token-1")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/anna/credentials.json")
    monkeypatch.setenv("KEYBOARD_LAYOUT", "german-layout-1")
    learn_environment()
    text = "value-of-the-key-1 value-of-the-token-1 /home/anna/credentials.json german-layout-1"
    assert scrubber.scrub(text) == "*** *** /home/anna/credentials.json german-layout-1"
    monkeypatch.setenv("LATER_SECRET", "value-of-the-late-one")
    learn_environment()
    monkeypatch.delenv("LATER_SECRET")
    assert scrubber.scrub("value-of-the-late-one") == HIDDEN


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((n, True) for n in ("api_key", "apiKey", "OPENAI_API_KEY", "x-api-key", "password", "db_password", "token")),
        *((n, True) for n in ("Authorization", "accessToken", "client_secret", "aws_secret_access_key", "Cookie")),
        *((n, True) for n in ("openai_key", "azure_key", "groqKey", "mistralKey", "HF_KEY")),
        *((n, False) for n in ("topic", "key", "keywords", "key_points", "max_tokens", "token_count", "tokens", "")),
        *((n, False) for n in ("author", "monkey", "api_base", "password_length", "secretary", "C major", "42")),
    ],
)
def test_secret_names(name: str, secret: bool) -> None:
    """Names of fields and inputs are told apart by their words."""
    assert is_secret_name(name) is secret


def test_inputs_with_secret_names_are_hidden_and_learnt() -> None:
    """Their value is hidden elsewhere, too, unless it is an ordinary word."""
    scrubber = Secrets()
    inputs = {"topic": "AI", "api_key": "my-own-key-77", "token": "attention", "n": 3, "auth": {"token": "deep-key-12"}}
    hidden = scrubber.scrub_inputs(inputs)
    assert hidden == {"topic": "AI", "api_key": HIDDEN, "token": HIDDEN, "n": 3, "auth": {"token": HIDDEN}}
    assert inputs["api_key"] == "my-own-key-77"
    assert scrubber.scrub("pay attention to my-own-key-77 and deep-key-12") == "pay attention to *** and ***"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        *(("key", value, True) for value in ("qz9Wx" * 4, "3f786850e387550fdab836ed7e6dc881", KEYS[0])),
        *(
            ("key", value, False)
            for value in ("C major", "Cmajor", "AI-agents-2024-trends", "Beethoven9thSymphony2024")
        ),
        *((name, "qz9Wx" * 4, True) for name in ("search_key", "serviceKey", "token_style")),
        *((name, "very formal", False) for name in ("sort_key", "token_style", "secret_word", "cookie")),
        *((name, "short 1", True) for name in ("api_key", "password", "access_token", "client_secret", "openai_key")),
        *((name, None, True) for name in ("key", "token_style", "api_key")),
        *((name, "qz9Wx" * 4, False) for name in ("topic", "keyword", "max_tokens")),
    ],
)
def test_a_name_with_an_ordinary_meaning_is_judged_by_its_value(name: str, value: str | None, secret: bool) -> None:
    """A `key` is a secret if it looks like one; an `api_key` whatever it looks like; no value may be one later."""
    assert is_secret(name, value) is secret


def test_a_key_is_hidden_in_the_inputs_that_come_before_it() -> None:
    """One input says that it is secret, and it stands in another, or deeper in the same."""
    scrubber = Secrets()
    key = "qz9Wx" * 4
    inputs = {"topic": f"see {key}", "key": "C major", "cfg": {"openai": {"key": key, "note": [f"<{key}>"]}}}
    cfg = {"openai": {"key": HIDDEN, "note": [f"<{HIDDEN}>"]}}
    assert scrubber.scrub_inputs(inputs) == {"topic": f"see {HIDDEN}", "key": "C major", "cfg": cfg}


def test_ordinary_words_of_a_crew_are_not_learnt() -> None:
    """A tool's `token_style` is no secret, and its words stay in the outputs."""

    class Tool:
        token_style = ""

        def __init__(self) -> None:
            self.token_style = "very formal words"
            self.api_key = "a secret of words"

    scrubber = Secrets()
    scrubber.learn_from(Tool())
    assert scrubber.scrub("very formal words, a secret of words") == f"very formal words, {HIDDEN}"


def test_a_failing_function_gives_away_no_key_that_it_had() -> None:
    """An LLM that nobody else has seen, a variable with a telling name, the environment: its error is hidden."""
    from crew_nb._engine.failure import info

    class Client:
        def __init__(self) -> None:
            self.api_key = "key-in-an-object-1"

    def build(openai_key: str) -> None:
        client = Client()
        raise RuntimeError(f"401 for {client.api_key} and {openai_key}")

    try:
        build("key-in-a-name-2")
    except RuntimeError as error:
        secrets = Secrets()
        told = info(error, secrets)
    assert secrets.scrub(told.message) == f"401 for {HIDDEN} and {HIDDEN}"
    assert "key-in-a" not in secrets.scrub(told.traceback).replace('"key-in-a-name-2"', "")


def test_the_secrets_of_a_crew_are_learnt() -> None:
    """Keys of LLMs, their headers and client parameters, and keys of tools, wherever they hang in the crew."""
    from crewai import LLM, Agent, Crew, Task
    from crewai.tools import BaseTool

    class Search(BaseTool):
        name: str = "search"
        description: str = "searches"
        api_key: str = "key-of-the-tool-3"

        def _run(self, q: str) -> str:
            return q

    llm = LLM(
        model="openai/gpt-4o",
        api_key="key-of-the-llm-1",
        default_headers={"X-Api-Key": "key-in-a-header-2", "X-Title": "my-application"},
        client_params={"default_headers": {"Authorization": "Bearer key-in-params-4"}},
    )
    agent = Agent(role="r", goal="g", backstory="b", llm=llm, tools=[Search()])
    crew = Crew(agents=[agent], tasks=[Task(description="d", expected_output="e", agent=agent)])
    scrubber = Secrets()
    scrubber.learn_from(crew)
    text = "key-of-the-llm-1 key-in-a-header-2 key-of-the-tool-3 key-in-params-4 my-application gpt-4o"
    assert scrubber.scrub(text) == "*** *** *** *** my-application gpt-4o"


def test_a_secret_in_bytes_is_hidden_before_they_are_encoded() -> None:
    """Base64 would carry it past a search of the file."""
    from crew_nb._state.plain import plain

    scrubber = Secrets()
    scrubber.learn(["the-secret-99"])
    tree = plain(b"\xff the-secret-99 \x00", scrubber.scrub)
    assert base64.b64decode(tree["v"]) == b"\xff *** \x00"


def test_no_part_of_a_secret_is_left_where_a_text_is_cut_short() -> None:
    """Labels and prompts are cut for display; half a key would not be known again."""
    from crew_nb._crewai.blueprint import plans_for
    from crew_nb._crewai.listen import DETAIL_KEPT, Listener
    from crew_nb._state.attempt import Attempt
    from crew_nb._state.labels import LABEL_KEPT

    attempt = Attempt(0, lambda event: None, gate=None, secrets=Secrets())  # type: ignore[arg-type]
    cut = Listener(attempt, lambda *call: None)._text
    for before in range(LABEL_KEPT - 30, LABEL_KEPT):
        inputs = {"x": "y" * (before - 10), "api_key": "zebra-zebra-zebra-" + "z" * 90}
        plan = plans_for([(lambda **given: None, inputs)])[0]
        assert "zebra" not in f"{plan.label} {plan.columns}"
    attempt.secrets.learn(["yak-yak-yak-yak-12"])
    for before in range(DETAIL_KEPT - 30, DETAIL_KEPT):
        assert "yak" not in cut("y" * before + " yak-yak-yak-yak-12 " + "y" * DETAIL_KEPT)


def test_a_long_text_is_scrubbed_at_its_end_too() -> None:
    """Nothing is cut off by size: 5 MB, with the key at the end."""
    scrubber = Secrets()
    scrubber.learn(["the-secret-99"])
    text = "All work and no play makes a key = value. " * 120_000
    assert scrubber.scrub(text + "the-secret-99" + KEYS[0]) == text + HIDDEN + HIDDEN


@pytest.mark.parametrize("long", ["PRIVATE KEY", "sk-", ""])
def test_a_text_that_is_looked_through_in_steps_is_looked_through_whole(long: str) -> None:
    """Wherever a step ends, within a key, before or behind it, the same is found; keys longer than a step, too."""
    key = {
        "PRIVATE KEY": f"-----BEGIN PRIVATE KEY-----\n{'MIIE ' * STEP}-----END PRIVATE KEY-----",
        "sk-": "sk-" + "a1" * (STEP + AHEAD),
        "": 'Authorization: Basic dXNlcjpwYXNzd29yZA== password = "tr0ub4dor&3" ' + " ".join(KEYS),
    }[long]
    for before in range(STEP - 850, STEP + 5, 45 if long else 9):
        text = " " * before + key + " and so on"
        whole = {found.span(2) for s in SHAPES for found in s.pattern.finditer(text) if s.judge(found[2])}
        assert {end for shape in SHAPES for _, end in shape.spans(text)} == {end for _, end in whole}


KEY = "Zq8hT3mXw0bV5nK2pL7rY4cD9fG1jS6a"


class _Slotted:
    __slots__ = ("__api_key", "unset_token")

    def __init__(self) -> None:
        self.__api_key = KEY


class _OfClass:
    password = KEY


class _Headers:
    headers = {"Authorization": f"Bearer {KEY}"}  # noqa: RUF012


class _Hostile:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("not yours")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("not yours")


class _Private(BaseModel):
    _api_key: str = PrivateAttr(default=KEY)


class _Declared(BaseModel):
    anything: SecretStr = SecretStr(KEY)


Login = namedtuple("Login", "user password")
MY_API_KEY = KEY


def _reads_a_global() -> str:
    return MY_API_KEY


def _closes_over(api_key: str) -> Callable[[], str]:
    return lambda: api_key


@pytest.mark.parametrize(
    "keeper",
    [
        _Slotted(),
        _OfClass(),
        _OfClass,
        _Headers(),
        _Private(),
        _Declared(),
        Login("anna", KEY),
        _reads_a_global,
        _closes_over(KEY),
        functools.partial(_reads_a_global, api_key=KEY),
        SimpleNamespace(base_url=f"https://clerk:{KEY}@proxy.example/v1"),
        SimpleNamespace(base_url=f"https://proxy.example/v1?api_key={KEY}"),
        SimpleNamespace(base_url=f"https://{KEY}@proxy.example/v1"),
        SimpleNamespace(deep=[{"client": _Slotted()}]),
    ],
    ids=range(14),
)
def test_keys_are_found_where_people_keep_them(keeper: object) -> None:
    """Private attributes, slots, classes, addresses, closures, globals that a function names."""
    secrets = Secrets()
    secrets.learn_from([keeper, _Hostile()])
    assert secrets.scrub(f"so it is {KEY}.") == f"so it is {HIDDEN}."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *(("cookie", "chocolate chip"), ("token", "United States"), ("secret", "the recipe of the house")),
        *(("bearer", "old post horse"), ("password", "open sesame"), ("token", "covid-19 and flu")),
        *(("api_key", "Attention"), ("secret_key", "C major"), ("credentials", "a letter of the king")),
    ],
)
def test_words_under_a_suspicious_name_stay_in_answers(name: str, words: str) -> None:
    """They are hidden where they stand, and nowhere else: a secret is what looks like one."""
    secrets = Secrets(given={name: words})
    answer = f"All about {words}: well known."
    assert secrets.scrub(answer) == answer


def test_what_one_input_says_is_hidden_in_its_run_alone() -> None:
    """A run's secrets are its own; those of the batch and the environment are everybody's."""
    batch = Secrets()
    one, other = (Secrets(batch, {"auth": {"token": f"{KEY}{n}"}}) for n in (1, 2))
    text = f"{KEY}1 {KEY}2"
    assert (one.scrub(text), other.scrub(text), batch.scrub(text)) == (f"{HIDDEN} {KEY}2", f"{KEY}1 {HIDDEN}", text)
    one.learn_from(SimpleNamespace(api_key=f"{KEY}1", password="of-the-crew-77"))
    assert other.scrub(f"{KEY}1 of-the-crew-77") == f"{KEY}1 {HIDDEN}"
    assert together([one, other]).scrub(text) == f"{HIDDEN} {HIDDEN}"


def test_many_secrets_are_found_as_few_are() -> None:
    """Ten thousand values, of several lengths, one the beginning of another; what overlaps is hidden whole."""
    secrets = Secrets()
    values = [f"{KEY[n % 20 :]}-{n}" for n in range(10_000)]
    secrets.learn(values)
    text = " and ".join(values[::997])
    assert secrets.scrub(text) == " and ".join([HIDDEN] * len(values[::997]))
    overlapping = Secrets()
    overlapping.learn(["first-secret-1", "1-second-secret"])
    assert overlapping.scrub("<first-secret-1-second-secret>") == f"<{HIDDEN}>"


def test_variables_that_are_gone_are_known_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that sets another one each time does not make the process slower for ever."""
    for n in range(3):
        monkeypatch.setenv("LEFT_BEHIND_TOKEN", f"left-behind-token-{n}")
        learn_environment()
    assert Secrets().scrub("left-behind-token-0") == HIDDEN
    for n in range(PAST + 10):
        os.environ["LEFT_BEHIND_TOKEN"] = f"another-token-{n}"
        learn_environment()
    assert Secrets().scrub("left-behind-token-0 another-token-509") == f"left-behind-token-0 {HIDDEN}"


SPOKEN = "correct horse battery 7staple"
ANSWERS = [
    f"It is {KEY} or {SPOKEN}, and on it goes.",
    f"correct horses and correct horse battery; then {SPOKEN}{KEY}",
    "Authorization: Bearer abcDEF123456ghiJKL789 and 'api_key': 'a1b2c3d4e5' pwd=a1b2c3d4e5;x",
    f'{{"text":"{"x" * 400}","key":"sk-proj-Ab12cd34EF56gh78IJ90kl12MN34op56","password":"a1b2c3d4e5"}}',
    "Ключ: sk-proj-Ab12cd34EF56gh78IJ90kl12MN34op56。日本語のテキスト postgres://anna:s3cret@db:5432/x",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc 123\n-----END RSA PRIVATE KEY-----\nrest",
    f"{'A' * 300}sk-{KEY} {'B' * 700}.",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_a_stream_says_what_the_whole_says(answer: str, size: int) -> None:
    """In pieces of any size: no piece has a part of a secret, and all that is none arrives."""
    secrets = Secrets()
    secrets.learn([KEY, SPOKEN])
    stream = Stream(secrets)
    pieces = [CallChunk(run=0, at=0.0, call="c", text=answer[at : at + size]) for at in range(0, len(answer), size)]
    told = [event for piece in pieces for event in stream.clean(piece)]
    assert all(isinstance(event, CallChunk) for event in told)
    told += stream.clean(CallFinished(run=0, at=1.0, call="c", kind="llm"))
    said = "".join(event.text for event in told if isinstance(event, CallChunk))
    assert re.sub(r"(\*\*\*)+", "***", said) == re.sub(r"(\*\*\*)+", "***", secrets.scrub(answer))


@pytest.mark.parametrize("answer", ANSWERS[:5], ids=range(5))
def test_what_is_left_of_a_stream_that_was_stopped_has_no_part_of_a_secret(answer: str) -> None:
    """Stopped or failed at any character: no six characters of a secret are told."""
    secrets = Secrets()
    secrets.learn([KEY, SPOKEN])
    hidden = [
        KEY,
        "7staple",
        "Ab12cd34EF56gh78IJ90kl12MN34op56",
        "a1b2c3d4e5",
        "abcDEF123456",
    ]
    parts = {secret[at : at + 6] for secret in hidden for at in range(len(secret) - 5)}
    failed = CallFailed(run=0, at=1.0, call="c", kind="llm", message="")
    ends = [failed, RunFinished(run=0, at=1.0, status="cancelled")]
    for at in range(1, len(answer)):
        for end in ends:
            stream = Stream(secrets)
            told = [*stream.clean(CallChunk(run=0, at=0.0, call="c", text=answer[:at])), *stream.clean(end)]
            said = "".join(event.text for event in told if isinstance(event, CallChunk))
            assert not [part for part in parts if part in said], answer[:at]


def test_a_stream_of_words_is_told_at_once() -> None:
    """Only the last word waits, and of scripts without spaces nothing does."""
    stream = Stream(Secrets())
    said = [event.text for text in ("The quick", " brown", " fox", " 日本語") for event in stream.clean(
        CallChunk(run=0, at=0.0, call="c", text=text))]  # fmt: skip
    assert said == ["The ", "quick ", "brown ", "fox 日本語"]


def test_a_task_named_by_its_description_shows_no_part_of_a_key() -> None:
    """It is cut to a name only when the key in it is gone."""
    secrets = Secrets()
    secrets.learn([KEY])
    for before in range(40, 80):
        spec = TaskSpec(name=f"{'y' * before} {KEY} and more words", agent="Clerk")
        (ready,) = Stream(secrets).clean(CrewReady(run=0, at=0.0, tasks=(spec,), path="direct"))
        assert isinstance(ready, CrewReady)
        assert KEY[:4] not in ready.tasks[0].name
        assert len(ready.tasks[0].name) <= 80
