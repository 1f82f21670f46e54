"""Files that browsers have sent."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path


class Uploads:
    """Folders with what browsers have sent, for as long as a form or a batch may read it."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        weakref.finalize(self, _remove, self._folders)  # at the latest when the kernel ends

    def keep(self, name: str, data: bytes) -> Path:
        """Where the file is now: in a folder of its own, as two may have one name."""
        self._folders.append(tempfile.mkdtemp(prefix="crew_nb-"))
        path = Path(self._folders[-1]) / (Path(name).name or "file")
        path.write_bytes(data)
        return path


def _remove(folders: list[str]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
