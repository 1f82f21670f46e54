"""Kernels of both generations: this ipykernel, and the oldest that is supported in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from tests.support.kernel import ROOT, Kernel, lent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def ipykernel_6(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv with crew_nb and ipykernel 6.29.5."""
    python = tmp_path_factory.mktemp("ipykernel_6") / "venv" / "bin" / "python"
    uv = [find_uv_bin(), "--quiet"]
    subprocess.run([*uv, "venv", "--python", sys.executable, python.parents[1]], check=True)
    wanted = ["--editable", ROOT, "ipykernel==6.29.5"]
    subprocess.run([*uv, "pip", "install", "--python", python, *wanted], check=True)
    return python


@pytest.fixture(scope="module", params=["this ipykernel", "ipykernel 6.29"])
def python(request: pytest.FixtureRequest) -> str | Path:
    """The interpreter of each generation."""
    if request.param == "this ipykernel":
        return sys.executable
    found: Path = request.getfixturevalue("ipykernel_6")
    return found


@pytest.fixture(scope="module")
def _kernel(python: str | Path) -> Iterator[Kernel]:
    with Kernel(python) as started:
        yield started


@pytest.fixture
def kernel(_kernel: Kernel, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A live kernel of each generation, as new but for its imports, with a record of its own."""
    yield from lent(_kernel, tmp_path, request.node)
