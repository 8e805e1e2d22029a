"""Readers that are node programs: found where STUDIO_NODE_MODULES points, else their tests are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def node_package(name: str) -> Path:
    """The folder of an installed npm package. Skips the test where node or the package is missing."""
    folder = Path(os.environ.get("STUDIO_NODE_MODULES", "node_modules")) / name
    if shutil.which("node") is None or not folder.is_dir():
        pytest.skip(f"no node, or no package {name} (npm install it and set STUDIO_NODE_MODULES)")
    return folder


def run_node(*arguments: str | Path) -> str:
    """What a node program prints."""
    return subprocess.run(
        ["node", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=120
    ).stdout
