"""The launcher on the wire of real kernels of both generations, and as a notebook that nobody watches keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from tests.support.kernel import Comm, Kernel
    from tests.support.server import Server

SETUP = """
from crewai import LLM
import crew_nb as cnb
from tests.support import crews
llm = LLM(model="openai/gpt-4o-mini", base_url="{url}", api_key="test-key")
def build_small_crew(topic):
    print(f"building for {{topic}}\\n", end="")  # one write, as two threads print at once
    return crews.one(llm)
"""


def _is_form(comm: Comm) -> bool:
    return "controls" in comm.messages[0].content["data"].get("state", {})


def test_run_while_other_cells_run(server: Server, kernel: Kernel) -> None:
    """Run comes back at once, its prints belong to the launcher's cell, other cells run on, and one joins."""
    kernel.run(SETUP.format(url=server.base_url))
    launching = kernel.run("form = cnb.launcher(build_small_crew)")
    (bundle,) = launching.displays
    assert {"text/html", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    form = kernel.comm(_is_form)
    server.configure(hold=True)
    rows = [{"topic": "A"}, {"topic": "B"}]
    kernel.send_comm(form, {"method": "custom", "content": {"t": "run", "rows": rows, "options": {}}})
    server.wait_for(lambda stats: stats.in_flight == 2)
    assert kernel.run("6 * 7").result == "42"
    joining = kernel.execute("results = await form.batch; print([r.inputs for r in results])")
    kernel.listen(0.3)
    assert not joining.done
    server.configure(hold=False)
    server.release()
    assert kernel.join(joining).stdout == "[{'topic': 'A'}, {'topic': 'B'}]\n"
    assert sorted(launching.stdout.splitlines()) == ["building for A", "building for B"]


def test_a_notebook_that_nobody_watches_keeps_no_empty_widget(server: Server) -> None:
    """Under nbclient the form is a table of its inputs, with a line that says how to have it."""
    cells = [SETUP.format(url=server.base_url), "form = cnb.launcher(build_small_crew, [{'topic': 'A'}])", "form"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    for cell in notebook.cells[1:]:
        (output,) = cell.outputs
        assert set(output.data) == {"text/html", "text/plain"}
        assert output.data["text/plain"] == "Launcher of small crew: 1 input. Run this cell to have the form."
    assert server.stats().requests == []
