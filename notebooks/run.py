"""Run notebooks top to bottom, each in a real kernel, and print what their cells print."""

import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def show(cell: nbformat.NotebookNode, **_: Any) -> None:
    """Print a finished cell's outputs, each in its plain form."""
    for output in cell.get("outputs", ()):
        text = output.get("text") or output.get("data", {}).get("text/plain") or ""
        if text:
            print(text, end="" if text.endswith("\n") else "\n", flush=True)


def main(paths: list[str]) -> int:
    """Run the notebooks; 1 where a cell raised."""
    for path in map(Path, paths):
        book = nbformat.read(path, as_version=4)
        place = {"metadata": {"path": str(path.parent)}}
        try:
            NotebookClient(book, timeout=600, resources=place, on_cell_executed=show).execute()
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
