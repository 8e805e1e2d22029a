"""Timing and reporting that every benchmark shares."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from studio.kernels.workers import worker_count
from studio.machine import processor


def best_milliseconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Shortest time of each function; they take turns, so that a busy moment of the machine hits all of them.

    Functions so slow that one repeat is enough are not warmed up either.
    """
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values() if repeats > 1 else ():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            _wait_for_device()
            began = time.perf_counter()
            function()
            _wait_for_device()
            best[name] = min(best[name], 1e3 * (time.perf_counter() - began))
    return best


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Kernels and torch on one thread each."""
    before, threads = os.environ.get("STUDIO_THREADS"), torch.get_num_threads()
    os.environ["STUDIO_THREADS"] = "1"
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if before is None:
            del os.environ["STUDIO_THREADS"]
        else:
            os.environ["STUDIO_THREADS"] = before


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def machine() -> dict[str, object]:
    """What the numbers were measured on."""
    return {
        "processor": processor(),
        "workers": worker_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


def print_table(rows: list[dict[str, object]]) -> None:
    """Rows of equal keys as aligned columns."""
    cells = [list(rows[0]), *([f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))


def write_json(path: Path, name: str, rows: list[dict[str, object]]) -> None:
    """The numbers with the machine that they belong to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "machine": machine(), "rows": rows}, indent=2) + "\n")
    print(f"wrote {path}")
