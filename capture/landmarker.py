"""MediaPipe's Face Landmarker as a plain function: an image in, faces with 478 points and ARKit scores out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from studio.assets import require_asset
from studio.codes import ARKIT_CHANNELS
from studio.errors import StudioError

POINTS = 478
_MIDLINE = (
    *(0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15),
    *(16, 17, 18, 19, 94, 151, 152, 164, 168, 175, 195, 197, 199, 200),
)
_CROP_PIXELS = 384  # the network sees 256; a little more keeps its own resampling sharp
# (crop side over face size, mirrored). However little two crops differ, the network's points differ by half a percent
# of the distance of the eyes: the mean of n views has 1/sqrt(n) of this noise, and mirrored ones cancel one-sidedness.
_VIEWS = ((2.1, False), (1.8, True), (2.5, False), (3.2, True))
VIEWS = len(_VIEWS)


def _mirror_order() -> np.ndarray:
    """Permutation [478] that takes the points of a mirrored face to those of the face.

    MediaPipe numbers the subject's right half up to 247 and the left half, in the same order, from 248; then the irises
    (centre, one side, top, other side, bottom; right before left).
    """
    order = np.arange(POINTS)
    right = np.setdiff1d(np.arange(248), _MIDLINE)
    left = np.arange(248, 468)
    order[right], order[left] = left, right
    order[[468, 469, 470, 471, 472]] = [473, 476, 475, 474, 477]
    order[[473, 476, 475, 474, 477]] = [468, 469, 470, 471, 472]
    return order


MIRROR = _mirror_order()


def _mirrored_name(name: str) -> str:
    swapped = name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")
    return swapped if swapped in ARKIT_CHANNELS else name


_SCORE_MIRROR = np.array([ARKIT_CHANNELS.index(_mirrored_name(name)) for name in ARKIT_CHANNELS])


@dataclass(frozen=True)
class Face:
    """One detected face.

    Args:
        points: [478, 3] float32; x right, y down in pixels of the image (edges at whole numbers), z depth in the same
            unit, smaller is nearer.
        scores: [52] float32 in ARKit order, 0..1 (tongueOut, which the network lacks, is 0).
    """

    points: np.ndarray
    scores: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """Middle [2] of the box round the points."""
        return 0.5 * (self.points[:, :2].min(axis=0) + self.points[:, :2].max(axis=0))

    @property
    def size(self) -> float:
        """Longer side of the box round the points, in pixels."""
        return float(np.ptp(self.points[:, :2], axis=0).max())


class Landmarker:
    """A loaded landmarker for still images; one per thread.

    MediaPipe's video mode smooths over time and lags by a fraction of a frame, so every frame is treated as a photo.

    Args:
        path: the model bundle; found through ``studio.assets`` when not given.
        faces: how many faces to look for at once.

    Raises:
        StudioError: the bundle is missing or damaged.
    """

    def __init__(self, path: Path | None = None, faces: int = 1) -> None:
        bundle = require_asset("face_landmarker", path)
        with _quiet():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._image = lambda data: mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=data)
            options = vision.FaceLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(bundle)),
                running_mode=vision.RunningMode.IMAGE,
                output_face_blendshapes=True,
                num_faces=faces,
            )
            try:
                self._network = vision.FaceLandmarker.create_from_options(options)
                self._network.detect(self._image(np.zeros((64, 64, 3), np.uint8)))  # its start-up messages come now
            except (RuntimeError, ValueError, OSError) as error:
                raise StudioError(
                    f"cannot load the face landmarker {bundle}", got=error, expected="MediaPipe's face_landmarker.task"
                ) from error

    def close(self) -> None:
        """Free the network; otherwise it complains when the interpreter ends."""
        self._network.close()

    def detect(
        self,
        image: np.ndarray,  # [H, W, 3] uint8 sRGB
    ) -> list[Face]:
        """All faces found in the image, unordered."""
        found = self._network.detect(self._image(np.ascontiguousarray(image)))
        scale = np.array([image.shape[1], image.shape[0], image.shape[1]], dtype=np.float32)
        return [
            Face(np.array([[p.x, p.y, p.z] for p in points], dtype=np.float32) * scale, _arkit_scores(scores))
            for points, scores in zip(found.face_landmarks, found.face_blendshapes, strict=True)
        ]

    def refine(
        self,
        image: np.ndarray,  # [H, W, 3] uint8 sRGB
        center: np.ndarray,  # [2] pixels
        size: float,
        views: int = VIEWS,
    ) -> Face | None:
        """The face expected about ``center`` with ``size`` pixels, at full detail: the mean over ``views`` crops.

        Returns:
            None where there is no such face.
        """
        faces: list[Face] = []
        for scale, mirrored in _VIEWS[:views]:
            face = self._detect_in_crop(image, center, scale * size, mirrored)
            if face is None or not _same_place(face, center, size):
                continue
            if not faces:
                center, size = face.center, face.size
            faces.append(face)
        if not faces:
            return None
        return Face(np.mean([face.points for face in faces], axis=0), np.mean([face.scores for face in faces], axis=0))

    def _detect_in_crop(self, image: np.ndarray, center: np.ndarray, side: float, mirrored: bool) -> Face | None:
        crop, scale, corner = square_crop(image, center, side, _CROP_PIXELS)
        faces = self.detect(crop[:, ::-1] if mirrored else crop)
        if not faces:
            return None
        middle = 0.5 * np.array(crop.shape[1::-1])
        face = min(faces, key=lambda face: float(np.abs(face.center - middle).max()))
        points, scores = face.points, face.scores
        if mirrored:
            points = points[MIRROR] * np.array([-1, 1, 1], np.float32) + np.array([crop.shape[1], 0, 0], np.float32)
            scores = scores[_SCORE_MIRROR]
        points = points / scale
        points[:, :2] += corner
        return Face(points, scores)


def square_crop(
    image: np.ndarray,  # [H, W, 3]
    center: np.ndarray,  # [2] pixels
    side: float,
    limit: int,
) -> tuple[np.ndarray, float, np.ndarray]:
    """A square window (edges repeated outside of the image) of at most ``limit`` pixels.

    Returns:
        The window, its scale (window pixels per image pixel) and its corner [2] in the image.
    """
    whole = max(round(side), 8)
    left, top = np.round(center - 0.5 * whole).astype(int)
    height, width = image.shape[:2]
    inside = image[max(top, 0) : max(top + whole, 0), max(left, 0) : max(left + whole, 0)]
    if inside.size == 0:
        inside = np.zeros((1, 1, 3), image.dtype)
    outside = (max(-top, 0), max(top + whole - height, 0), max(-left, 0), max(left + whole - width, 0))
    if any(outside):
        inside = cv2.copyMakeBorder(inside, *outside, cv2.BORDER_REPLICATE)[:whole, :whole]
    if whole <= limit:
        return inside, 1.0, np.array([left, top], np.float32)
    resized = cv2.resize(inside, (limit, limit), interpolation=cv2.INTER_AREA)
    return resized, limit / whole, np.array([left, top], np.float32)


def _same_place(face: Face, center: np.ndarray, size: float) -> bool:
    return bool(np.abs(face.center - center).max() < 0.6 * size) and 0.5 < face.size / size < 2.0


def _arkit_scores(categories: list[Any]) -> np.ndarray:
    by_name = {category.category_name: category.score for category in categories}
    return np.array([by_name.get(name, 0.0) for name in ARKIT_CHANNELS], dtype=np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """MediaPipe's native libraries print their start-up notes to file descriptor 2; keep them off the user's screen."""
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
