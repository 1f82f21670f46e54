"""The kernel harness on small cells: what later tests rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.kernel import CellFailed, Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    with Kernel() as kernel:
        yield kernel


@pytest.fixture
def kernel(shared: Kernel) -> Kernel:
    shared.run("%reset -f")
    return shared


def test_outputs_are_kept_with_their_cell(kernel: Kernel) -> None:
    """Each cell has its own stdout, stderr, displays and result."""
    first = kernel.run(
        "import sys\nprint('out')\nprint('err', file=sys.stderr)\ndisplay({'text/plain': 'd'}, raw=True)\n40 + 2"
    )
    second = kernel.run("print('next')")
    assert (first.stdout, first.stderr, first.result) == ("out\n", "err\n", "42")
    assert [d["text/plain"] for d in first.displays] == ["d", "42"]
    assert second.stdout == "next\n"


def test_late_output_keeps_its_parent(kernel: Kernel) -> None:
    """What an asyncio task prints after its cell has ended is kept with that cell, and stamped by the kernel."""
    first = kernel.run(
        "import asyncio\ngate = asyncio.Event()\nasync def later():\n    await gate.wait()\n    print('late')\n"
        "t = asyncio.create_task(later())"
    )
    kernel.run("gate.set()\nawait t")
    late = next(m for m in first.messages if m.type == "stream")
    assert late.content["text"] == "late\n"
    assert late.at > next(m.at for m in first.messages if m.type == "execute_reply")


def test_cells_queue_while_one_runs(kernel: Kernel) -> None:
    """`execute` does not wait; the kernel runs what was sent in order."""
    first = kernel.execute("import threading; gate = threading.Event(); gate.wait(0.3); print('a')")
    second = kernel.execute("print('b')")
    assert not first.done
    kernel.join(second)
    assert first.done
    assert first.messages[-1].at <= second.messages[0].at


def test_an_error_is_raised_unless_it_is_wanted(kernel: Kernel) -> None:
    """`run` raises with the cell's traceback; `check=False` hands the error over."""
    with pytest.raises(CellFailed, match="ZeroDivisionError"):
        kernel.run("1 / 0")
    cell = kernel.run("1 / 0", check=False)
    assert (cell.status, cell.error) == ("error", "ZeroDivisionError: division by zero")


def test_timeouts_are_bounded(kernel: Kernel) -> None:
    """A cell that hangs ends the wait, not the test run."""
    cell = kernel.execute("import time\nprint('on', flush=True)\nwhile True: time.sleep(0.05)")
    kernel.wait(lambda: cell.stdout)
    with pytest.raises(TimeoutError, match="not so within"):
        kernel.join(cell, timeout=0.2)
    kernel.interrupt()
    kernel.join(cell, check=False)
    assert cell.error == "KeyboardInterrupt: "


def test_input_is_answered(kernel: Kernel) -> None:
    """A live front end answers `input()`."""
    cell = kernel.execute("print(input('name? ') * 2)")
    assert kernel.answer("bo") == "name? "
    assert kernel.join(cell).stdout.endswith("bobo\n")


def test_a_headless_front_end_refuses_input(kernel: Kernel) -> None:
    """Without stdin, as under nbclient, `input()` raises in the cell."""
    cell = kernel.join(kernel.execute("input()", allow_stdin=False), check=False)
    assert cell.error.startswith("StdinNotImplementedError")


def test_comms_go_both_ways(kernel: Kernel) -> None:
    """A widget's state is read here, and set here as its view in a front end would."""
    kernel.run("import ipywidgets\nslider = ipywidgets.IntSlider(value=3)\ndisplay(slider)")
    model = kernel.comm(lambda c: c.state.get("_model_name") == "IntSliderModel")
    kernel.send_comm(model, {"method": "update", "state": {"value": 7}})
    assert kernel.run("slider.value").result == "7"
    kernel.run("slider.value = 9\nslider.send({'hello': 1})")
    assert model.state["value"] == 9
    assert model.custom == [{"hello": 1}]
    kernel.run("slider.close()")
    assert model.closed


def test_a_killed_kernel_is_noticed_and_replaced() -> None:
    """After SIGKILL a wait ends with an error, and a restart gives a new, empty process."""
    with Kernel() as kernel:
        kernel.run("x = 1")
        pid = kernel.pid
        cell = kernel.execute("import time; time.sleep(60)")
        kernel.kill()
        with pytest.raises(ConnectionError, match="has ended"):
            kernel.join(cell)
        kernel.restart()
        assert kernel.pid != pid
        assert kernel.run("'x' in globals()").result == "False"


def test_a_restarted_kernel_is_asked_to_end_first() -> None:
    """Restart and shutdown let the process run what it does at exit."""
    with Kernel() as kernel:
        kernel.run("import atexit, sys; atexit.register(print, 'bye', file=sys.__stderr__, flush=True)")
        kernel.restart()
        assert "bye" in kernel.log
        kernel.shutdown()
        assert not kernel.alive
