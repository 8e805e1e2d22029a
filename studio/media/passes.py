"""Images for compositing: pictures as EXR, and depth and alpha as images of their own.

EXR holds what compositors expect: linear light (sRGB's primaries), floats, alpha associated (premultiplied).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from studio.media.depth import encode_depth
from studio.media.images import to_uint8, write_image
from studio.media.whole_files import whole_file

Pass = Literal["depth", "alpha"]


def linear(
    encoded: np.ndarray,  # [...] sRGB-encoded, 0..1
) -> np.ndarray:
    """Linear light of sRGB-encoded values (IEC 61966-2-1)."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4)


def write_exr(
    path: Path,
    image: np.ndarray,  # [H, W, 4] sRGB-encoded, premultiplied, float; or [H, W] as it is
) -> None:
    """Write a float EXR, whole or not at all; colours are decoded to linear light before they are premultiplied."""
    if image.ndim == 2:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image, np.float32), format="grayf32le")
    else:
        alpha = image[..., 3:].astype(np.float64)
        straight = image[..., :3] / np.maximum(alpha, 1e-6)
        planes = np.concatenate((linear(straight.clip(0, 1)) * alpha, alpha), axis=-1).astype(np.float32)
        frame = av.VideoFrame(image.shape[1], image.shape[0], "gbrapf32le")
        for plane, channel in zip(frame.planes, (1, 2, 0, 3)):  # green, blue, red, alpha
            _fill(plane, planes[..., channel])
    encoder: Any = av.CodecContext.create("exr", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
    encoder.time_base, encoder.options = 1, {"compression": "zip16"}
    data = b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def _fill(plane: Any, values: np.ndarray) -> None:
    """Rows of float32 into a plane whose rows may be padded."""
    rows = np.zeros((values.shape[0], plane.line_size // 4), np.float32)
    rows[:, : values.shape[1]] = values
    plane.update(rows.tobytes())


def write_passes(out: Path, name: str, layers: Mapping[str, np.ndarray], images: Literal["png", "exr"]) -> None:
    """Write passes [H, W] of a picture as ``out/<pass>/<name>``, each whole or not at all.

    PNG: alpha in 8 bits, depth in 16 (see ``studio.media.depth``). EXR: floats; depth in metres, 0 where nothing is.
    """
    for which, values in layers.items():
        path = out / which / name
        if images == "exr":
            write_exr(path, values)
        else:
            with whole_file(path) as temporary:
                write_image(temporary, encode_depth(values) if which == "depth" else to_uint8(values))
