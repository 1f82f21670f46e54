"""Which loop this is, in a script, in threads, in an IPython terminal, and under patches."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest

from crew_nb._state import loop as _loop

ROOT = Path(__file__).parents[3]


def script(code: str, *before: str) -> str:
    """Stdout of the code in a process of its own: a patch of asyncio lasts as long as its process."""
    command = [sys.executable, *(before or ["-c"]), code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_script_is_joined_with_wait():
    """Without a loop, `wait()` is the way; nothing is imported to find that out."""
    place = _loop.where()
    assert (place.kind, place.front_end, place.headless) == ("script", "script", False)
    assert (place.loop_running, place.loop_class, place.nested, place.cell_id) == (False, "", "", "")
    assert "batch.wait()" in _loop.environment().joins


async def test_inside_an_async_def_it_is_joined_with_await():
    """The running loop is named, and `wait()` is said to block it."""
    place = _loop.where()
    assert place.loop_running
    assert place.loop_class.startswith("asyncio.")
    assert _loop.environment().joins.startswith("`results = await batch`")


async def test_another_thread_has_no_loop():
    """The answer is the calling thread's own."""
    found: list[_loop.Place] = []
    thread = threading.Thread(target=lambda: found.append(_loop.where()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert not found[0].loop_running


def test_ipython_terminal():
    """An IPython terminal is told from a kernel; between its cells no loop runs."""
    code = "from crew_nb._state.loop import where; p = where(); print(p.kind, p.front_end, p.headless, p.loop_running)"
    assert "terminal terminal False False" in script(code, "-m", "IPython", "--no-banner", "--colors=nocolor", "-c")


def test_detection_imports_neither_ipython_nor_crewai():
    """`where()` and `environment()` are cheap: they look at what is loaded."""
    out = script(
        "import sys; from crew_nb._state import loop; loop.where(); str(loop.environment());"
        "print([m for m in ('IPython', 'crewai', 'ipykernel', 'nest_asyncio2') if m in sys.modules])"
    )
    assert out.strip() == "[]"


@pytest.mark.parametrize(
    ("cell_id", "env", "front_end"),
    [
        ("vscode-notebook-cell:/home/ada/a.ipynb#W0sZmlsZQ%3D%3D", {}, "vscode"),
        ("", {"VSCODE_PID": "1"}, "vscode"),
        ("6b1c7f3e", {"VSCODE_PID": "1", "JPY_SESSION_NAME": "a.ipynb"}, "jupyterlab"),
        ("6b1c7f3e", {}, "unknown"),
    ],
)
def test_front_ends_by_what_they_send(cell_id, env, front_end, monkeypatch):
    """VS Code by its cell ids, JupyterLab by the session's name, also where VS Code's terminal started it."""
    for name in ("VSCODE_PID", "JPY_SESSION_NAME", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    _loop._jupyter_server.cache_clear()
    assert _loop._front_end("kernel", headless=False, cell_id=cell_id) == front_end
    _loop._jupyter_server.cache_clear()


def test_environment_reads_as_text_and_as_a_safe_table():
    """Every version is there; what comes from elsewhere is escaped."""
    found = _loop.environment({"runs are kept in": "/tmp/<b>&"})
    text, table = str(found), found._repr_html_()
    for package in ("crewai", "ipython", "crew-nb"):
        assert version(package) in text
    assert "/tmp/<b>&" in text
    assert "/tmp/&lt;b&gt;&amp;" in table
    assert "<b>" not in table


NESTED = """
import asyncio
from crew_nb._state import loop as _loop
async def word(text):
    await asyncio.sleep(0.01)
    return text
"""


def test_nested_runs_work_once_allowed_and_the_cost_is_said_once():
    """`asyncio.run` inside a running loop, twice allowed, said once."""
    out = script(
        NESTED
        + """
async def main():
    _loop.allow_nested_loops()
    _loop.allow_nested_loops()
    print(asyncio.run(word("inner")), _loop.where().nested)
asyncio.run(main())
"""
    )
    assert out.count("Nested loops are on") == 1
    assert f"inner nest_asyncio2 {version('nest-asyncio2')}" in out
    assert _loop._nested() == ""


def test_the_pass_that_was_under_way_survives_the_patch():
    """A nested run takes callbacks that the loop's own pass had counted; the loop goes on (ipykernel#1250)."""
    code = """
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
seen = []
def cell():
    {patch}
    seen.append(asyncio.run(word("nested")))
    loop.call_later(0, loop.stop)  # after the pass that is under way
for callback in (cell, lambda: seen.append("b"), lambda: seen.append("c")):
    loop.call_soon(callback)
loop.run_forever()
print(seen)
"""
    out = script(NESTED + code.format(patch="_loop.allow_nested_loops()"))
    assert "['b', 'c', 'nested']" in out
    bare = subprocess.run(
        [sys.executable, "-c", NESTED + code.format(patch="import nest_asyncio2; nest_asyncio2.apply()")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert "pop from an empty deque" in bare.stderr, "the guard in allow_nested_loops() is no longer needed"


def test_another_threads_callbacks_are_kept_when_the_patch_comes():
    """Callbacks that other threads add while the patch is made all run."""
    out = script(
        NESTED
        + """
import threading
count = 0
def add():
    global count
    count += 1
async def main():
    loop = asyncio.get_running_loop()
    def flood():
        for _ in range(20_000):
            loop.call_soon_threadsafe(add)
    thread = threading.Thread(target=flood)
    thread.start()
    while count < 100:
        await asyncio.sleep(0)
    _loop.allow_nested_loops()
    asyncio.run(word("x"))
    await asyncio.to_thread(thread.join)
    await asyncio.sleep(0)
    print(count)
asyncio.run(main())
"""
    )
    assert out.split()[-1] == "20000"


def test_uvloop_is_refused_with_the_line_to_write():
    """A loop that cannot be nested is left alone."""
    out = script(
        NESTED
        + """
import uvloop
async def main():
    try:
        _loop.allow_nested_loops()
    except _loop.NestedLoopsError as error:
        print(error, "|", _loop.where().nested, "|")
uvloop.run(main())
"""
    )
    assert "uvloop" in out
    assert "`await main()`" in out
    assert out.endswith("|  |\n")


def test_versions_compare_by_number():
    """What is not installed is older than everything."""
    assert (
        _loop._numbers("1.7.10") > _loop.SAFE_NEST_ASYNCIO2 > _loop._numbers("1.7.2") > _loop._numbers("not installed")
    )
