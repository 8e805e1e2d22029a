"""Landmarks of the followed face in every frame of a clip."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from capture.face_search import SAMPLES_PER_SECOND, FacePath, search_faces
from capture.landmarker import POINTS, VIEWS, Face, Landmarker
from studio.codes import ARKIT_CHANNELS
from studio.errors import StudioError
from studio.logs import progress, say

MIN_FACE_PIXELS = 48  # below this the landmarks say nothing of an expression
_GOOD_FACE_PIXELS = 110
_BATCH = 16


@dataclass(frozen=True)
class Landmarks:
    """MediaPipe's points and scores over a clip.

    Args:
        points: [T, 478, 3] float32 pixels (x right, y down, edges at whole numbers; z relative depth, same unit).
        scores: [T, 52] float32 in ARKit order.
        valid: [T] bool; the rest is zero where it is False.
    """

    points: np.ndarray
    scores: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.valid)

    def only(self, frames: np.ndarray) -> Landmarks:
        """A selection of the frames, by index."""
        return Landmarks(self.points[frames], self.scores[frames], self.valid[frames])

    def filled(self) -> Landmarks:
        """With every frame without a face like the nearest one that has one."""
        known = np.flatnonzero(self.valid)
        nearest = np.abs(np.arange(len(self))[:, None] - known).argmin(axis=1)
        return self.only(known[nearest])

    def in_window(self, corner: np.ndarray, scale: float) -> Landmarks:
        """In pixels of a window with its top left at ``corner`` [2], resized by ``scale``."""
        offset = np.array([*corner, 0.0], dtype=np.float32)
        return replace(self, points=((self.points - offset) * scale * self.valid[:, None, None]).astype(np.float32))

    def interocular(self) -> np.ndarray:
        """Distance [T] between the outer corners of the eyes, in pixels."""
        return np.linalg.norm(self.points[:, 33, :2] - self.points[:, 263, :2], axis=-1)

    def save(self, path: Path) -> None:
        np.savez_compressed(path, points=self.points, scores=self.scores, valid=self.valid)

    @staticmethod
    def load(path: Path) -> Landmarks:
        """Raises StudioError when the file is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as data:
                return Landmarks(data["points"], data["scores"], data["valid"])
        except (OSError, ValueError, KeyError) as error:
            raise StudioError(
                f"cannot read the landmarks {path}", got=error, expected="a capture of a video", next="ingest it again"
            ) from error


def find_landmarks(
    frames: Callable[[], Iterable[np.ndarray]],
    count: int,
    fps: float,
    *,
    named: str,
    bundle: Path | None = None,
    person: int | None = None,
    looks: int = VIEWS,
) -> Landmarks:
    """Find and follow one face of a clip.

    Args:
        frames: gives the clip's frames, [H, W, 3] uint8 sRGB, from the beginning each time it is called.
        count: how many there are at most.
        fps: frames per second.
        named: what the clip is called in messages.
        bundle: MediaPipe's model file; found through ``studio.assets`` when not given.
        person: whose face, counted from the left side of the picture; the most prominent one when not given.
        looks: crops of every frame whose mean is taken, 1 to 4.

    Raises:
        StudioError: no such face in the clip, a face too small to read, or no model bundle.
    """
    every = max(round(fps / SAMPLES_PER_SECOND), 1)
    with closing(Landmarker(bundle, faces=4)) as landmarker:
        path = search_faces(frames(), every, landmarker, person)
    if path is None and person:
        raise StudioError(f"fewer persons in {named}", got=f"face={person}", next="count them from 0 on the left")
    if path is None:
        raise StudioError(
            f"no face in {named}", expected="a video in which a face is seen", next="choose another video"
        )
    size = float(np.median(path.sizes))
    if size < MIN_FACE_PIXELS:
        raise StudioError(
            f"the face in {named} is too small", got=f"{size:.0f} pixels", expected=f"at least {MIN_FACE_PIXELS}"
        )
    if size < _GOOD_FACE_PIXELS:
        say(f"warning: the face in {named} is only {size:.0f} pixels high; expressions will be coarse")
    found = _refined(frames(), path, bundle, faces=1 if person is None else 2, looks=looks)
    faces = list(progress(found, "landmarks", count))
    valid = np.array([face is not None for face in faces])
    points = np.stack([np.zeros((POINTS, 3), np.float32) if face is None else face.points for face in faces])
    scores = np.stack([np.zeros(len(ARKIT_CHANNELS), np.float32) if face is None else face.scores for face in faces])
    if not valid.all():
        say(f"warning: no face in {int((~valid).sum())} of {len(valid)} frames of {named}; they are filled in")
    return Landmarks(points, scores, valid)


def _refined(
    frames: Iterable[np.ndarray], path: FacePath, bundle: Path | None, faces: int, looks: int
) -> Iterator[Face | None]:
    """The face at full detail in every frame, in order; batches are shared by one landmarker per core.

    ``faces`` is how many may stand so close that they are seen together, ``looks`` how many crops are averaged.
    """
    workers = max(min(os.cpu_count() or 1, 8), 1)
    numbered = enumerate(frames)
    with ExitStack() as stack:
        landmarkers = [stack.enter_context(closing(Landmarker(bundle, faces))) for _ in range(workers)]
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        while batch := list(islice(numbered, _BATCH)):
            shares = [batch[worker::workers] for worker in range(workers)]
            done = pool.map(_refine_share, landmarkers, shares, [path] * workers, [looks] * workers)
            found = {index: face for share in done for index, face in share}
            yield from (found[index] for index, _ in batch)


def _refine_share(
    landmarker: Landmarker, share: list[tuple[int, np.ndarray]], path: FacePath, looks: int
) -> list[tuple[int, Face | None]]:
    return [(index, landmarker.refine(frame, *path.at(index), looks)) for index, frame in share]
