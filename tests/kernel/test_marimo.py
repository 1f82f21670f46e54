"""A notebook of ours in marimo's own kernel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.server import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOK = ROOT / "notebooks" / "17_in_marimo.py"


def run(folder: Path, *command: str) -> str:
    """What a program printed, in a folder of its own that has the notebook."""
    shutil.copy(NOTEBOOK, folder)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_exported_notebook_has_its_board(tmp_path: Path) -> None:
    """`marimo export html` runs it once: the launching cell waits, and shows the final board without a widget."""
    run(tmp_path, "-m", "marimo", "-y", "export", "html", NOTEBOOK.name, "-o", "book.html")
    page = (tmp_path / "book.html").read_text()
    assert "marimo, nobody watches (headless)" in page
    assert "4 done" in page
    assert '"text/html": {}' not in page, "what has HTML is to give plain strings"
    assert "marimo-anywidget" not in page
    assert re.findall(r"--- (\w+)", page) == ["Batteries", "Fusion", "Robotics", "Vaccines"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_is_a_script_too(tmp_path: Path) -> None:
    """`python notebook.py` joins the same runs, without a kernel."""
    printed = run(tmp_path, NOTEBOOK.name)
    assert re.findall(r"^--- (\w+)$", printed, flags=re.MULTILINE) == ["Batteries", "Fusion", "Robotics", "Vaccines"]
