"""Whether a test has passed, for fixtures that tidy up after one that has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

_passed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember it; to be imported by a conftest."""
    report = yield
    item.stash[_passed] = report.passed
    return report


def passed(item: pytest.Item) -> bool:
    """Whether the last phase of the test that has run, did so without a failure."""
    return item.stash.get(_passed, False)
