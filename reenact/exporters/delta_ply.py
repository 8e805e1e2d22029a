"""A motion as one PLY file: Gaussians of the first frame, and what is added to them in each frame.

The layout that CAP4D writes and Brush plays: an element ``delta_vertex_<frame>`` for each frame, with differences of
place, size (logarithm) and rotation to the element ``vertex``; here in 16 bits between the ends that
``meta_delta_min_<frame>`` and ``meta_delta_max_<frame>`` give (0 and 65,534 are the ends). Colours and opacities stay
those of the first frame: the format has no place for their change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from reenact.exporters import Subject
from reenact.exporters.ply import Up
from studio.logs import progress
from studio.media.splats.ply import Element, raw_columns, rows_of, write_elements
from studio.splats import upright

MOVING = (*"xyz", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)))
STEPS = 65_534


@dataclass(frozen=True)
class DeltaPly:
    """Animated PLY.

    Args:
        up: as in ``reenact.exporters.ply``.
    """

    up: Up = "-y"
    endings: ClassVar[tuple[str, ...]] = (".delta.ply",)

    def write(self, subject: Subject, out: Path) -> None:
        """Write the track's frames. Raises StudioError without a track."""
        track = subject.motion("delta_ply")
        columns = [self._columns(subject, 0)]
        elements: list[Element] = [("vertex", rows_of(columns[0]))]
        base = np.stack([columns[0][name] for name in MOVING])
        for index in progress(range(len(track)), f"write {out.name}", total=len(track)):
            shown = self._columns(subject, index)
            elements += frame_elements(index, base, np.stack([shown[name] for name in MOVING]))
        write_elements(out, elements, [f"frames per second {track.fps:g}"])

    def _columns(self, subject: Subject, index: int) -> dict[str, np.ndarray]:
        track = subject.motion("delta_ply")
        return raw_columns(upright(subject.splats(track.codes[index]), self.up))


def frame_elements(index: int, base: np.ndarray, shown: np.ndarray) -> list[Element]:
    """The three elements of a frame; ``base`` and ``shown`` [10, N] are the columns ``MOVING``."""
    same_side = np.where((base[6:] * shown[6:]).sum(axis=0) < 0, -1.0, 1.0)  # q and -q are one rotation
    delta = np.concatenate((shown[:6], shown[6:] * same_side)) - base
    low, high = delta.min(axis=1), delta.max(axis=1)
    codes = np.rint((delta - low[:, None]) / np.maximum(high - low, 1e-20)[:, None] * STEPS).astype("<u2")
    parts = {"meta_delta_min": low[:, None], "meta_delta_max": high[:, None], "delta_vertex": codes}
    elements = []
    for name, values in parts.items():
        typed = values if values.dtype.kind == "u" else values.astype("<f4")
        elements.append((f"{name}_{index}", rows_of(dict(zip(MOVING, typed)))))
    return elements


EXPORTER = DeltaPly
