"""What an item of a request may hold: a factory's types, a crew's placeholders, and how much of each."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import Base64Bytes, BaseModel, HttpUrl, JsonValue, SecretStr

from tests.support import crews
from tests.support.server import llm

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from crewai import Crew

    from tests.serve.conftest import Site
    from tests.support.server import Server

    Make = Callable[..., Site]

PURPOSE = "for {purpose}"
SECRET = "correct-horse-battery-7"
NO_TEXT = b"\xff\xff\xff\xff"


class Who(BaseModel):
    name: str
    age: float = 1.0


@dataclass
class Where:
    city: str


class Tone(enum.Enum):
    DRY = "dry"
    WARM = "warm"


def nested(levels: int) -> dict[str, Any]:
    """A dict in a dict in a dict."""
    inside: dict[str, Any] = {"deep": 1}
    for _ in range(levels - 1):
        inside = {"a": inside}
    return inside


async def ask(client: httpx.AsyncClient, made: Site, *items: Any) -> httpx.Response:
    """POST the items."""
    return await client.post(made.research, json={"inputs": list(items)})


async def item_schema(client: httpx.AsyncClient, made: Site) -> dict[str, Any]:
    """What the OpenAPI says of one item."""
    schemas = (await client.get(f"{made.url}/openapi.json")).json()["components"]["schemas"]
    (found,) = (schema for name, schema in schemas.items() if name.endswith("Inputs"))
    return found


async def test_a_function_gets_the_types_that_it_asks_for(site: Make, client: httpx.AsyncClient, server: Server):
    """Models, dataclasses, URLs, secrets and bytes reach the function as such; the answer says them as JSON does."""
    got: dict[str, Any] = {}

    def build(who: Who, where: Where, url: HttpUrl, key: SecretStr, data: Base64Bytes) -> Crew:
        got.update(who=who, where=where, url=url, key=key, data=data)
        crew = crews.one(llm(server))
        crew.tasks[0].description = f"Research topic={who.name} in {{where}} by {{url}}"
        return crew

    item = {"who": {"name": "Bob"}, "where": {"city": "Rome"}, "url": "https://x.org/", "key": SECRET}
    answer = await ask(client, site(build), {**item, "data": "/////w=="})
    (result,) = answer.json()["results"]
    assert (answer.status_code, result["status"], result["error"]) == (200, "done", None)
    assert got == {
        "who": Who(name="Bob"),
        "where": Where("Rome"),
        "url": HttpUrl("https://x.org/"),
        "key": SecretStr(SECRET),
        "data": NO_TEXT,
    }
    assert result["inputs"] == {**item, "key": "**********", "data": "/////w=="}
    (request,) = server.stats(prompts=True).requests
    assert "topic=Bob in {'city': 'Rome'} by https://x.org/" in request.prompt
    assert SECRET not in answer.text


async def test_numbers_that_json_does_not_have_are_null_in_the_answer(
    site: Make, client: httpx.AsyncClient, server: Server
):
    """A model of the user's may let infinity through; what goes out is JSON all the same."""

    def build(who: Who) -> Crew:
        crew = crews.one(llm(server))
        crew.tasks[0].description = "Research topic=x"
        return crew

    answer = await ask(client, site(build), {"who": {"name": "Bob", "age": "inf"}})
    assert answer.json()["results"][0]["inputs"] == {"who": {"name": "Bob", "age": None}}
    assert "Infinity" not in answer.text


@pytest.mark.parametrize("levels", [41, 300, 450])
async def test_inputs_nested_too_deep_are_refused(site: Make, client: httpx.AsyncClient, server: Server, levels: int):
    """What nothing could show or keep is the client's fault, wherever in an item it stands."""

    def build(topic: str = "x", data: dict[str, Any] | None = None, any_json: JsonValue = None, **more: Any) -> Crew:
        return crews.one(llm(server))

    made = site(build)
    fine = nested(30)
    assert (await ask(client, made, {"topic": "a", "data": fine, "any_json": fine, "more": fine})).status_code == 200
    for name in ("data", "any_json", "more"):
        answer = await ask(client, made, {"topic": "b", name: nested(levels)})
        assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "too_deep"), name
    assert set(server.stats().by_topic) == {"a"}


async def test_no_text_is_longer_than_max_length(site: Make, client: httpx.AsyncClient, server: Server):
    """The limit holds for every text: optional ones, those in lists, models and JSON, keys, and names of no field."""

    def build(
        topic: str,
        maybe: str | None = None,
        tags: list[str] | None = None,
        who: Who | None = None,
        any_json: JsonValue = None,
        **more: Any,
    ) -> Crew:
        return crews.one(llm(server))

    made = site(build, max_length=10)
    fits, long = "x" * 10, "x" * 11
    full = {"maybe": fits, "tags": [fits], "who": {"name": fits}, "any_json": {fits: [fits]}, "more": {"a": [fits]}}
    assert (await ask(client, made, {"topic": "a", **full})).status_code == 200
    for item in (
        {"topic": long},
        {"maybe": long},
        {"tags": ["", long]},
        {"who": {"name": long}},
        {"any_json": {"a": [{"b": long}]}},
        {"any_json": {long: 1}},
        {"more": {"a": [long]}},
        {long: 1},
    ):
        answer = await ask(client, made, {"topic": "b", **item})
        assert answer.status_code == 422, item
        assert {d["type"] for d in answer.json()["detail"]} == {"string_too_long"}
    assert set(server.stats().by_topic) == {"a"}


async def test_placeholders_are_fields_beside_the_parameters(site: Make, client: httpx.AsyncClient, server: Server):
    """A function that can be called without arguments is asked for its crew; its placeholders are wanted."""

    def build(words: int = 5) -> Crew:
        crew = crews.one(llm(server))
        crew.tasks[0].expected_output = f"{words} words"
        return crew

    made = site(build)
    schema = await item_schema(client, made)
    assert (sorted(schema["properties"]), schema["required"]) == (["topic", "words"], ["topic"])
    assert (await ask(client, made, {"words": 3})).status_code == 422
    (result,) = (await ask(client, made, {"topic": "tea", "words": 3})).json()["results"]
    assert result["status"] == "done"


async def test_placeholders_in_the_functions_own_words_are_fields(
    site: Make, client: httpx.AsyncClient, server: Server
):
    """A function that needs arguments is not called for that: what it has in braces is offered, and not insisted on."""
    called = 0

    def build(topic: str) -> Crew:
        """A crew for {nobody}."""
        nonlocal called
        called += 1
        crew = crews.one(llm(server))
        crew.tasks[0].description = f"Research topic={topic} for {{audience}}" + PURPOSE
        return crew

    made = site(build)
    schema = await item_schema(client, made)
    assert called == 0
    assert (sorted(schema["properties"]), schema["required"]) == (["audience", "purpose", "topic"], ["topic"])
    items = [{"topic": "tea", "audience": "children", "purpose": "fun"}, {"topic": "tea"}]
    results = (await ask(client, made, *items)).json()["results"]
    assert [result["status"] for result in results] == ["done", "done"]
    prompts = [request.prompt for request in server.stats(prompts=True).requests]
    assert sorted(["for children" in prompt, "for {audience}" in prompt] for prompt in prompts) == [
        [False, True],
        [True, False],
    ]


async def test_a_function_that_fails_without_arguments_keeps_its_parameters(
    site: Make, client: httpx.AsyncClient, server: Server
):
    """Looking for placeholders breaks no router: the parameters are the fields, as they are where it is not called."""

    def build(topic: str = "") -> Crew:
        if not topic:
            raise ValueError("a topic is needed after all")
        return crews.one(llm(server))

    made = site(build)
    assert sorted((await item_schema(client, made))["properties"]) == ["topic"]
    assert (await ask(client, made, {"topic": "a"})).json()["results"][0]["status"] == "done"


async def test_openapi_has_the_defaults(site: Make, client: httpx.AsyncClient, server: Server):
    """Enums, lists, dates and models are told as a client would write them; a secret in them is not."""

    def build(
        topic: str,
        tone: Tone = Tone.WARM,
        tags: list[str] = ["a"],  # noqa: B006
        since: datetime.date = datetime.date(2020, 1, 2),
        who: Who = Who(name="Bob"),  # noqa: B008
        where: Where = Where("Rome"),  # noqa: B008
        base: str = "https://user:pw12345678@host/x",
        headers: dict[str, str] = {"api_key": SECRET},  # noqa: B006
        most: float = float("inf"),
    ) -> Crew:
        return crews.one(llm(server))

    made = site(build)
    fields = (await item_schema(client, made))["properties"]
    assert {name: field["default"] for name, field in fields.items() if "default" in field} == {
        "tone": "warm",
        "tags": ["a"],
        "since": "2020-01-02",
        "who": {"name": "Bob", "age": 1.0},
        "where": {"city": "Rome"},
    }
    answer = await client.get(f"{made.url}/openapi.json")
    assert SECRET not in answer.text
    assert "pw12345678" not in answer.text
