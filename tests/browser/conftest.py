"""One JupyterLab and one Chromium for the tests of a module.

Not for the whole session: while Playwright's synchronous API is open, no other event loop can run in the process.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.lab import Lab, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is marked `browser`."""
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No kernel survives a test; a browser starts and ends processes of its own when it likes."""
    yield
    end = time.monotonic() + 60
    while kernels := [p for p in psutil.Process().children(recursive=True) if _is_kernel(p)]:
        assert time.monotonic() < end, f"left behind: {kernels}"
        time.sleep(0.05)


def _is_kernel(process: psutil.Process) -> bool:
    try:
        return "ipykernel_launcher" in process.cmdline()
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab."""
    with Lab(tmp_path_factory.mktemp("lab")) as found:
        yield found
