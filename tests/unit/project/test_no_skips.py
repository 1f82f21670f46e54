"""The plugin that lets no test be skipped unseen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
TESTS = {
    "test_some.py": """
import pytest
def test_passes(): pass
@pytest.mark.skip(reason="no browser")
def test_skipped(): pass
def test_skips_itself(): pytest.skip("no server")
@pytest.mark.may_skip
def test_allowed(): pytest.skip("no key")
@pytest.mark.xfail(strict=True)
def test_known(): assert False
""",
    "test_module.py": "import pytest\npytest.importorskip('no_such_module')\n",
}


def test_a_skip_is_a_failure_unless_it_is_marked(tmp_path):
    """Skips by mark, by call and of a whole module fail with their reason; `may_skip` is let through."""
    for name, code in TESTS.items():
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.no_skips", "-q", "-p", "no:cacheprovider"]
    options = [
        "-o",
        "markers=may_skip",
        "--rootdir",
        str(tmp_path),
        "-c",
        "/dev/null",
        "--continue-on-collection-errors",
    ]
    done = subprocess.run(
        [*command, *options, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert "1 failed, 1 passed, 1 skipped, 1 xfailed, 2 errors" in done.stdout
    for reason in ("no browser", "no server", "no_such_module"):
        assert "not allowed here: " in done.stdout
        assert reason in done.stdout
