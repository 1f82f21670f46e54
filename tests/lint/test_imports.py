"""`make lint` refuses an import that goes up, sideways, in a ring, or to another room's package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLANTED = {
    "upward": ("_record/store.py", "import crew_nb._engine.driver\n"),
    "upward, for a type": ("_state/usage.py", "if __name__ == 'x':\n    from crew_nb._handles.batch import Batch\n"),
    "upward, late": ("_crewai/outputs.py", "def late():\n    from crew_nb._cells import verbs\n"),
    "sideways": ("_board/view.py", "from crew_nb._record import codec\n"),
    "sideways, between doors": ("serve/desk.py", "from crew_nb._cells import verbs\n"),
    "in a ring": ("_state/usage.py", "from crew_nb._state import state\n"),
    "to crewai": ("_engine/limits.py", "def late():\n    import crewai\n"),
    "to dask": ("_engine/limits.py", "import distributed\n"),
    "to fastapi": ("_cells/verbs.py", "import fastapi\n"),
    "to widgets": ("_handles/results.py", "import anywidget\n"),
    "a package on no floor": ("_elsewhere/__init__.py", "\n"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the contracts."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "crew_nb", copy / "crew_nb", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=tree, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=False)


def test_the_tree_as_it_is_keeps_its_contracts(tree: Path) -> None:
    """Nothing is refused."""
    assert lint(tree).returncode == 0


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_import_is_refused(tree: Path, kind: str) -> None:
    """Whichever way it goes wrong."""
    place, line = PLANTED[kind]
    file = tree / "crew_nb" / place
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text((before or "") + line)
    try:
        refused = lint(tree)
        assert refused.returncode != 0
        assert "BROKEN" in refused.stdout or "_elsewhere" in refused.stdout
    finally:
        if before is None:
            shutil.rmtree(file.parent)
        else:
            file.write_text(before)
