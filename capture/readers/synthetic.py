"""Nothing filmed: a rig of cameras round a head model, rendered, with known truth."""

from __future__ import annotations

from pathlib import Path

from capture.formats.terms import Terms
from capture.readers import Reader
from capture.synthetic import SyntheticConfig, make_synthetic_capture


def _read(source: Path, out: Path, config: SyntheticConfig, terms: Terms | None = None) -> Path:
    """The terms are the program's own: nobody was filmed."""
    return make_synthetic_capture(out, config)


READER = Reader(SyntheticConfig, lambda source: False, _read, needs_source=False)
