"""Prices against the arithmetic of the providers' own price lists."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from crew_nb._engine import prices as _prices
from crew_nb._engine.prices import price, set_price
from crew_nb._state.errors import OptionError
from crew_nb._state.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL = Usage(total_tokens=1_500_000, prompt_tokens=1_000_000, completion_tokens=500_000)


@pytest.fixture(autouse=True)
def _own_prices_forgotten() -> Iterator[None]:
    yield
    _prices._own.clear()


@pytest.mark.parametrize(
    ("name", "provider", "dollars"),
    [
        ("gpt-4o-mini", None, 0.15 + 0.30),
        ("gpt-4o-mini", "openai", 0.45),
        ("openai/gpt-4o-mini", "openai", 0.45),
        ("OpenAI/GPT-4o-mini", None, 0.45),
        ("gpt-4o-mini-2024-07-18", "openai", 0.45),
        ("anthropic/claude-3-5-haiku-latest", "anthropic", 0.80 + 2.00),
        ("claude-3-5-haiku-latest", "claude", 2.80),
        ("gemini/gemini-2.0-flash", "gemini", 0.10 + 0.20),
        ("google/gemini-2.0-flash", "gemini", 0.30),
        ("azure/gpt-4o", "azure", 2.50 + 5.00),
        ("gpt-4o", "azure_openai", 7.50),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "bedrock", 0.25 + 0.625),
        ("groq/llama-3.1-8b-instant", "openai", 0.05 + 0.04),
        ("openai/gpt-4o-mini", "openrouter", 0.45),
    ],
)
def test_a_known_llm_costs_what_its_provider_lists(name: str, provider: str | None, dollars: float) -> None:
    """Under each of the names that CrewAI has for it."""
    assert price(name, CALL, provider) == pytest.approx(dollars)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("ollama/llama3", None),
        ("ollama/deepseek-r1:7b", "ollama"),
        ("deepseek-r1:7b", "ollama"),
        ("deepseek-r1:7b", None),
        ("llama3", None),
        ("gpt-4o-of-our-own", "openai"),
        ("hosted_vllm/meta-llama/Llama-3.1-8B-Instruct", "hosted_vllm"),
        ("gpt-4o-mini", "openai_compatible"),
        ("custom_openai/gpt-4o-mini", None),
        ("azure/our-deployment", "azure"),
        ("", None),
    ],
)
def test_an_unknown_price_is_none_and_never_invented(name: str, provider: str | None) -> None:
    """Local LLMs, deployments with names of their own and misspelt names have no price, however often it is asked."""
    assert price(name, CALL, provider) is None
    assert price(name, CALL, provider) is None


def test_cached_prompt_tokens_cost_what_the_provider_lists_for_them() -> None:
    """They are part of the prompt tokens, and cheaper."""
    cached = Usage(prompt_tokens=1_000_000, cached_prompt_tokens=400_000, completion_tokens=500_000)
    assert price("gpt-4o-mini", cached) == pytest.approx(0.6 * 0.15 + 0.4 * 0.075 + 0.30)


def test_tokens_written_to_the_cache_cost_what_the_provider_lists_for_them() -> None:
    """CrewAI counts them as prompt tokens; they are dearer."""
    written = Usage(prompt_tokens=1_000_000, cache_creation_tokens=500_000)
    assert price("claude-3-5-haiku-latest", written) == pytest.approx(0.5 * 0.80 + 0.5 * 1.00)


def test_counts_that_contradict_each_other_raise_nothing() -> None:
    """More cached tokens than there were: what is charged is bounded by the prompt."""
    odd = Usage(prompt_tokens=1_000_000, cached_prompt_tokens=3_000_000, cache_creation_tokens=2_000_000)
    assert price("gpt-4o-mini", odd) == pytest.approx(0.075)


def test_without_token_counts_the_price_is_unknown() -> None:
    """A call that reported no usage was not free."""
    assert price("gpt-4o-mini", Usage(successful_requests=1)) is None


@pytest.mark.parametrize("name", ["offline", "offline/offline", "crew_nb/offline"])
def test_the_offline_llm_costs_nothing(name: str) -> None:
    """0.0, which is known, and not None."""
    assert price(name, CALL) == 0.0


def test_the_price_is_that_of_the_day_of_the_call() -> None:
    """An LLM whose price was changed has the old one for an old call."""
    before, after = dt.datetime(2025, 6, 1, tzinfo=dt.UTC), dt.datetime(2025, 7, 1, tzinfo=dt.UTC)
    assert price("o3", CALL, at=before) == pytest.approx(10 + 20)
    assert price("o3", CALL, at=after) == pytest.approx(2 + 4)


@pytest.mark.parametrize(
    ("named", "name", "provider"),
    [
        ("ollama/llama3", "llama3", "ollama"),
        ("llama3", "ollama/llama3", "ollama"),
        ("Ollama/Llama3", "ollama/llama3", None),
        ("gpt-4o-mini", "openai/gpt-4o-mini", "openai"),
    ],
)
def test_a_price_can_be_set_over_the_list(named: str, name: str, provider: str | None) -> None:
    """With or without the provider in its name, from the next call on."""
    price(name, CALL, provider)
    set_price(named, 3.0, 10.0, cached_input_per_million=1.0)
    cached = Usage(prompt_tokens=1_000_000, cached_prompt_tokens=250_000, completion_tokens=500_000)
    assert price(name, cached, provider) == pytest.approx(0.75 * 3 + 0.25 * 1 + 5)


def test_cached_tokens_cost_the_input_price_if_none_is_set() -> None:
    """A free LLM of one's own is free."""
    set_price("mine", 2.0, 0.0)
    assert price("mine", Usage(prompt_tokens=1_000_000, cached_prompt_tokens=1_000_000)) == pytest.approx(2.0)
    set_price("mine", 0.0, 0.0)
    assert price("mine", CALL) == 0.0


def test_a_negative_price_is_refused() -> None:
    """The message says in which unit to write it."""
    with pytest.raises(OptionError, match="dollars per million"):
        set_price("gpt-4o", -1.0, 2.0)


def test_the_price_list_is_imported_late() -> None:
    """Importing the module leaves the list alone; `load` brings it in."""
    code = (
        "import sys; from crew_nb._engine import prices; assert 'genai_prices' not in sys.modules\n"
        "prices.load(); assert 'genai_prices.data' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
