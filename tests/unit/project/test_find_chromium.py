"""`.ci/chromium`: `make test` finds a browser, or says within seconds what to type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.lab import FIND_CHROMIUM

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bin_(tmp_path: Path) -> Path:
    """All that is on the path of a machine without a browser."""
    made = tmp_path / "bin"
    made.mkdir()
    for name in ("bash", "uname", "id"):
        (made / name).symlink_to(shutil.which(name) or "")
    return made


def program(path: Path, status: int = 0) -> Path:
    """Something that can be run, and ends with the status."""
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return path


def find(bin_: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "CHROMIUM"}
    clean |= {"PATH": str(bin_), "HOME": str(bin_.parent), **env}
    return subprocess.run([FIND_CHROMIUM], env=clean, capture_output=True, text=True, check=False)


def test_the_first_that_runs_is_taken(bin_: Path) -> None:
    """By the names that Linux distributions give it; a stub that only says where to get one is passed over."""
    program(bin_ / "chromium-browser", status=1)
    chrome = program(bin_ / "google-chrome")
    assert find(bin_).stdout == f"{chrome}\n"
    chromium = program(bin_ / "chromium")
    assert find(bin_).stdout == f"{chromium}\n"


def test_what_playwright_has_brought_is_found(bin_: Path) -> None:
    """For who may install nothing on the system."""
    place = bin_.parent / ".cache" / "ms-playwright" / "chromium-1234" / "chrome-linux"
    place.mkdir(parents=True)
    chrome = program(place / "chrome")
    assert find(bin_).stdout == f"{chrome}\n"


def test_the_one_that_is_named_is_taken(bin_: Path, tmp_path: Path) -> None:
    """By `CHROMIUM=`, and no other one in its place where it cannot be run."""
    program(bin_ / "chromium")
    mine = program(tmp_path / "mine")
    assert find(bin_, CHROMIUM=str(mine)).stdout == f"{mine}\n"
    mine.unlink()
    found = find(bin_, CHROMIUM=str(mine))
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == f"CHROMIUM={mine} cannot be run\n"


@pytest.mark.may_skip
@pytest.mark.skipif(sys.platform == "darwin", reason="what is in /Applications is found whatever the path is")
def test_without_one_the_command_to_type_is_said(bin_: Path) -> None:
    """Nothing is installed by a test that looks for one."""
    found = find(bin_)
    assert (found.returncode, found.stdout) == (1, "")
    assert "install" in found.stderr.splitlines()[1]
    assert "make test CHROMIUM=" in found.stderr
