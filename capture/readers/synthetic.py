"""Nothing filmed: a rig of cameras round a head model, rendered, with known truth."""

from __future__ import annotations

from pathlib import Path

from capture.readers import Reader
from capture.synthetic import SyntheticConfig, make_synthetic_capture


def _read(source: Path, out: Path, config: SyntheticConfig) -> Path:
    return make_synthetic_capture(out, config)


READER = Reader(SyntheticConfig, lambda source: False, _read, needs_source=False)
