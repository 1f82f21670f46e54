"""A kernel for the tests of one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.kernel import lent
from tests.support.store_kernel import kernel as _kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.kernel import Kernel


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with _kernel(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture
def kernel(_shared: Kernel, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """A kernel as new but for its imports, with a record of its own."""
    yield from lent(_shared, tmp_path, request.node)
