"""The file that mypy reads leaves no public name out."""

from __future__ import annotations

import ast
from pathlib import Path

import crew_nb as cnb


def test_every_public_name_is_used_with_its_types() -> None:
    """A name that is added to the package is added to `api.py`."""
    tree = ast.parse(Path(__file__).with_name("api.py").read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cnb"
    }
    assert used == set(cnb.__all__)
