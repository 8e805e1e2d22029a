"""NeRSemble's camera_params.json, the same in all its releases but for where the intrinsics are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import checked_intrinsics, rigid_matrix
from capture.formats.files import count, read_json, reading
from studio.errors import StudioError

EXPECTED = "world_2_cam {serial: 4x4} and intrinsics (3x3, or one for each serial)"
FULL_SIZE = (2200, 3208)  # of the calibration images, where the file does not say
_OFF_CENTRE = 0.15  # of the image: a principal point that far away belongs to another image size


@dataclass(frozen=True)
class Rig:
    """C cameras.

    Args:
        serials: C names, in the order of the file.
        viewmats: [C, 4, 4] world to camera, OpenCV axes, metres.
        Ks: [C, 3, 3] in pixels of the size that was asked for.
    """

    serials: list[str]
    viewmats: np.ndarray
    Ks: np.ndarray

    def chosen(self, serials: Sequence[str]) -> Rig:
        """The cameras of these serials, in the order of the file. Raises StudioError for one without calibration."""
        missing = sorted(set(serials) - set(self.serials))
        if missing:
            raise StudioError("cameras without calibration", got=", ".join(missing), expected=", ".join(self.serials))
        picked = [index for index, serial in enumerate(self.serials) if serial in set(serials)]
        return Rig([self.serials[index] for index in picked], self.viewmats[picked], self.Ks[picked])


def read_rig(path: Path, size: tuple[int, int]) -> Rig:
    """The calibration for images of ``size`` (width, height).

    The size that K holds for is taken from ``width``/``height`` in the file, or else from where its principal point is:
    that of the images themselves, or the rig's full size.

    Raises:
        StudioError: missing or damaged, or K holds for images of another shape.
    """
    data = read_json(path, EXPECTED)
    with reading(path, EXPECTED):
        serials = [str(serial) for serial in data["world_2_cam"]]
        if not serials:
            raise ValueError("0 cameras")
        viewmats = [rigid_matrix(data["world_2_cam"][serial], f"world_2_cam of {serial}") for serial in serials]
        shared = not isinstance(data["intrinsics"], dict)
        stored = [data["intrinsics"] if shared else data["intrinsics"][serial] for serial in serials]
        Ks = np.stack([checked_intrinsics(K, f"intrinsics of {name}") for K, name in zip(stored, serials, strict=True)])
        calibrated = _calibrated_size(data, Ks, size, path)
    scale = np.array([size[0] / calibrated[0], size[1] / calibrated[1], 1.0])
    return Rig(serials, np.stack(viewmats), Ks * scale[:, None])


def _calibrated_size(data: dict[str, Any], Ks: np.ndarray, size: tuple[int, int], path: Path) -> tuple[int, int]:
    if "width" in data and "height" in data:
        candidates = [(count(data["width"], f"width in {path}"), count(data["height"], f"height in {path}"))]
    else:
        candidates = [size, FULL_SIZE]
    centre = np.median(Ks[:, :2, 2], axis=0)
    for candidate in candidates:
        off = np.abs(centre / candidate - 0.5).max()
        same_shape = abs(candidate[0] * size[1] / (candidate[1] * size[0]) - 1) < 0.01
        if same_shape and (off < _OFF_CENTRE or len(candidates) == 1):
            return candidate
    raise StudioError(
        f"the calibration {path} does not fit images of {size[0]}x{size[1]}",
        got=f"principal point {centre[0]:.0f}, {centre[1]:.0f}",
        expected=" or ".join(f"K of {width}x{height}" for width, height in candidates),
        next='add "width" and "height" of the images that were calibrated to the file',
    )
