"""Every public name with the types that its user relies on. Never run: mypy reads it (`make lint`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

from crewai import Crew, CrewOutput
from crewai.types.usage_metrics import UsageMetrics

import crew_nb as cnb

if TYPE_CHECKING:
    import pandas as pd
    from crewai.llms.base_llm import BaseLLM
    from IPython.core.interactiveshell import InteractiveShell


def build(topic: str) -> Crew:
    raise NotImplementedError


def len_of(output: CrewOutput, inputs: Mapping[str, Any]) -> int:
    return len(output.raw)


async def verbs(crew: Crew) -> None:
    run = cnb.kickoff(crew, {"topic": "Tides"}, timeout=60.0, max_retries=0)
    assert_type(run, cnb.Run)
    batch = cnb.gather(crew, build, (build, {"topic": "Winds"}), max_concurrency="auto", show=False)
    assert_type(batch, cnb.Batch)
    batch = cnb.kickoff_for_each(
        build,
        inputs=[{"topic": "Rains"}],
        max_concurrency=8,
        idle_timeout=10,
        max_rpm=60,
        max_tpm=10_000,
        fail_fast=False,
        max_errors=0.1,
        max_total_tokens=1_000,
        max_cost=0.5,
        stream=True,
        name="sweep",
        resume=True,
        keep_replay=True,
        answers="lesson.jsonl",
        answers_missing="ask",
        answers_speed=0,
        answers_tools=True,
    )
    assert_type(cnb.answers("lesson.jsonl").prune(), int)
    assert callable(cnb.judge("Is it good?", "openai/gpt-4o", (1, 5), name="quality"))
    found = await cnb.estimate(build, [{"topic": "Rains"}], pilot=2, over={"llm": ["a", "b"]}, max_rpm=60)
    assert_type(found, cnb.Estimate)
    assert_type(found.wait().seconds, float | None)
    assert_type(cnb.sweep(build, [{"topic": "Rains"}], {"llm": ["a", "b"]}, repeats=3, scores=[len_of]), cnb.Batch)
    results = await batch
    assert_type(await results.score(len_of), cnb.Results)
    assert_type(results.versus("llm", score="len_of", baseline="a").to_frame(), "pd.DataFrame")
    assert_type(results.summary().rows, list[dict[str, Any]])
    assert_type(results.table(), list[dict[str, Any]])
    results.rate("ann", scale=bool, pairs="llm").say("left", note="shorter")
    assert_type(results.agreement("ann", "judge").rows, list[dict[str, Any]])
    results.plot()
    assert_type(await batch, cnb.Results)
    assert_type(batch.wait(timeout=1), cnb.Results)
    assert_type(await run, Any)  # a CrewOutput, a LiteAgentOutput, or a flow's value
    assert_type(run.wait(), Any)


async def handles(batch: cnb.Batch) -> None:
    async for ended in batch.as_completed():
        assert_type(ended, cnb.Run)
    assert_type(batch.runs, tuple[cnb.Run, ...])
    assert_type(batch.retry(), cnb.Batch)
    assert_type(batch.results, cnb.Results)
    batch.cancel()
    batch.pause()
    batch.resume()
    batch.limit(4)
    run = batch[0]
    assert_type(run.inputs, Mapping[str, Any] | None)
    assert_type(run.usage, UsageMetrics)
    assert_type(run.error, BaseException | None)
    assert_type(run.started, float | None)
    assert_type(run.tasks[0].spec.name, str)
    assert_type(run.status == "done", bool)
    assert_type(run.retry(), cnb.Run)
    run.cancel()


def results(found: cnb.Results) -> None:
    assert_type(found[0].raw, str)
    assert_type(found[1:], cnb.Results)
    assert_type(found.outputs, list[CrewOutput])
    assert_type(found.errors, list[cnb.RunFailedError])
    assert_type(found.usage, UsageMetrics)
    assert_type(found.cost, float | None)
    frame: pd.DataFrame = found.raise_for_errors().to_frame("tasks")
    print(frame, found.compare(0, 1))
    assert_type(found.save("a.jsonl"), Path)
    assert_type(found.to_html(), str)


def kept() -> None:
    assert_type(cnb.set_record(None), str)
    for info in cnb.runs():
        assert_type(info.done, int)
        assert_type(cnb.load(info), cnb.Results)
    cnb.set_price("ollama/llama3", input_per_million=0, output_per_million=0)
    cnb.set_traces("http://localhost:4318/v1/traces", content=True)


def around(crew: Crew) -> None:
    findings = cnb.check(crew, build, (build, {"topic": "Tides"}))
    assert_type(findings, cnb.Findings)
    assert_type(findings[0], cnb.Finding)
    assert_type(findings[0].instead, str)
    assert_type(cnb.environment().joins, str)
    cnb.allow_nested_loops()
    assert_type(cnb.benchmark(build, n=2, inputs={"topic": "Tides"}).speedup, float)
    form = cnb.launcher(build, inputs={"topic": ["Tides", "Winds"]}, max_concurrency=2)
    assert_type(form.batch, cnb.Batch)
    assert_type(form.inputs, list[dict[str, Any]])


def offline() -> BaseLLM:
    return cnb.OfflineLLM(
        {"Mars": "It is red."}, seed=1, latency=(0.1, 0.2), tokens_per_second=None, errors={"Venus": [429, "timeout"]}
    )


def errors(run: cnb.Run) -> str:
    try:
        return str(run.output.raw)
    except (cnb.RunCancelledError, cnb.RunTimeoutError) as error:
        assert_type(error.index, int)
        return error.reason
    except cnb.RunFailedError as error:
        return error.label
    except (cnb.BlueprintError, cnb.UnfaithfulCopyError, cnb.OptionError):
        return "nothing was started"
    except (cnb.BudgetExceededError, cnb.NobodyToAskError, cnb.NotFinishedError, cnb.NotRecordedError):
        return "no output"
    except (cnb.NestedLoopsError, cnb.RecordError):
        return "not here"
    except cnb.CrewNbError as error:
        return str(error)


def extension(shell: InteractiveShell) -> None:
    cnb.load_ipython_extension(shell)
    cnb.unload_ipython_extension(shell)
