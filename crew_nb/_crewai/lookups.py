"""What runs ask besides LLMs: their tools, and embedders for memory and knowledge; where that is seen, and answered.

CrewAI's own tools that work on what is here, or ask LLMs in their turn (delegation, memory, skills), are run as ever.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from crew_nb._crewai.patches import put_around
from crew_nb._state import attempt as _attempt
from crew_nb._state.call import Answer, Found, Lookup
from crew_nb._state.plain import plain, unplain_as

LookUp = Callable[[Lookup], Found]
"""An answer, whom to tell of the one that comes, or None where nobody wants to know."""

_OWN = ("crewai.tools.agent_tools.", "crewai.tools.memory_tools", "crewai.skills.")
_NO_KEY = "recorded"
"""The key of a client that is made where there is none; it is not asked."""


def install(look_up: LookUp, sleep: Callable[[float], None], answers: Callable[[], bool]) -> None:
    """See tools and embedders in runs of ours; where CrewAI has moved them, they are run as ever.

    Args:
        look_up: Asked before each; what it raises is raised in its place.
        sleep: Waits in a worker thread as long as a tool took.
        answers: Whether embedders of the current run are answered, so that one without a key is made, too.
    """
    with contextlib.suppress(ImportError, AttributeError):
        from crewai.tools.base_tool import BaseTool, Tool
        from crewai.tools.structured_tool import CrewStructuredTool

        for cls, name in ((BaseTool, "run"), (Tool, "run"), (CrewStructuredTool, "invoke")):
            put_around(cls, name, functools.partial(_sync_tool, look_up, sleep), "looks up")
        for cls, name in ((BaseTool, "arun"), (Tool, "arun"), (CrewStructuredTool, "ainvoke")):
            put_around(cls, name, functools.partial(_async_tool, look_up), "looks up")
    with contextlib.suppress(ImportError, AttributeError):
        from chromadb.api.models.CollectionCommon import CollectionCommon

        put_around(CollectionCommon, "_embed", functools.partial(_of_knowledge, look_up), "looks up")
    with contextlib.suppress(ImportError, AttributeError):
        from crewai.memory.unified_memory import Memory

        put_around(Memory, "_embedder", functools.partial(_of_memory, look_up), "looks up")
    with contextlib.suppress(ImportError, AttributeError):
        from chromadb.utils.embedding_functions.openai_embedding_function import OpenAIEmbeddingFunction

        put_around(OpenAIEmbeddingFunction, "__init__", functools.partial(_without_key, answers), "looks up")


# --- tools -------------------------------------------------------------------------------------------------------


def _sync_tool(look_up: LookUp, sleep: Callable[[float], None], stock: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: Any, *args: Any, **more: Any) -> Any:
        lookup = _asks(self, args, more)
        found = None if lookup is None else look_up(lookup)
        if found is None:
            return stock(self, *args, **more)
        if isinstance(found, Answer):
            sleep(found.seconds)
            return _again(self, found)
        with _Telling(self, found) as telling:
            telling.result = stock(self, *args, **more)
        return telling.result

    return run


def _async_tool(look_up: LookUp, stock: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def run(self: Any, *args: Any, **more: Any) -> Any:
        lookup = _asks(self, args, more)
        found = None if lookup is None else look_up(lookup)
        if found is None:
            return await stock(self, *args, **more)
        if isinstance(found, Answer):
            await asyncio.sleep(found.seconds)
            return _again(self, found)
        with _Telling(self, found) as telling:
            telling.result = await stock(self, *args, **more)
        return telling.result

    return run


def _asks(tool: Any, args: tuple[Any, ...], more: Mapping[str, Any]) -> Lookup | None:
    """What a call of a tool asks; None where it is run as ever: one of CrewAI's own, or one that refuses the call."""
    original = getattr(tool, "_original_tool", None) or tool
    if _attempt.current.get() is None or type(original).__module__.startswith(_OWN):
        return None
    if tool.max_usage_count is not None and tool.current_usage_count >= tool.max_usage_count:
        return None
    try:
        if hasattr(tool, "_parse_args"):
            arguments: Any = tool._parse_args(*args[:1] or (more["input"],))
        else:
            arguments = list(args) if args else tool._validate_kwargs(dict(more))
    except Exception:  # it says so itself
        return None
    return Lookup(kind="tool", name=str(tool.name), asks=arguments, models=_models_of(original))


def _models_of(tool: Any) -> tuple[type, ...]:
    models = [getattr(tool, "result_schema", None)]
    with contextlib.suppress(ImportError):
        from crewai.tools.tool_failure import ToolFailure

        models.append(ToolFailure)
    return tuple(model for model in models if isinstance(model, type))


def _again(tool: Any, answer: Answer) -> Any:
    """What the tool said, counted as a use of it."""
    count = getattr(tool, "_claim_usage", None) or tool._increment_usage_count
    count()
    if answer.raised:
        raise type(answer.raised, (Exception,), {})(answer.value)
    return answer.value


class _Telling:
    """While a tool runs whose result somebody wants to know."""

    def __init__(self, tool: Any, tell: Callable[[Answer], None]) -> None:
        self.result: Any = None
        self._tool = tool
        self._tell = tell
        self._began = time.monotonic()

    def __enter__(self) -> _Telling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        seconds = time.monotonic() - self._began
        if error is None:
            self._tell(Answer(value=self._lasting(), seconds=seconds))
        elif kind is not None and isinstance(error, Exception) and not kind.__module__.startswith("crewai.hooks"):
            self._tell(Answer(value=str(error), raised=kind.__name__, seconds=seconds))

    def _lasting(self) -> Any:
        """The result, where it comes back from a file as it is, and else the text that an agent gets of it."""
        models = (*_models_of(getattr(self._tool, "_original_tool", None) or self._tool), type(self.result))
        with contextlib.suppress(Exception):  # a class of the user's
            back = unplain_as(plain(self.result), [m for m in models if hasattr(m, "model_fields")])
            if type(back) is type(self.result) and back == self.result:
                return self.result
        return self._tool.format_output_for_agent(self.result)


# --- embedders ---------------------------------------------------------------------------------------------------


def _of_knowledge(look_up: LookUp, stock: Callable[..., Any]) -> Callable[..., Any]:
    def embed(self: Any, input: Any, is_query: bool = False) -> Any:  # noqa: A002 - chromadb's
        def ask(texts: list[str]) -> Any:
            return stock(self, texts, is_query)

        return _embed(look_up, getattr(self, "_embedding_function", None), "query" if is_query else "", input, ask)

    return embed


def _of_memory(look_up: LookUp, stock: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def embedder(self: Any) -> Any:
        found = stock(self)
        return functools.partial(_embed, look_up, found, "", ask=found) if _attempt.current.get() else found

    return embedder


def _embed(look_up: LookUp, embedder: Any, use: str, texts: Any, ask: Callable[[list[str]], Any]) -> Any:
    """The vectors of texts, each of them from where it is known."""
    if _attempt.current.get() is None or not all(isinstance(text, str) for text in texts):
        return ask(texts)
    name = " ".join(filter(None, [_name_of(embedder), use]))
    found = [look_up(Lookup(kind="embedder", name=name, asks=text)) for text in texts]
    unknown = [place for place, each in enumerate(found) if not isinstance(each, Answer)]
    asked = ask([texts[place] for place in unknown]) if unknown else []
    vectors: list[Any] = [_vector(each.value) if isinstance(each, Answer) else None for each in found]
    for place, vector in zip(unknown, asked, strict=True):
        vectors[place] = vector
        if (tell := found[place]) is not None and not isinstance(tell, Answer):
            tell(Answer(value=_words(vector)))
    return vectors


def _name_of(embedder: Any) -> str:
    """An embedder by what decides on its vectors: its class or function, its model, how long they are."""
    kind = getattr(embedder, "__qualname__", None) or type(embedder).__name__
    model = next(filter(None, (getattr(embedder, name, None) for name in ("model_name", "model"))), "")
    return " ".join(str(part) for part in (kind, model, getattr(embedder, "dimensions", None)) if part)


def _words(vector: Any) -> str:
    """A vector as text, in the precision that stores keep."""
    import numpy

    return base64.b64encode(numpy.asarray(vector, "<f4").tobytes()).decode()


def _vector(words: str) -> Any:
    import numpy

    return numpy.frombuffer(base64.b64decode(words), "<f4").astype("float32")


def _without_key(answers: Callable[[], bool], stock: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, api_key: str | None = None, *args: Any, **more: Any) -> None:
        if not answers():
            stock(self, api_key, *args, **more)
            return
        try:
            stock(self, api_key, *args, **more)
        except ValueError:
            stock(self, api_key or _NO_KEY, *args, **more)

    return init
