"""A second interpreter with the oldest ipykernel that is supported."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from tests.support.kernel import ROOT

if TYPE_CHECKING:
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
