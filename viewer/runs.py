"""What a run folder tells: figures, its newest avatar, how far it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.folders import MANIFEST

_MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Figures:
    """What was noted at the checks of a run.

    Args:
        steps: of each check.
        loss: there.
        psnr: of the validation frames, dB; NaN where it was not measured.
    """

    steps: tuple[float, ...]
    loss: tuple[float, ...]
    psnr: tuple[float, ...]


def read_figures(run: Path) -> Figures:
    """The checks in metrics.jsonl; lines that are cut off or damaged are left out."""
    rows: list[dict[str, Any]] = []
    try:
        with (run / "metrics.jsonl").open(encoding="utf-8", errors="replace") as stream:
            for line in stream.read(_MOST_BYTES).splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if isinstance(row, dict) and _is_number(row.get("step")):
                    rows.append(row)
    except OSError:
        pass
    rows.sort(key=lambda row: float(row["step"]))

    def column(name: str) -> tuple[float, ...]:
        return tuple(float(row[name]) if _is_number(row.get(name)) else float("nan") for row in rows)

    return Figures(column("step"), column("loss"), column("validation_psnr"))


def newest_avatar(run: Path) -> Path | None:
    """The avatar folder of a finished run, or the newest that a running one has left for viewers."""
    finished = run / "avatar"
    if (finished / MANIFEST).is_file():
        return finished
    live = run / "live" / "avatar"
    return live if (live / MANIFEST).is_file() else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
