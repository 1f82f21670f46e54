"""`python -m crew_nb`: what is here and how to go on; `python -m crew_nb quickstart` copies the notebooks."""

from __future__ import annotations

import argparse
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from crew_nb._cells.about import environment

FIRST = "01_quickstart.ipynb"
MARIMO = "17_in_marimo.py"
FRONT_ENDS = {"jupyterlab": ("JupyterLab", "jupyter lab"), "notebook": ("Notebook", "jupyter notebook")}
"""By their distributions: what is installed beside the kernel, and what opens a notebook in it."""
NO_FRONT_END = "VS Code, with this Python as the kernel, or after `pip install jupyterlab`: jupyter lab"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks for; the status to end with."""
    parser = argparse.ArgumentParser(prog="python -m crew_nb", description="What is here, and how to go on.")
    asks = parser.add_subparsers(dest="ask")
    quickstart = asks.add_parser("quickstart", help="copy the notebooks into a folder, and say what opens them")
    quickstart.add_argument("folder", nargs="?", type=Path, default=Path("crew_nb_notebooks"))
    asked = parser.parse_args(arguments)
    if asked.ask is None:
        print(_here())
        return 0
    try:
        print(_copied(asked.folder))
    except OSError as error:
        print(f"The notebooks cannot be copied into {asked.folder}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _here() -> str:
    known = dict(environment().rows())  # the rest is another in each notebook
    rows = {
        "versions": known["versions"],
        "kernel": f"ipykernel {version('ipykernel')}",
        "front ends": ", ".join(f"{FRONT_ENDS[n][0]} {v}" for n, v in _front_ends().items()) or NO_FRONT_END,
        "engine's path": known["engine's path"],
        "record": known["record"],
        "to begin": "python -m crew_nb quickstart",
        "": f"copies {len(_notebooks())} short notebooks that need no key, and says what opens them",
    }
    width = max(map(len, rows))
    lines = (f"{label:<{width}}  {value}" for label, value in rows.items())
    return "\n".join(["crew_nb runs many CrewAI crews at once from a notebook.", "", *lines])


def _copied(folder: Path) -> str:
    """Copy the notebooks; what is there already stays as it is, as somebody may have worked in it."""
    folder.mkdir(parents=True, exist_ok=True)
    there = 0
    for notebook in _notebooks():
        for file in (notebook, notebook.with_suffix(".jsonl")):  # its recorded answers, where it has some
            if not file.exists():
                continue
            try:
                with (folder / file.name).open("xb") as copy:
                    copy.write(file.read_bytes())
            except FileExistsError:
                there += file is notebook
    new = len(_notebooks()) - there
    said = [f"{new} notebooks are in {folder} now" + (f", {there} were there and stay as they are" if there else "")]
    first = shlex.quote(str(folder / FIRST))
    commands = [f"{FRONT_ENDS[name][1]} {first}" for name in _front_ends()] or [f"{NO_FRONT_END} {first}"]
    lines = ["To open the first:", *(f"  {command}" for command in commands)]
    lines += [
        "To open the one for marimo, after `pip install marimo`:",
        f"  marimo edit {shlex.quote(str(folder / MARIMO))}",
    ]
    return "\n".join([*said, *lines])


def _notebooks() -> list[Path]:
    """Those that came with the wheel, in a clone those of the clone."""
    package = Path(__file__).parent
    shipped = package / "_notebooks"
    folder = shipped if shipped.is_dir() else package.with_name("notebooks")
    return [*sorted(folder.glob("*.ipynb")), folder / MARIMO]


def _front_ends() -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for name in FRONT_ENDS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
