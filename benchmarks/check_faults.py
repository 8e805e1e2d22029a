"""Faults of captures, as they happen: each changes a copy of a capture and says what ``studio check`` should find.

A copy shares its files with the original (hard links); what a fault changes is written anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from studio.cameras import Camera
from studio.captures import Capture, open_capture, write_cameras
from studio.media.audio import Audio, read_wav, write_wav
from studio.media.images import read_image, write_image

Kinds = tuple[str, ...]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Args:
        expected: kinds of findings any of which names it.
        make: (copy of a capture, random numbers) -> ids of the cameras of which one must be named; none for all.
        rigs: whether it needs several cameras.
        speech: whether it needs a clip in which somebody speaks for long.
    """

    expected: Kinds
    make: Callable[[Capture, np.random.Generator], tuple[str, ...]]
    rigs: bool = False
    speech: bool = False


def copy_of(capture: Path, out: Path) -> Capture:
    """A copy whose files are hard links."""
    shutil.copytree(capture, out, copy_function=os.link)
    return open_capture(out, complete=False)


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _draw(path: Path, image: np.ndarray) -> None:
    path.unlink(missing_ok=True)
    write_image(path, image)


def _recalibrate(capture: Capture, cameras: Camera) -> None:
    (capture.folder / "cameras.json").unlink()
    write_cameras(capture.folder / "cameras.json", cameras)


def _camera(capture: Capture, rng: np.random.Generator) -> int:
    return int(rng.integers(len(capture.cameras)))


def _some(capture: Capture, rng: np.random.Generator, most: int = 3) -> list[int]:
    """One to ``most`` timesteps, not the first or last."""
    count = int(rng.integers(1, most + 1))
    return sorted(rng.choice(np.arange(2, len(capture) - 2), count, replace=False).tolist())


def _edit(
    capture: Capture, camera: int, timesteps: list[int] | range, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    for timestep in timesteps:
        path = capture.file("images", timestep, camera)
        _draw(path, change(read_image(path)))


def _manifest(capture: Capture, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    path = capture.folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    _write(path, json.dumps(data).encode())


def _keep(capture: Capture, kept: list[int], taken: Callable[[int, int], int] = lambda camera, index: index) -> None:
    """Keep some timesteps; ``taken`` says of which timestep a camera shows the picture instead."""
    ids = capture.timestep_ids
    for kind in ("images", "alpha"):
        for camera in range(len(capture.cameras)):
            data = {index: capture.file(kind, taken(camera, index), camera).read_bytes() for index in kept}
            for index in range(len(ids)):
                capture.file(kind, index, camera).unlink(missing_ok=True)
            for index, content in data.items():
                _write(capture.file(kind, index, camera), content)
    for track in (capture.folder / "tracks").glob("*"):
        with np.load(track / "track.npz") as stored:
            arrays = {n: stored[n][kept] if len(stored[n]) == len(ids) else stored[n] for n in stored.files}
        (track / "track.npz").unlink()
        np.savez(track / "track.npz", **arrays)
    _manifest(capture, lambda data: data["body"].update(timestep_ids=[ids[i] for i in kept], splits={}))


def missing(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera = _camera(capture, rng)
    for timestep in _some(capture, rng):
        capture.file("images", timestep, camera).unlink()
    return (capture.cameras.ids[camera],)


def skipped(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    gone = _some(capture, rng, 2)
    _keep(capture, [index for index in range(len(capture)) if index not in gone])
    return ()


def truncated(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera = _camera(capture, rng)
    for timestep in _some(capture, rng):
        data = capture.file("images", timestep, camera).read_bytes()
        _write(capture.file("images", timestep, camera), data[: int(len(data) * rng.uniform(0.1, 0.95))])
    return (capture.cameras.ids[camera],)


def black(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera = _camera(capture, rng)
    level = int(rng.integers(0, 5))
    _edit(capture, camera, _some(capture, rng), lambda image: np.full_like(image, level))
    return (capture.cameras.ids[camera],)


def half_decoded(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera, share = _camera(capture, rng), rng.uniform(0.4, 0.9)

    def change(image: np.ndarray) -> np.ndarray:
        image = image.copy()
        image[int(share * len(image)) :] = 128
        return image

    _edit(capture, camera, _some(capture, rng), change)
    return (capture.cameras.ids[camera],)


def repeated(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera = _camera(capture, rng)
    motions = np.array([_change(capture, camera, t) for t in range(1, len(capture))])
    moving = np.flatnonzero(motions > 0.7 * np.median(motions)) + 1
    timestep = int(rng.choice(moving[moving < len(capture) - 1]))
    _write(capture.file("images", timestep, camera), capture.file("images", timestep - 1, camera).read_bytes())
    return (capture.cameras.ids[camera],)


def _change(capture: Capture, camera: int, timestep: int) -> float:
    a, b = (read_image(capture.file("images", t, camera)).astype(np.int16) for t in (timestep, timestep - 1))
    return float(np.abs(a - b).mean())


def half_size(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    chosen = range(len(capture.cameras)) if rng.random() < 0.5 else [_camera(capture, rng)]
    for camera in chosen:
        _edit(
            capture,
            camera,
            range(len(capture)),
            lambda i: cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        )
    return tuple(capture.cameras.ids[camera] for camera in chosen)


def other_size(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """K of the full-size pictures, while these are halved."""
    Ks = capture.cameras.Ks.clone()
    Ks[:, :2] *= float(rng.choice([0.5, 2.0]))
    _recalibrate(capture, replace(capture.cameras, Ks=Ks))
    return ()


def cropped(capture: Capture, rng: np.random.Generator, follow: bool) -> tuple[float, float]:
    """Cut a band off two sides of all pictures and scale the rest up; K follows if it is done properly."""
    size = capture.cameras.width
    share = rng.uniform(0.04, 0.07)  # more would cut heads
    left, top = round(share * size) * int(rng.integers(2)), 0
    side = size - round(share * size)
    for kind in ("images", "alpha"):
        for camera in range(len(capture.cameras)):
            for timestep in range(len(capture)):
                path = capture.file(kind, timestep, camera)
                image = read_image(path, gray=kind == "alpha")[top : top + side, left : left + side]
                _draw(path, cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC))
    if follow:
        _recalibrate(capture, capture.cameras.cropped(left, top, side, side).resized(size, size))
    return left, top


def uncropped_K(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """One camera's pictures were recorded with another window of the sensor, off the middle."""
    camera, size = _camera(capture, rng), capture.cameras.width
    shift = np.round(size * rng.uniform(0.06, 0.1) * np.array(rng.choice([-1, 1], 2))).astype(int)
    for kind in ("images", "alpha"):
        for timestep in range(len(capture)):
            path = capture.file(kind, timestep, camera)
            _draw(path, _shifted(read_image(path, gray=kind == "alpha"), shift))
    return (capture.cameras.ids[camera],)


def _shifted(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    mode = cv2.BORDER_CONSTANT if image.ndim == 2 else cv2.BORDER_REPLICATE
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=mode)


def _posed(capture: Capture, change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[str, ...]:
    viewmats = change(capture.cameras.viewmats.double()).float()
    _recalibrate(capture, replace(capture.cameras, viewmats=viewmats))
    return ()


def opengl(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    return _posed(capture, lambda v: torch.diag(v.new_tensor((1.0, -1.0, -1.0, 1.0))) @ v)


def inverted(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    return _posed(capture, torch.linalg.inv)


def opengl_inverted(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    return _posed(capture, lambda v: torch.linalg.inv(v) @ torch.diag(v.new_tensor((1.0, -1.0, -1.0, 1.0))))


def unity(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    def change(v: torch.Tensor) -> torch.Tensor:
        return torch.diag(v.new_tensor((1.0, -1.0, 1.0, 1.0))) @ v @ torch.diag(v.new_tensor((1.0, 1.0, -1.0, 1.0)))

    return _posed(capture, change)


def left_handed(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    flip = np.ones(4)
    flip[int(rng.integers(3))] = -1
    return _posed(capture, lambda v: v @ torch.diag(v.new_tensor(flip)))


def z_up(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.from_numpy(
        Rotation.from_euler("x", -90 if rng.random() < 0.5 else 90, degrees=True).as_matrix()
    )
    return _posed(capture, lambda v: v @ turn)


def millimetres(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    scale = float(rng.choice([1000.0, 100.0, 10.0]))

    def change(v: torch.Tensor) -> torch.Tensor:
        v = v.clone()
        v[:, :3, 3] *= scale
        return v

    return _posed(capture, change)


def knocked(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A camera turned by 1 to 2 degrees about an axis across its view, or moved sideways by 2 to 4 centimetres."""
    camera = _camera(capture, rng)
    angle = rng.uniform(0, 2 * np.pi)
    across = np.array([np.cos(angle), np.sin(angle), 0.0])
    turn = np.eye(4)
    if rng.random() < 0.6:
        turn[:3, :3] = Rotation.from_rotvec(np.radians(rng.uniform(1, 2)) * across).as_matrix()
    else:
        turn[:3, 3] = rng.uniform(0.02, 0.04) * across

    def change(v: torch.Tensor) -> torch.Tensor:
        v = v.clone()
        v[camera] = torch.from_numpy(turn) @ v[camera]
        return v

    _posed(capture, change)
    return (capture.cameras.ids[camera],)


def swapped(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    a, b = rng.choice(len(capture.cameras), 2, replace=False).tolist()
    for kind in ("images", "alpha"):
        first, second = (capture.folder / kind / capture.cameras.ids[c] for c in (a, b))
        spare = first.with_name("spare")
        first.rename(spare)
        second.rename(first)
        spare.rename(second)
    return capture.cameras.ids[a], capture.cameras.ids[b]


def doubled(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    a, b = rng.choice(len(capture.cameras), 2, replace=False).tolist()
    for kind in ("images", "alpha"):
        for timestep in range(len(capture)):
            _write(capture.file(kind, timestep, b), capture.file(kind, timestep, a).read_bytes())
    return capture.cameras.ids[a], capture.cameras.ids[b]


def same_pose(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    a, b = rng.choice(len(capture.cameras), 2, replace=False).tolist()
    viewmats = capture.cameras.viewmats.clone()
    viewmats[b] = viewmats[a]
    _recalibrate(capture, replace(capture.cameras, viewmats=viewmats))
    return capture.cameras.ids[a], capture.cameras.ids[b]


def late(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A camera that is 1 to 6 frames early."""
    camera, lag = _camera(capture, rng), int(rng.integers(1, 7))
    _keep(capture, list(range(len(capture) - lag)), lambda c, index: index + lag if c == camera else index)
    return (capture.cameras.ids[camera],)


def dropped(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A camera that loses 1 to 3 frames on the way, and is early from then on."""
    camera, lag = _camera(capture, rng), int(rng.integers(1, 4))
    at = int(len(capture) * rng.uniform(0.25, 0.6))
    _keep(
        capture, list(range(len(capture) - lag)), lambda c, index: index + lag if c == camera and index >= at else index
    )
    return (capture.cameras.ids[camera],)


def _gained(capture: Capture, camera: int, gains: np.ndarray) -> tuple[str, ...]:
    from capture.colour import to_linear, to_srgb

    def change(image: np.ndarray) -> np.ndarray:
        return (to_srgb(to_linear(image) * gains) * 255 + 0.5).astype(np.uint8)

    _edit(capture, camera, range(len(capture)), change)
    return (capture.cameras.ids[camera],)


def exposed(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """Half a stop to one stop."""
    stops = rng.uniform(0.5, 1.0) * float(rng.choice([-1, 1]))
    return _gained(capture, _camera(capture, rng), np.full(3, 2.0**stops))


def tinted(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """Red and blue 20 to 35 % apart."""
    ratio = np.sqrt(rng.uniform(1.2, 1.35)) ** float(rng.choice([-1, 1]))
    return _gained(capture, _camera(capture, rng), np.array([ratio, 1.0, 1 / ratio]))


def unfocused(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera, sigma = _camera(capture, rng), rng.uniform(1.8, 3.0)
    _edit(capture, camera, range(len(capture)), lambda image: cv2.GaussianBlur(image, (0, 0), sigma))
    return (capture.cameras.ids[camera],)


def smeared(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A few frames blurred along a line of 9 to 15 pixels at an angle."""
    camera, length = _camera(capture, rng), int(rng.integers(9, 16))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), float(rng.uniform(0, 180)), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    _edit(capture, camera, _some(capture, rng), lambda image: cv2.filter2D(image, -1, kernel / kernel.sum()))
    return (capture.cameras.ids[camera],)


def holed(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A hole of 8 to 14 % of the person's width in some mattes."""
    camera = _camera(capture, rng)
    for timestep in _some(capture, rng, 5):
        path = capture.file("alpha", timestep, camera)
        matte = read_image(path, gray=True).copy()
        inner = cv2.erode((matte > 200).astype(np.uint8), np.ones((25, 25), np.uint8))
        y, x = rng.choice(np.argwhere(inner > 0))
        wide = np.ptp(np.flatnonzero((matte > 128).any(0)))
        axes = np.maximum(0.5 * wide * rng.uniform(0.08, 0.14, 2) * (1.4, 1.0), 3).astype(int)
        cv2.ellipse(matte, (int(x), int(y)), axes.tolist(), 0, 0, 360, 0, -1)
        _draw(path, matte)
    return (capture.cameras.ids[camera],)


def unmatted(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    camera = _camera(capture, rng)
    for timestep in _some(capture, rng):
        capture.file("alpha", timestep, camera).unlink()
    return (capture.cameras.ids[camera],)


def lost_matte(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A matte that is empty, or lacks all below the chin, for a moment."""
    camera, share = _camera(capture, rng), float(rng.choice([0.0, 0.6]))
    for timestep in _some(capture, rng, 2):
        path = capture.file("alpha", timestep, camera)
        matte = read_image(path, gray=True).copy()
        matte[int(share * len(matte)) :] = 0
        _draw(path, matte)
    return (capture.cameras.ids[camera],)


def aimed_off(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """A camera whose picture misses a fifth or more of the head at a side or at the top."""
    camera, size = _camera(capture, rng), capture.cameras.width
    matte = (
        np.max([read_image(capture.file("alpha", t, camera), gray=True) for t in range(0, len(capture), 8)], axis=0)
        > 128
    )
    rows, columns = np.flatnonzero(matte.any(1)), np.flatnonzero(matte[: int(0.5 * size)].any(0))
    cut = rng.uniform(0.2, 0.35) * np.ptp(columns)
    moves = ((0, -(rows[0] + cut)), (-(columns[0] + cut), 0), (size - columns[-1] + cut, 0))
    shift = np.round(moves[int(rng.integers(3))]).astype(int)
    for kind in ("images", "alpha"):
        for timestep in range(len(capture)):
            path = capture.file(kind, timestep, camera)
            _draw(path, _shifted(read_image(path, gray=kind == "alpha"), shift))
    Ks = capture.cameras.Ks.clone()
    Ks[camera, :2, 2] += torch.from_numpy(shift).float()
    _recalibrate(capture, replace(capture.cameras, Ks=Ks))
    return (capture.cameras.ids[camera],)


def unexpressed(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """One expression that the subject performed is taken out of the track."""
    from studio.codes import ARKIT_CHANNELS

    path = capture.folder / "tracks" / "truth" / "track.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    strong = np.flatnonzero(np.quantile(arrays["expression"], 0.99, axis=0) > 0.5)
    channel = int(rng.choice(strong))
    arrays["expression"][:, channel] *= 0.2
    path.unlink()
    np.savez(path, **arrays)
    return (ARKIT_CHANNELS[channel],)


def soundless(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    (capture.folder / "audio.wav").unlink()
    return ()


def _resound(capture: Capture, change: Callable[[Audio], Audio]) -> tuple[str, ...]:
    path = capture.folder / "audio.wav"
    sound = change(read_wav(path))
    path.unlink()
    write_wav(path, sound)
    return ()


def silent(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    return _resound(capture, lambda sound: Audio((sound.samples * 1e-4).astype(np.float32), sound.rate))


def short_sound(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    share = float(rng.uniform(0.5, 0.85))
    return _resound(capture, lambda sound: sound.between(0.0, share * sound.duration))


def late_sound(capture: Capture, rng: np.random.Generator) -> tuple[str, ...]:
    """200 to 450 milliseconds early or late."""
    by = float(rng.uniform(0.2, 0.45) * rng.choice([-1, 1]))
    return _resound(capture, lambda sound: sound.between(-by, sound.duration - by))


FAULTS: Mapping[str, Fault] = {
    "missing frames": Fault(("missing_frames",), missing),
    "skipped frame numbers": Fault(("missing_frames",), skipped),
    "truncated files": Fault(("damaged_frames",), truncated),
    "black frames": Fault(("black_frames",), black),
    "half decoded frames": Fault(("cut_off_frames",), half_decoded),
    "repeated frame": Fault(("repeated_frames",), repeated),
    "pictures of half size": Fault(("image_size",), half_size),
    "K of another size": Fault(("principal_point", "image_size"), other_size),
    "K of another window": Fault(
        ("miscalibrated_camera", "principal_point_center", "principal_point_both"), uncropped_K, rigs=True
    ),
    "OpenGL axes": Fault(("axes_opengl",), opengl, rigs=True),
    "camera-to-world": Fault(("inverted",), inverted, rigs=True),
    "camera-to-world, OpenGL": Fault(("inverted_opengl",), opengl_inverted, rigs=True),
    "left-handed, Unity": Fault(("handedness", "axes_y_up"), unity, rigs=True),
    "left-handed world": Fault(("handedness",), left_handed, rigs=True),
    "z up": Fault(("world_up",), z_up, rigs=True),
    "millimetres": Fault(("world_unit",), millimetres, rigs=True),
    "knocked camera": Fault(("miscalibrated_camera", "swapped_cameras"), knocked, rigs=True),
    "swapped cameras": Fault(("swapped_cameras", "miscalibrated_camera"), swapped, rigs=True),
    "duplicated camera": Fault(("duplicated_cameras",), doubled, rigs=True),
    "same pose twice": Fault(("same_pose",), same_pose, rigs=True),
    "desynchronised": Fault(("desynchronised",), late, rigs=True),
    "dropped frames": Fault(("desynchronised",), dropped, rigs=True),
    "exposure": Fault(("exposure",), exposed, rigs=True),
    "white balance": Fault(("white_balance",), tinted, rigs=True),
    "out of focus": Fault(("blurred_camera",), unfocused),
    "motion blur": Fault(("blurred_frames",), smeared),
    "matte holes": Fault(("matte_holes", "matte_jumps"), holed),
    "missing mattes": Fault(("missing_mattes",), unmatted),
    "matte lost": Fault(("matte_jumps", "matte_holes"), lost_matte),
    "head out of frame": Fault(("head_out_of_frame",), aimed_off),
    "expression never shown": Fault(("expressions_missing",), unexpressed),
    "no sound": Fault(("sound_missing",), soundless),
    "silent sound": Fault(("sound_silent",), silent),
    "sound too short": Fault(("sound_length",), short_sound),
    "sound out of sync": Fault(("sound_late",), late_sound, speech=True),
}
