"""Contact sheets: rows of pictures with captions, for judging at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from studio.media.images import write_image

_TILE, _CAPTION = 224, 22
_INK, _PAPER = (40, 40, 40), 245


def write_sheet(
    path: Path,
    rows: Sequence[tuple[str, Sequence[np.ndarray]]],  # caption, images [H, W, 3] uint8
) -> Path:
    """Write a picture with one captioned row of square tiles for each entry; returns ``path``."""
    columns = max(len(images) for _, images in rows)
    strips = []
    for caption, images in rows:
        strip = np.full((_TILE + _CAPTION, columns * _TILE, 3), _PAPER, dtype=np.uint8)
        cv2.putText(strip, caption, (6, _CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
        for index, image in enumerate(images):
            strip[_CAPTION:, index * _TILE : (index + 1) * _TILE] = _tile(image)
        strips.append(strip)
    write_image(path, np.concatenate(strips))
    return path


def spread_frames(video: Path, count: int) -> list[np.ndarray]:
    """``count`` frames of a video, evenly spread over it."""
    from studio.media.video_reader import probe, read_frames

    frames = probe(video).frames
    wanted = set(np.linspace(0, frames - 1, count).round().astype(int).tolist())
    return [frame for index, frame in enumerate(read_frames(video)) if index in wanted]


def _tile(image: np.ndarray) -> np.ndarray:
    """The middle square of an image at the size of a tile."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (_TILE, _TILE), interpolation=cv2.INTER_AREA if side > _TILE else cv2.INTER_CUBIC)
