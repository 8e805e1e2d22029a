"""Ingest of an ordinary clip: a face-centred square window of one camera, with mattes, background and sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from capture.formats.terms import Terms
from capture.landmarks import Landmarks, find_landmarks
from capture.separation import alphas, learn_separation
from studio.cameras import Camera, focal_from_fov, intrinsics
from studio.captures import Split, capture_body, write_cameras
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, require_new, write_folder
from studio.logs import progress, say
from studio.media.audio import write_wav
from studio.media.images import read_image, write_image
from studio.media.video_reader import VideoInfo, probe, read_audio, read_frames

CAMERA_ID = "0"
LANDMARKS_FILE = "landmarks.npz"
MIN_FRAMES = 10
TRAIN_SHARE = 0.8
# What the window holds beyond the face (forehead to chin), in heights of the face.
_ABOVE, _BELOW, _BESIDE = 0.6, 0.85, 0.75
_ASSUMED_FOV = 0.6  # radians over the longer side: a camera at conversation distance; the tracker refines it


@dataclass(frozen=True)
class IngestConfig:
    """How a clip is read.

    Args:
        size: side of the square images in pixels.
        fps: frames per second; the clip's own when not given.
        frames: at most so many frames from the beginning; all when not given.
        landmarker: MediaPipe's model bundle; found through ``studio.assets`` when not given.
        face: whose, of several persons, counted from the left side of the picture; the most prominent when not given.
    """

    size: int = 512
    fps: float | None = None
    frames: int | None = None
    landmarker: Path | None = None
    face: int | None = None


@dataclass(frozen=True)
class Window:
    """A square window of the video frame: corner [2] and side in video pixels, shown with ``size`` pixels."""

    corner: np.ndarray
    side: int
    size: int

    @property
    def scale(self) -> float:
        return self.size / self.side

    def cut(
        self,
        frame: np.ndarray,  # [H, W, 3] uint8
    ) -> np.ndarray:
        """The window [size, size, 3] of a frame, filtered by area when it shrinks."""
        left, top = (int(value) for value in self.corner)
        inside = frame[top : top + self.side, left : left + self.side]
        method = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        return cv2.resize(inside, (self.size, self.size), interpolation=method)


def accepts(source: Path) -> bool:
    """Whether ``source`` is taken for a video: any file (folders are other formats)."""
    return not source.is_dir()


def ingest_video(source: Path, out: Path, config: IngestConfig | None = None, terms: Terms | None = None) -> Path:
    """Turn a clip of a talking person into a capture with one camera.

    The first 80 % of the frames are the split "train", the rest is "test". Landmarks are kept in ``landmarks.npz``, in
    pixels of the images.

    Args:
        source: any video that FFmpeg reads.
        out: the capture folder to make.
        config: see ``IngestConfig``.
        terms: of the recording.

    Returns:
        ``out``.

    Raises:
        StudioError: no readable video, no face or too small a face, a clip that is too short, or ``out`` exists.
    """
    config = config or IngestConfig()
    require_new(out)
    info = probe(source, config.fps)
    count = min(info.frames, config.frames or info.frames)
    if count < MIN_FRAMES:
        raise StudioError(
            f"{source} is too short", got=f"{count} frames", expected=f"at least {MIN_FRAMES}", next="choose a clip"
        )

    def frames() -> Iterator[np.ndarray]:
        return read_frames(source, fps=config.fps, stop=count)

    fps = float(info.fps)
    found = find_landmarks(frames, count, fps, named=source.name, bundle=config.landmarker, person=config.face)
    window = choose_window(found, info.width, info.height, config.size)
    landmarks = found.in_window(window.corner, window.scale)
    with write_folder(out, _manifest(source, info, window, len(landmarks), terms or Terms(), config.face)) as folder:
        _write_images(folder, (window.cut(frame) for frame in frames()), landmarks)
        write_cameras(folder / "cameras.json", window_camera(info.width, info.height, window, landmarks))
        landmarks.save(folder / LANDMARKS_FILE)
        sound = read_audio(source)
        if sound is None:
            say(f"warning: {source.name} has no sound")
        else:
            write_wav(folder / "audio.wav", sound.between(0.0, len(landmarks) / fps))
    return out


def choose_window(landmarks: Landmarks, width: int, height: int, size: int) -> Window:
    """The smallest square that holds head and shoulders in (nearly) every frame, moved into the video's frame."""
    points = landmarks.points[landmarks.valid][..., :2]
    face = float(np.median(np.linalg.norm(points[:, 10] - points[:, 152], axis=-1)))
    low, high = points.min(axis=1), points.max(axis=1)
    low = np.quantile(low, 0.02, axis=0) - face * np.array([_BESIDE, _ABOVE])
    high = np.quantile(high, 0.98, axis=0) + face * np.array([_BESIDE, _BELOW])
    side = round(min(float((high - low).max()), width, height))
    center = 0.5 * (low + high)
    corner = np.clip(np.round(center - 0.5 * side), 0, np.array([width - side, height - side]))
    return Window(corner, side, size)


def window_camera(width: int, height: int, window: Window, landmarks: Landmarks) -> Camera:
    """The pinhole camera of a window in a video of this size: world origin, looking along -z (y up).

    The principal point is that of the whole video frame.
    """
    from capture.tracking.focal import estimate_focal
    from capture.tracking.landmark_basis import LandmarkBasis
    from studio.heads import load_head

    focal = focal_from_fov(_ASSUMED_FOV, max(width, height))
    whole = Camera(
        torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None],
        intrinsics(focal, width, height)[None],
        width,
        height,
        (CAMERA_ID,),
    )
    left, top = (float(value) for value in window.corner)
    camera = whole.cropped(left, top, window.side, window.side).resized(window.size, window.size)
    Ks = camera.Ks.clone()
    Ks[0, (0, 1), (0, 1)] = estimate_focal(landmarks, LandmarkBasis.of(load_head("auto")), camera.Ks[0])
    return replace(camera, Ks=Ks)


def _manifest(source: Path, info: VideoInfo, window: Window, count: int, terms: Terms, face: int | None) -> Manifest:
    cut = round(count * TRAIN_SHARE)
    splits = {"train": Split(tuple(range(cut)), (0,)), "test": Split(tuple(range(cut, count)), (0,))}
    names = [f"{index:05d}" for index in range(count)]
    body = capture_body(names, float(info.fps), splits) | {
        "format": "video",
        "source": {"file": source.name, "width": info.width, "height": info.height, "face": face},
        "window": {"corner": window.corner.tolist(), "side": window.side},
    }
    parents = {source.name: content_hash(source)}
    return Manifest(kind="capture", parents=parents, licence=terms.licence, consent=terms.consent, body=body)


def _write_images(folder: Path, images: Iterator[np.ndarray], landmarks: Landmarks) -> None:
    def path(kind: str, frame: int) -> Path:
        return folder / kind / CAMERA_ID / f"{frame:05d}.png"

    def read(frame: int) -> np.ndarray:
        return read_image(path("images", frame))

    for frame, image in enumerate(progress(images, "images", len(landmarks))):
        write_image(path("images", frame), image)
    separation = learn_separation(read, landmarks)
    for frame, alpha in enumerate(progress(alphas(read, landmarks, separation), "mattes", len(landmarks))):
        write_image(path("alpha", frame), alpha)
    if separation.background.static:
        seen = separation.background.seen
        write_image(folder / "background" / f"{CAMERA_ID}.png", separation.background.image)
        write_image(folder / "background" / f"{CAMERA_ID}_seen.png", (seen * 255).astype(np.uint8))
