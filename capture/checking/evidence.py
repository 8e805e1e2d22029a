"""Everything that the checks share, found once: a look at each picture, and what the cameras see of the same face."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import numpy as np

from capture.checking.face_points import INDICES, facing, head_turn
from capture.checking.look import THUMB_PIXELS, Look, digest_of, look_at
from capture.landmarker import POINTS, Landmarker
from studio.captures import Capture
from studio.codes import ARKIT_CHANNELS
from studio.errors import StudioError
from studio.logs import progress, say

_RUNS = 3  # a long capture is looked at in so many runs of neighbouring frames
_LEAST_FACES = 0.4  # share of a camera's frames that must show a face before it counts as one that sees it


@dataclass
class Evidence:
    """A capture, looked at.

    Args:
        capture: the capture; files may be missing from it.
        timesteps: [N] timesteps that were looked at, increasing.
        looks: [N][C] what each picture says.
        landmarks_missing: why no faces are looked at, or empty.
        track: name of the track whose expressions are counted; found by itself when empty.
        features: see ``feature_pairs``, where they were matched already.
    """

    capture: Capture
    timesteps: np.ndarray
    looks: list[list[Look]]
    landmarks_missing: str = ""
    track: str = ""
    features: dict[tuple[int, int], float] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return self.capture.cameras.ids

    @cached_property
    def sees_face(self) -> np.ndarray:
        """[N, C] bool."""
        return np.array([[look.face is not None for look in row] for row in self.looks])

    @cached_property
    def frontal(self) -> np.ndarray:
        """[C] bool: cameras that find the face most of the time."""
        return self.sees_face.mean(0) >= _LEAST_FACES

    @property
    def no_face(self) -> str:
        """Why nothing can be said about the face, or empty."""
        if self.landmarks_missing:
            return self.landmarks_missing
        return "" if self.sees_face.any() else "no face found"

    @cached_property
    def points(self) -> np.ndarray:
        """[N, C, 478, 3] landmarks in pixels, NaN without a face."""
        return self._of_faces(lambda face: face.points, (POINTS, 3))

    @cached_property
    def scores(self) -> np.ndarray:
        """[N, C, 52] expression scores, NaN without a face."""
        return self._of_faces(lambda face: face.scores, (len(ARKIT_CHANNELS),))

    def _of_faces(self, part, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[no-untyped-def]
        values = np.full((len(self.looks), len(self.names), *shape), np.nan, np.float32)
        for row, looks in enumerate(self.looks):
            for camera, look in enumerate(looks):
                if look.face is not None:
                    values[row, camera] = part(look.face)
        return values

    @cached_property
    def turns(self) -> np.ndarray:
        """[N, C, 3, 3] how the head is turned from each camera, NaN without a face."""
        turns = np.full((*self.sees_face.shape, 3, 3), np.nan)
        for row, camera in zip(*np.nonzero(self.sees_face)):
            turns[row, camera] = head_turn(self.points[row, camera])
        return turns

    @cached_property
    def face_pixels(self) -> np.ndarray:
        """[C] median size of the face in pixels, NaN where none is seen."""
        low, high = self.points[..., :2].min(2), self.points[..., :2].max(2)
        size = (high - low).max(-1)
        return np.array(
            [np.nanmedian(size[:, c]) if self.sees_face[:, c].any() else np.nan for c in range(size.shape[1])]
        )

    @cached_property
    def trust(self) -> np.ndarray:
        """[N, C, P] 0..1 how well each of the steady points (``face_points``) is seen: it must face the camera."""
        result = np.zeros((*self.sees_face.shape, len(INDICES)))
        for row, camera in zip(*np.nonzero(self.sees_face & self.frontal)):
            turn = self.turns[row, camera]
            whole = np.clip((turn[2, 2] - 0.35) / 0.4, 0, 1)  # landmarks of a face in profile are guesses
            result[row, camera] = whole * np.clip((facing(turn) - 0.1) / 0.4, 0, 1)
        return result

    def column(self, camera: int, value: str) -> np.ndarray:
        """[N] a number of each look of a camera, NaN where it could not be read."""
        looks = [row[camera] for row in self.looks]
        return np.array([np.nan if look.problem else float(getattr(look, value)) for look in looks])

    @cached_property
    def row_motion(self) -> np.ndarray:
        """[N, C, 48] mean change of each row of the thumbnail since the timestep before, NaN where not known."""
        result = np.full((*self.sees_face.shape, THUMB_PIXELS), np.nan)
        for row in np.flatnonzero(self.follows):
            for camera in range(len(self.names)):
                before, now = self.looks[row - 1][camera].thumb, self.looks[row][camera].thumb
                if before is not None and now is not None:
                    result[row, camera] = np.abs(before.astype(np.int16) - now).mean(1)
        return result

    @property
    def motion(self) -> np.ndarray:
        """[N, C] mean change of the thumbnail since the timestep before, NaN where that is not known."""
        return np.asarray(self.row_motion.mean(-1))

    @cached_property
    def follows(self) -> np.ndarray:
        """[N] bool: whether the timestep before was looked at, too."""
        return np.r_[False, np.diff(self.timesteps) == 1]


def chosen_timesteps(count: int, limit: int) -> np.ndarray:
    """All timesteps, or some runs of neighbouring ones where there are more than ``limit``."""
    if count <= limit:
        return np.arange(count)
    length = max(limit // _RUNS, 1)
    starts = np.linspace(0, count - length, _RUNS).round().astype(int)
    return np.unique((starts[:, None] + np.arange(length)).ravel())


class _Networks:
    """Landmarkers, loaded when needed, one for each thread at a time."""

    def __init__(self, bundle: Path | None, stack: ExitStack) -> None:
        """Args: bundle: the model. stack: closes them at its end."""
        self._bundle, self._stack = bundle, stack
        self._free: list[Landmarker] = []
        self._lock = Lock()
        self.missing = ""

    @contextmanager
    def one(self) -> Iterator[Landmarker | None]:
        """A landmarker for this thread; None where there is no model."""
        with self._lock:
            network = self._free.pop() if self._free else self._load()
        yield network
        if network is not None:
            with self._lock:
                self._free.append(network)

    def _load(self) -> Landmarker | None:
        if self.missing:
            return None
        try:
            return self._stack.enter_context(closing(Landmarker(self._bundle)))
        except StudioError as error:
            say(f"warning: {error}")
            self.missing = "the face landmarker is not there (studio doctor says how to get it)"
            return None


def gather(
    capture: Capture,
    limit: int = 3000,
    landmarker: Path | None = None,
    track: str = "",
    memory: MutableMapping[str, Look] | None = None,
) -> Evidence:
    """Look at the pictures of a capture.

    Args:
        capture: opened with ``complete=False``, so that missing files are findings.
        limit: at most so many pictures, evenly from all cameras.
        landmarker: MediaPipe's model bundle; found through ``studio.assets`` when not given.
        track: whose expressions are counted.
        memory: looks by content, kept between calls on captures that share pictures.
    """
    cameras = range(len(capture.cameras))
    timesteps = chosen_timesteps(len(capture), max(limit // len(cameras), 8))
    memory = {} if memory is None else memory
    workers = max(min(os.cpu_count() or 1, 8), 1)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        networks = _Networks(landmarker, stack)

        def one(key: tuple[int, int]) -> Look:
            image, matte = (capture.file(kind, *key) for kind in ("images", "alpha"))
            digest = digest_of(image, matte)
            if digest not in memory:
                with networks.one() as network:
                    memory[digest] = look_at(image, matte, network)
            return memory[digest]

        keys = [(int(t), c) for t in timesteps for c in cameras]
        flat = list(progress(pool.map(one, keys), "looking", len(keys)))
    rows = [flat[start : start + len(cameras)] for start in range(0, len(flat), len(cameras))]
    return Evidence(capture, timesteps, rows, networks.missing, track)
