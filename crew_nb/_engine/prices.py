"""What an LLM call cost, in US dollars; None where the price is not known, since money is never invented.

The prices are those in the installed genai-prices package; nothing is fetched. It is imported when the first price is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crew_nb._state.errors import OptionError
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from datetime import datetime

OFFLINE = "offline"

# CrewAI's and LiteLLM's names for providers that genai-prices calls otherwise.
_PROVIDERS = {
    "azure_openai": "azure",
    "bedrock": "aws",
    "claude": "anthropic",
    "cohere_chat": "cohere",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "together_ai": "together",
    "vertex_ai": "google",
    "xai": "x-ai",
}
# A server that only speaks OpenAI's protocol has prices of its own; genai-prices would take it for OpenAI.
_SPEAK_OPENAI = frozenset({"custom_openai", "openai_compatible", "openai_like"})


class _Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float


_own: dict[str, _Price] = {}
_unknown: set[tuple[str, str]] = set()


def set_price(
    llm_name: str,
    input_per_million: float,
    output_per_million: float,
    cached_input_per_million: float | None = None,
) -> None:
    """Sets the price of an LLM for this kernel, over what the package says.

    Args:
        llm_name: As given to `LLM(...)`, with or without the provider: `ollama/llama3` or `llama3`.
        input_per_million: US dollars per million prompt tokens.
        output_per_million: US dollars per million completion tokens.
        cached_input_per_million: The same for prompt tokens read from the provider's cache; the input price if left
            out.
    """
    cached = input_per_million if cached_input_per_million is None else cached_input_per_million
    if min(input_per_million, output_per_million, cached) < 0:
        raise OptionError(f"the price of {llm_name} is negative: write US dollars per million tokens, 0 if it is free.")
    _own[llm_name.lower()] = _Price(input_per_million, output_per_million, cached)


def price(llm_name: str, usage: Usage, provider: str | None = None, at: datetime | None = None) -> float | None:
    """US dollars for one call, or None where the price or the token counts are not known.

    Args:
        llm_name: As CrewAI names it: `openai/gpt-4o-mini`, `gpt-4o-mini`; `offline` costs nothing.
        usage: The call's tokens.
        provider: The LLM's provider, where CrewAI knows it.
        at: When the call was made, for prices that changed; now if left out.
    """
    name = llm_name.lower()
    if name.rpartition("/")[2] == OFFLINE:
        return 0.0
    if not usage.prompt_tokens and not usage.completion_tokens:
        return None
    provider, model = _split(name, (provider or "").lower())
    for own in (name, f"{provider}/{model}", model):
        if own in _own:
            return _own_price(_own[own], usage)
    known = _listed(provider)
    if known in _SPEAK_OPENAI or (known, model) in _unknown:
        return None
    if not known and ":" in model:  # a local tag such as `deepseek-r1:7b`, which is not the hosted LLM of that name
        return None
    return _listed_price(known, model, usage, at)


def load() -> None:
    """Imports the price list now, where a third of a second does not matter."""
    _listed_price("openai", "gpt-4o-mini", Usage(prompt_tokens=1), None)


def _split(name: str, provider: str) -> tuple[str, str]:
    """Provider and model. A prefix counts for more than CrewAI's default provider, `openai`."""
    head, slash, rest = name.partition("/")
    if slash and (provider in ("", "openai", "litellm") or _listed(head) == _listed(provider)):
        return head, rest
    return ("" if provider == "litellm" else provider), name


def _listed(provider: str) -> str:
    return _PROVIDERS.get(provider, provider)


def _own_price(own: _Price, usage: Usage) -> float:
    cached = min(usage.cached_prompt_tokens, usage.prompt_tokens)
    fresh = usage.prompt_tokens - cached
    return (fresh * own.input + cached * own.cached_input + usage.completion_tokens * own.output) / 1e6


def _listed_price(provider: str, model: str, usage: Usage, at: datetime | None) -> float | None:
    import genai_prices

    cached = min(usage.cached_prompt_tokens, usage.prompt_tokens)
    counts = genai_prices.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=cached,
        cache_write_tokens=min(usage.cache_creation_tokens, usage.prompt_tokens - cached),
    )
    try:
        found = genai_prices.calc_price(counts, model, provider_id=provider or None, genai_request_timestamp=at)
    except LookupError:
        _unknown.add((provider, model))
        return None
    listed = found.model_price
    if (usage.prompt_tokens and listed.input_mtok is None) or (usage.completion_tokens and listed.output_mtok is None):
        return None  # it would count as free what has no price in the list
    return float(found.total_price)
