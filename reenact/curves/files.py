"""Text files of curves: read as tables, written whole or not at all."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import StudioError


def read_rows(path: Path, expected: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file; rows that are shorter than the header (a recording that was cut off) are left out.

    Raises:
        StudioError: no such file, or nothing below the header.
    """
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected=expected, next="check the path")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        try:
            rows = [row for row in csv.reader(stream) if row]
        except csv.Error as error:
            raise StudioError(f"{path} is no CSV file", got=error, expected=expected) from error
    header = [name.strip() for name in rows[0]] if rows else []
    whole = [row for row in rows[1:] if len(row) >= len(header)]
    if not whole:
        raise StudioError(f"{path} holds no curves", got=f"{len(rows)} rows", expected=expected)
    return header, whole


def read_json(path: Path, expected: str) -> Any:
    """The content of a JSON file. Raises StudioError when it is missing or damaged."""
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected=expected, next="check the path")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise StudioError(f"{path} is no JSON file", got=error, expected=expected) from error


def number(value: object, name: str, path: Path) -> float:
    """A finite number. Raises StudioError naming the curve."""
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise StudioError(f"wrong value in {path}", got=f"{name} = {value!r}", expected="a number")
    return result


def numbers(rows: Sequence[Sequence[object]], names: Sequence[str], path: Path) -> np.ndarray:
    """[T, N] float64 of rows of values. Raises StudioError naming the first curve with a value that is no number."""
    table = [[number(value, name, path) for name, value in zip(names, row)] for row in rows]
    return np.array(table, np.float64).reshape(len(rows), len(names))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path that becomes ``path`` when the block ends well. Raises StudioError where ``path`` exists."""
    if path.exists():
        raise StudioError(f"{path} exists already", expected="a new name", next="choose another name or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
