"""What is in the wheel, and what `python -m crew_nb` does for somebody who has nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MARIMO = "17_in_marimo.py"
KINDS = ("*.ipynb", MARIMO)
NOTEBOOKS = {path.name: path.read_bytes() for kind in KINDS for path in (ROOT / "notebooks").glob(kind)}
FILES = NOTEBOOKS | {path.name: path.read_bytes() for path in (ROOT / "notebooks").glob("*.jsonl")}
"""With the recorded answers of those that have some."""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def ask(site: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m crew_nb` with the package of that folder, outside of the clone."""
    command = [sys.executable, "-m", "crew_nb", *words]
    return subprocess.run(command, cwd=cwd, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=False)


def test_the_wheel_has_what_runs_and_nothing_else(unpacked: Path) -> None:
    """Every module and static file, `py.typed` and the notebooks; no sources of the front end, no tests."""
    package = unpacked / "crew_nb"
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"crew_nb"}
    there = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    source = ROOT / "crew_nb"
    ours = [path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    right = {str(path.relative_to(source)) for path in ours if source / "_board" / "front" not in path.parents}
    assert there == right | {f"_notebooks/{name}" for name in FILES}
    assert {"py.typed", "_board/static/board.js", "_board/static/page.css", "__main__.py"} <= there


def test_it_says_what_is_here_and_how_to_go_on(unpacked: Path, tmp_path: Path) -> None:
    """The versions, the front ends that are installed, and the next command; CrewAI is not loaded for it."""
    said = ask(unpacked, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    for words in (
        f"CrewAI {version('crewai')}",
        f"ipykernel {version('ipykernel')}",
        f"JupyterLab {version('jupyterlab')}",
        "python -m crew_nb quickstart",
        f"{len(NOTEBOOKS)} short notebooks",
    ):
        assert words in said.stdout


def test_the_quickstart_copies_the_notebooks(unpacked: Path, tmp_path: Path) -> None:
    """Into the folder that is named, with the command that opens the first; what is there already stays."""
    folder = tmp_path / "my first lessons"
    said = ask(unpacked, "quickstart", str(folder), cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert f"jupyter lab '{folder / '01_quickstart.ipynb'}'" in said.stdout
    assert f"marimo edit '{folder / MARIMO}'" in said.stdout
    (folder / "01_quickstart.ipynb").write_text("worked in")
    (folder / "06_speed.ipynb").unlink()
    again = ask(unpacked, "quickstart", str(folder), cwd=tmp_path)
    assert again.returncode == 0
    assert f"{len(NOTEBOOKS) - 1} were there" in again.stdout
    assert (folder / "01_quickstart.ipynb").read_text() == "worked in"
    assert (folder / "06_speed.ipynb").read_bytes() == NOTEBOOKS["06_speed.ipynb"]


def test_the_quickstart_goes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    """Without a name too; in a clone the notebooks are those of the clone."""
    said = ask(ROOT, "quickstart", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert {path.name for path in (tmp_path / "crew_nb_notebooks").iterdir()} == set(FILES)


def test_a_folder_that_cannot_be_is_said(tmp_path: Path) -> None:
    """In one line, with status 1."""
    (tmp_path / "taken").write_text("a file")
    said = ask(ROOT, "quickstart", "taken", cwd=tmp_path)
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "cannot be copied into taken" in said.stderr
