import marimo

app = marimo.App()


@app.cell(hide_code=True)
def _():
    import marimo as mo

    mo.md(
        """
        # Many crews at once, in marimo

        Teaches: how to launch and join where cells run by themselves. Open it with `marimo edit 17_in_marimo.py`,
        or as an app with `marimo run 17_in_marimo.py`.

        No key and no network is needed: `OfflineLLM` answers, and says so on the board.
        """
    )
    return (mo,)


@app.cell
def _():
    from crewai import Agent, Crew, Task

    import crew_nb as cnb

    def build_crew(topic: str) -> Crew:
        writer = Agent(
            role="Writer", goal="Say it briefly", backstory="Short.", llm=cnb.OfflineLLM(seed=1, latency=0.5)
        )
        task = Task(name="report", agent=writer, description=f"Report on {topic}.", expected_output="One paragraph")
        return Crew(agents=[writer], tasks=[task])

    cnb.environment()
    return build_crew, cnb


@app.cell
def _(build_crew, cnb):
    topics = ["Batteries", "Fusion", "Robotics", "Vaccines"]
    batch = cnb.kickoff_for_each(build_crew, [{"topic": topic} for topic in topics], name="in marimo")
    return batch, topics


@app.cell(hide_code=True)
def _(mo):
    mo.md(
        """
        The board above is live, and heard, while the next cell awaits. Run the launching cell again, or change what it
        reads, and what it had under way is stopped: marimo forgets a cell's variables before it runs it again.
        """
    )


@app.cell
async def _(batch, topics):
    results = await batch

    for topic, result in zip(topics, results, strict=True):
        print(f"--- {topic}\n{result.raw}\n")
    return (results,)


@app.cell
def _(results):
    results.to_frame()


if __name__ == "__main__":
    app.run()
