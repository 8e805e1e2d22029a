"""A capture that grows while the footage arrives: from a camera, or from a file at the pace at which it was filmed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from capture.face_search import search_faces
from capture.landmarker import POINTS, Face, Landmarker
from capture.landmarks import Landmarks
from capture.matte import person_alpha
from capture.separation import Separation, learn_separation
from capture.video import CAMERA_ID, Window, choose_window, window_camera
from studio.cameras import Camera
from studio.captures import Capture, Split
from studio.codes import ARKIT_CHANNELS
from studio.errors import StudioError
from studio.folders import Manifest
from studio.media.images import write_image
from studio.media.video_reader import read_frames

Picture = tuple[int, np.ndarray]  # number on the grid of the frame rate, [H, W, 3] uint8 sRGB
_WIDER = 0.06  # of the window's side, on each side: a head moves farther than it did in the first seconds
_NAP = 0.05  # seconds, at most: a clock need not run as fast as the machine's
_VIEWS = 2  # of every frame: what there is time for
_LOST_EVERY = 4  # frames between searches of the whole picture for a face that is lost


def paced(
    source: Path, fps: float, stop: float | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Picture]:
    """The frames of a video, each when its time has come; those for which the reader comes too late are left out.

    Args:
        source: a video file.
        fps: frames per second that are wanted.
        stop: seconds of the file after which the stream ends.
        clock: seconds.

    Raises:
        StudioError: no readable video.
    """
    last = None if stop is None else round(stop * fps)
    frames, began = read_frames(source, fps=fps, stop=last), None
    for number, frame in enumerate(frames):
        began = clock() if began is None else began
        due = began + number / fps
        if (clock() - due) * fps >= 1.0:
            continue
        while (ahead := due - clock()) > 0:
            time.sleep(min(ahead, _NAP))
        yield number, frame


def from_camera(camera: int | str, fps: float) -> Iterator[Picture]:
    """Pictures of a camera (number) or of a stream (address), at most ``fps`` of them a second.

    Raises:
        StudioError: there is no such camera or stream.
    """
    device = cv2.VideoCapture(camera)
    if not device.isOpened():
        device.release()
        if isinstance(camera, str):
            raise StudioError(f"cannot open the stream {camera}", expected="an address that OpenCV reads")
        raise StudioError(f"no camera {camera}", expected="a camera that this system offers", next="try camera=0")
    try:
        began, shown = time.monotonic(), -1
        while True:
            if not device.grab():
                return
            number = int((time.monotonic() - began) * fps)
            if number > shown:
                fine, picture = device.retrieve()
                if not fine:
                    return
                shown = number
                yield number, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        device.release()


class FaceFollower:
    """The landmarks of one face, frame by frame; a face that is lost is looked for again."""

    def __init__(self, bundle: Path | None = None) -> None:
        """Args: bundle: MediaPipe's model file, found through ``studio.assets`` when not given."""
        self._fine, self._search = Landmarker(bundle), Landmarker(bundle, faces=4)
        self._last: Face | None = None
        self._lost = 0

    def __call__(
        self,
        frame: np.ndarray,  # [H, W, 3] uint8 sRGB
    ) -> Face | None:
        """The face in the next frame, or None."""
        if self._last is not None:
            self._last = self._fine.refine(frame, self._last.center, self._last.size, _VIEWS)
        if self._last is None:
            self._lost += 1
            if self._lost % _LOST_EVERY == 1:
                path = search_faces([frame], 1, self._search)
                self._last = None if path is None else self._fine.refine(frame, *path.at(0), _VIEWS)
        if self._last is not None:
            self._lost = 0
        return self._last

    def close(self) -> None:
        self._fine.close()
        self._search.close()


@dataclass(frozen=True)
class Framing:
    """What the first seconds decide for the whole stream."""

    window: Window
    camera: Camera
    separation: Separation


class Recorder:
    """Writes what it is given into a folder laid out as a capture, and says what is there so far.

    The window of the picture, the camera and the background are decided once enough faces were seen; what came before
    is held in memory until then.

    Args:
        folder: of the capture in the making.
        fps: of the grid.
        size: side of the square images, pixels.
        first: seconds with a face after which the window is decided.
        bundle: MediaPipe's model file.
    """

    def __init__(self, folder: Path, fps: float, size: int, first: float = 1.5, bundle: Path | None = None) -> None:
        self.folder, self.fps, self.size = folder, fps, size
        self._needed = max(round(first * fps), 4)
        self._follow = FaceFollower(bundle)
        self._waiting: list[tuple[np.ndarray, Face | None]] = []
        self._faces: list[Face | None] = []  # in pixels of the window, once that is known
        self._offset: int | None = None
        self.framing: Framing | None = None

    def take(self, number: int, frame: np.ndarray) -> bool:
        """Add a picture of the stream; says whether there is a capture yet.

        Numbers that are left out are stood in for by the picture before, without a face.
        """
        self._offset = number if self._offset is None else self._offset
        missed = number - self._offset - len(self)
        if self.framing is None:
            self._waiting += self._waiting[-1:] and [(self._waiting[-1][0], None)] * missed
            self._waiting.append((frame, self._follow(frame)))
            if sum(face is not None for _, face in self._waiting) >= self._needed:
                self._begin()
        else:
            for _ in range(missed):
                self._repeat()
            self._add(self.framing, self.framing.window.cut(frame), self._in_window(self._follow(frame)))
        return self.framing is not None

    def __len__(self) -> int:
        return len(self._faces) if self.framing else len(self._waiting)

    def landmarks(self) -> Landmarks:
        """Of all frames so far, in pixels of the images."""
        return _landmarks(self._faces)

    def capture(self) -> Capture:
        """What there is so far, as a capture whose only split is "train"."""
        assert self.framing is not None
        count = len(self._faces)
        ids = tuple(f"{index:05d}" for index in range(count))
        splits = {"train": Split(tuple(range(count)), (0,))}
        return Capture(self.folder, Manifest("capture"), self.framing.camera, ids, self.fps, splits)

    def close(self) -> None:
        self._follow.close()

    def _begin(self) -> None:
        """Decide the window, the camera and the background from the frames that wait, and write them."""
        frames, faces = [frame for frame, _ in self._waiting], [face for _, face in self._waiting]
        height, width = frames[0].shape[:2]
        found = _landmarks(faces)
        window = _widened(choose_window(found, width, height, self.size), width, height)
        inside = found.in_window(window.corner, window.scale)
        images = [window.cut(frame) for frame in frames]
        separation = learn_separation(lambda index: images[index], inside)
        self.framing = Framing(window, window_camera(width, height, window, inside), separation)
        if separation.background.static:
            write_image(self.folder / "background" / f"{CAMERA_ID}.png", separation.background.image)
        for image, face in zip(images, faces, strict=True):
            self._add(self.framing, image, self._in_window(face))
        self._waiting.clear()

    def _in_window(self, face: Face | None) -> Face | None:
        assert self.framing is not None
        if face is None:
            return None
        window = self.framing.window
        offset = np.array([*window.corner, 0.0], np.float32)
        return replace(face, points=((face.points - offset) * window.scale).astype(np.float32))

    def _add(self, framing: Framing, image: np.ndarray, face: Face | None) -> None:
        if face is None:
            alpha = np.zeros(image.shape[:2], np.uint8)
        else:
            alpha = person_alpha(image, face.points, framing.separation.colors, framing.separation.background)
        for kind, content in (("images", image), ("alpha", alpha)):
            write_image(self._path(kind, len(self._faces)), content)
        self._faces.append(face)

    def _repeat(self) -> None:
        for kind in ("images", "alpha"):
            shutil.copyfile(self._path(kind, len(self._faces) - 1), self._path(kind, len(self._faces)))
        self._faces.append(None)

    def _path(self, kind: str, frame: int) -> Path:
        return self.folder / kind / CAMERA_ID / f"{frame:05d}.png"


def _widened(window: Window, width: int, height: int) -> Window:
    side = min(round(window.side * (1 + 2 * _WIDER)), width, height)
    corner = window.corner + 0.5 * (window.side - side)
    return Window(np.clip(np.round(corner), 0, np.array([width - side, height - side])), side, window.size)


def _landmarks(faces: list[Face | None]) -> Landmarks:
    points = [np.zeros((POINTS, 3), np.float32) if face is None else face.points for face in faces]
    scores = [np.zeros(len(ARKIT_CHANNELS), np.float32) if face is None else face.scores for face in faces]
    return Landmarks(np.stack(points), np.stack(scores), np.array([face is not None for face in faces]))
