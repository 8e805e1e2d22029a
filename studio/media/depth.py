"""Depth images: camera z in 16 bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from studio.errors import StudioError

# Of the largest value: metres = (value - 1) * 2 / 65534, 0 where nothing is (NeRSemble's rule).
DEPTH_METRES = 2.0


def encode_depth(
    depth: np.ndarray,  # [H, W] metres, 0 where nothing is
) -> np.ndarray:
    """Depth as 16-bit values [H, W], 0 where nothing is."""
    values = np.rint(depth / DEPTH_METRES * 65534).clip(0, 65534) + 1
    return np.where(depth > 0, values, 0).astype(np.uint16)


def read_depth(path: Path) -> np.ndarray:
    """Metres [H, W] float32 of a depth image, 0 where nothing is. Raises StudioError when it cannot be read."""
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if values is None or values.dtype != np.uint16:
        raise StudioError(f"cannot read the depth {path}", got="no 16-bit image", expected="a PNG of 16 bits")
    return np.maximum(values.astype(np.float32) - 1, 0) * (DEPTH_METRES / 65534)
