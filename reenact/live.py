"""A face drives while it is filmed: pictures in, codes out, each as soon as it can be had.

Landmarks are found on one core while the codes of the picture before are fitted on another; a picture that comes while
both are busy replaces the one that waits, so that what is shown is always the newest. Identity, focal length and the
driver's neutral state are fitted once, from the first seconds, beside the stream; until then the landmarker's own
scores drive.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.landmarker import Face
from capture.landmarks import Landmarks
from capture.live import FaceFollower, Picture
from capture.tracking.faces import observe_alone
from capture.tracking.landmark_basis import LandmarkBasis
from capture.tracking.live import Known, follow
from capture.tracking.track import fit_landmarks
from capture.tracking.views import Views
from reenact.retarget import RetargetConfig, retarget
from studio.cameras import focal_from_fov, intrinsics
from studio.code_guard import guarded
from studio.code_range import CodeRange, measure_range
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.heads.model import HeadModel
from studio.rotations import rigid

_FOV = 0.6  # radians over the longer side, until the fit says better
_KNOWN_FRAMES = 40  # that the resting direction of the eyes is taken from
_END = None
_Waiting = tuple[int, float, Face, tuple[int, int]]  # number, arrival, face, (width, height) of a picture


@dataclass(frozen=True)
class LiveState:
    """Codes of one picture.

    Args:
        number: of the picture, on the grid of the stream.
        codes: the state (no batch), heads in camera coordinates turned to y up.
        seconds: from the picture's arrival to its codes.
        settled: whether the person is known by now; before, the codes are the landmarker's scores.
    """

    number: int
    codes: Codes
    seconds: float
    settled: bool


class LiveFace:
    """Codes of a stream of pictures.

    Args:
        head: the head model of the fit.
        fps: frames per second of the stream.
        first: seconds with a face from which the person is learned.
        bundle: MediaPipe's model file, found through ``studio.assets`` when not given.
        keep_looking: called for each picture without a face, on another thread; the stream ends where it says no.

    Attributes:
        range: neutral state and range of the driver, once the person is known.
        dropped: pictures that came while an earlier one was still waiting.
        lost: pictures without a face.
    """

    def __init__(
        self,
        head: HeadModel,
        fps: float,
        first: float = 2.0,
        bundle: Path | None = None,
        keep_looking: Callable[[], bool] = lambda: True,
    ) -> None:
        self._head, self._fps, self._needed = head, fps, max(round(first * fps), 10)
        self._basis = LandmarkBasis.of(head)
        self._bundle = bundle
        self._keep_looking = keep_looking
        self._known: Known | None = None
        self._failed: list[BaseException] = []
        self.range: CodeRange | None = None
        self.dropped = self.lost = 0

    def states(self, pictures: Iterator[Picture]) -> Iterator[LiveState]:
        """States as the pictures arrive; a picture without a face gives none."""
        waiting: queue.Queue[_Waiting | None] = queue.Queue(maxsize=1)
        stop = threading.Event()
        finder = threading.Thread(target=self._find, args=(pictures, waiting, stop), daemon=True)
        finder.start()
        seen: list[Face] = []
        learner: threading.Thread | None = None
        try:
            while (item := waiting.get()) is not _END:
                number, arrived, face, size = item
                if learner is None:
                    seen.append(face)
                    if len(seen) >= self._needed:
                        learner = threading.Thread(target=self._learn, args=(list(seen), size), daemon=True)
                        learner.start()
                known = self._known
                codes = _scores(face) if known is None else self._fitted(face, known)
                yield LiveState(number, codes, time.monotonic() - arrived, known is not None)
        finally:
            stop.set()
            while finder.is_alive():
                _empty(waiting)
                finder.join(timeout=0.05)
            if learner is not None:
                learner.join()
        if self._failed:
            raise self._failed[0]

    def _find(
        self,
        pictures: Iterator[Picture],
        waiting: queue.Queue[_Waiting | None],
        stop: threading.Event,
    ) -> None:
        """Landmarks of each picture, the newest to ``waiting``."""
        follower = FaceFollower(self._bundle)
        try:
            for number, picture in pictures:
                if stop.is_set():
                    return
                arrived = time.monotonic()
                face = follower(picture)
                if face is None:
                    self.lost += 1
                    if not self._keep_looking():
                        return
                    continue
                height, width = picture.shape[:2]
                self.dropped += _empty(waiting)
                waiting.put((number, arrived, face, (width, height)))
        except Exception as error:
            self._failed.append(error)
        finally:
            follower.close()
            waiting.put(_END)  # whoever stops listening empties the queue

    def _learn(self, faces: list[Face], size: tuple[int, int]) -> None:
        """The person, from the first faces; on a thread of its own."""
        try:
            self._known, self.range = self._person(faces, size)
        except Exception as error:
            self._failed.append(error)

    def _person(self, faces: list[Face], size: tuple[int, int]) -> tuple[Known, CodeRange]:
        width, height = size
        K = intrinsics(focal_from_fov(_FOV, max(width, height)), width, height)
        seen = observe_alone(landmarks_of(faces), self._basis, Views.single(K))
        fit, _, _ = fit_landmarks(self._head, self._basis, seen, self._fps)
        codes = replace(
            Codes.neutral(self._head.space, (len(faces),)),
            expression=fit.expression,
            head_to_world=_upright(rigid(fit.rotations, fit.translations)),
        )
        track = CodeTrack(codes, self._fps, torch.ones(len(faces), dtype=torch.bool))
        last = slice(-_KNOWN_FRAMES, None)
        few = replace(
            fit,
            rotations=fit.rotations[last],
            translations=fit.translations[last],
            expression=fit.expression[last],
        )
        return Known(few, landmarks_of(faces[-_KNOWN_FRAMES:]), None), measure_range(track)

    def _fitted(self, face: Face, known: Known) -> Codes:
        codes, _ = follow(self._head, self._basis, known, landmarks_of([face]))
        return replace(codes, head_to_world=_upright(codes.head_to_world))[0]


def _empty(waiting: queue.Queue[Any]) -> int:
    """Take what waits out of a queue; how much it was."""
    count = 0
    with suppress(queue.Empty):
        while True:
            waiting.get_nowait()
            count += 1
    return count


def landmarks_of(faces: list[Face]) -> Landmarks:
    """Landmarks of frames that all have a face."""
    points = np.stack([face.points for face in faces])
    return Landmarks(points, np.stack([face.scores for face in faces]), np.ones(len(faces), bool))


def to_avatar(state: LiveState, driver: CodeRange, avatar: CodeRange, config: RetargetConfig | None = None) -> Codes:
    """A state as codes for an avatar, within what it has learned.

    Args:
        state: settled, of ``LiveFace.states``.
        driver: ``LiveFace.range``.
        avatar: the range of the avatar.
        config: strengths.
    """
    one = CodeTrack(Codes.stack([state.codes]), 25.0, torch.ones(1, dtype=torch.bool))
    return guarded(retarget(one, avatar, config, measured=driver).codes, avatar)[0][0]


def _scores(face: Face) -> Codes:
    return replace(Codes.neutral(ARKIT52), expression=torch.from_numpy(face.scores).float().clamp(0, 1))


def _upright(poses: Tensor) -> Tensor:
    """Poses in OpenCV's camera axes as poses in a world with y up and z towards the camera."""
    return torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])) @ poses
