"""What a request to the router may hold: a body that is bounded and strict, its inputs typed as the crew's function is.

Nothing has begun while it is read, and what does not fit is a 4xx.
"""

import inspect
import json
import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PydanticUserError,
    TypeAdapter,
    create_model,
    model_validator,
)
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError

from crew_nb._crewai import factories as _factories
from crew_nb._crewai import kinds as _kinds
from crew_nb._crewai.inputs import DEEPEST
from crew_nb._crewai.placeholders import names_in
from crew_nb._state import plain as _plain
from crew_nb._state.errors import BlueprintError
from crew_nb._state.secret_looks import is_secret_name
from crew_nb._state.secrets import Secrets


class _Strict(Request):
    """A request whose JSON holds no NaN and no infinity, which no answer could echo."""

    async def json(self) -> Any:
        return json.loads(await self.body(), parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


class Route(APIRoute):
    """A route that refuses large bodies while they come in, and says no more of a bad one than where it is bad."""

    max_bytes = 0

    def get_route_handler(self) -> Callable[[Request], Any]:
        """The route's own handler behind both bounds."""
        handle = super().get_route_handler()
        limit = self.max_bytes

        async def bounded(request: Request) -> Response:
            seen = 0

            async def receive() -> Any:
                nonlocal seen
                message = await request.receive()
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise HTTPException(413, f"The body has more than {limit:,} bytes.")
                return message

            try:
                return await handle(_Strict(request.scope, receive))
            except RequestValidationError as error:
                # FastAPI's own answer echoes the input, which may be no valid text.
                found = [{"type": e["type"], "loc": list(e["loc"]), "msg": e["msg"]} for e in error.errors()]
                return as_json({"detail": found}, 422)

        return bounded


def as_json(content: Any, status: int = 200) -> Response:
    """JSON in pure ASCII: an LLM's text may hold lone surrogates, which UTF-8 cannot carry."""
    return Response(json.dumps(content), status, media_type="application/json")


def item_model(crew: Any, max_length: int) -> type[BaseModel]:
    """The model of one input: a factory's parameters with their types and defaults, and a crew's placeholders."""
    text = Annotated[str, Field(max_length=max_length)]
    fields: dict[str, tuple[Any, Any]] = {}
    taken: set[str] = set()
    extra: Literal["allow", "forbid"] = "forbid"
    name = "Crew"
    if _kinds.find(crew) is None:
        name = getattr(crew, "__name__", type(crew).__name__)
        for parameter in _parameters(crew):
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = "allow"
                continue
            taken.add(parameter.name)
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                kind = _field_type(parameter, crew)
                if kind is not None:
                    fields[parameter.name] = (text if kind is str else kind, parameter.default)
    needs = any(default is inspect.Parameter.empty for _, default in fields.values())
    built = None if needs else _built(crew, or_none=bool(fields) or extra == "allow")
    sure = built is not None and extra == "forbid"  # else other arguments may make another crew
    if built is not None and _kinds.kind_of(built).takes_other_inputs(built):  # they may add inputs, and take any
        sure, extra = False, "allow"
    found = _in_own_words(crew) if built is None else _kinds.kind_of(built).placeholders(built)
    for place in sorted(found - taken):
        fields[place] = (text, inspect.Parameter.empty if sure else None)
    check = _bounds(max_length)
    bounds = BeforeValidator(check)
    # Any name may stand in a prompt; as aliases they are free of what pydantic wants of attributes.
    columns = {
        f"f{n}": (Annotated[kind, bounds], _field(place, kind, default))
        for n, (place, (kind, default)) in enumerate(fields.items())
    }

    class Item(BaseModel):
        model_config = ConfigDict(extra=extra, allow_inf_nan=False)
        __pydantic_extra__: dict[str, Annotated[JsonValue, bounds]]

        @model_validator(mode="before")
        @classmethod
        def check_names(cls, data: Any) -> Any:
            check(list(data) if isinstance(data, Mapping) else None)
            return data

    title = "".join(word[:1].upper() + word[1:] for word in name.replace("<lambda>", "crew").split("_"))
    model: type[BaseModel] = create_model(f"{title}Inputs", __base__=Item, **columns)  # type: ignore[call-overload]
    return model


def _bounds(max_length: int) -> Callable[[Any], Any]:
    """A check of what has come as JSON: how long its texts are, and how deep it goes."""

    def check(value: Any, depth: int = 0) -> Any:
        if isinstance(value, str) and len(value) > max_length:
            raise PydanticKnownError("string_too_long", {"max_length": max_length})
        if isinstance(value, list | dict):
            if depth == DEEPEST:
                raise PydanticCustomError("too_deep", "Input should have at most {most} levels", {"most": depth})
            for part in value if isinstance(value, list) else [*value, *value.values()]:
                check(part, depth + 1)
        return value

    return lambda value: check(value)


def _built(crew: Any, *, or_none: bool) -> Any:
    """A crew whose placeholders are to be learnt.

    Args:
        crew: A Crew, or a function that needs no arguments.
        or_none: Whether one that cannot be had is None; it does not raise then.
    """
    if _kinds.find(crew):
        return crew
    try:
        return _factories.built(crew, None)
    except Exception:  # it needs an argument after all
        if or_none:
            return None
        raise


def _in_own_words(factory: Any) -> set[str]:
    """The names in braces in a function's own code; with arguments to be invented, it is not called for them."""
    function = _function(factory)
    names = getattr(function, "__globals__", {})
    codes = [code] if isinstance(code := getattr(function, "__code__", None), types.CodeType) else []
    texts: list[Any] = []
    for code in codes:  # it grows by the functions inside
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        texts += [constant for constant in code.co_consts if constant != function.__doc__]
        texts += [names.get(name) for name in code.co_names]
    return {name for text in texts if isinstance(text, str) for name in names_in(text)}


def _field(name: str, kind: Any, default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return Field(alias=name, title=name)
    return Field(default=_told(name, kind, default), alias=name, title=name)


def _told(name: str, kind: Any, default: Any) -> Any:
    """A default as JSON for the OpenAPI; None where it has a secret in it, or no form. It is never passed on."""
    try:
        told = TypeAdapter(kind).dump_python(default, mode="json", warnings=False)
        json.dumps(told, allow_nan=False)
    except Exception:  # a user's class may raise anything
        return None
    clean = Secrets().scrub_inputs({name: told}) == {name: told} and "*" * 10 not in str(told)  # a SecretStr's mask
    return told if clean else None


def _function(factory: Any) -> Any:
    """The plain function that a factory is in the end."""
    function = inspect.unwrap(factory)
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
        function = getattr(type(function), "__call__", function)  # noqa: B004 - an object that is called
    return getattr(function, "__func__", function)


def _parameters(factory: Any) -> Iterator[inspect.Parameter]:
    """The parameters, with annotations that were written as text read one by one: some are for type checkers only."""
    names = getattr(_function(factory), "__globals__", {})
    for parameter in inspect.signature(factory).parameters.values():
        kind = parameter.annotation
        if isinstance(kind, str):
            try:
                kind = eval(kind, names)  # noqa: S307 - the user's own code
            except Exception:
                kind = parameter.empty
        yield parameter.replace(annotation=kind)


def _field_type(parameter: inspect.Parameter, factory: Any) -> Any:
    """The type of a parameter's field, or None where it stays with its default."""
    optional = parameter.default is not parameter.empty
    if optional and is_secret_name(parameter.name):
        return None
    kind = parameter.annotation
    if kind is parameter.empty:
        if not optional:
            return str
        if parameter.default is None:
            return JsonValue
        kind = type(parameter.default)
    try:
        TypeAdapter(kind).json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema):
        if optional:
            return None
        raise BlueprintError(
            f"the parameter {parameter.name} of {getattr(factory, '__name__', factory)}() is a {kind!r}, which cannot "
            "come in a request. Give it a default, or make it inside the function."
        ) from None
    return kind


def row(item: Any) -> dict[str, Any]:
    """An input as it was given, each part in the type of its field."""
    fields = type(item).model_fields
    given = {fields[name].alias: getattr(item, name) for name in fields if name in item.model_fields_set}
    return {**given, **(item.model_extra or {})}


def echo(item: Any, row: dict[str, Any]) -> Any:
    """The same as JSON again, for the answer."""
    try:
        return json.loads(
            item.model_dump_json(by_alias=True, exclude_unset=True, fallback=str, warnings=False)  # inf becomes null
        )
    except Exception:  # bytes that are no text, or whatever a user's class raises
        return _plain.plain(row, Secrets(given=row).scrub)
