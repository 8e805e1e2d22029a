"""Curves named after ARKit's channels, as most programs write them: codes in, curves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reenact.curves.columns import Columns
from studio.codes import ARKIT52, Codes
from studio.errors import StudioError


def channels(columns: Columns) -> Codes:
    """Codes [T] whose expression is found by name; missing channels are 0."""
    expression = np.stack([columns.get(name) for name in ARKIT52.channels], axis=-1)
    weights = torch.from_numpy(expression).float().clamp(0, 1)
    return replace(Codes.neutral(batch=(len(columns),)), expression=weights)


def curves(codes: Codes, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The expression curves [T] of some channels, by name."""
    return {name: codes.expression[:, ARKIT52.index(name)].double().numpy() for name in names}


def require_channels(names: Sequence[str], path: Path, expected: str) -> str:
    """The channels that are missing, as text. Raises StudioError when all are."""
    lower = {name.lower() for name in names}
    missing = [name for name in ARKIT52.channels if name.lower() not in lower]
    if len(missing) == len(ARKIT52):
        raise StudioError(f"{path} holds no known channel", got=", ".join(list(names)[:4]) or "none", expected=expected)
    return ", ".join(missing)


def provenance(source: str, missing: str) -> dict[str, str]:
    """Of a track read from such curves."""
    found = {"expression": source}
    return found | ({"missing, taken as 0": missing} if missing else {})
