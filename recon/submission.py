"""NeRSemble benchmark submissions: ``<person>/<sequence>/cam_<serial>.mp4`` in a zip, as its server expects them.

Facts from the benchmark's own toolkit: H.264 at crf 14; nvs: 1100x1604, 73 frames/s, the three hold-out cameras;
mono_flame_avatar: 512x512, 24.3 frames/s, the three hold-out cameras and that of training, four sequences.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from capture.formats.nersemble_rig import read_rig
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.media.video_reader import probe
from studio.media.video_writer import VideoWriter

_SEQUENCE = re.compile(r"[\w+-]+")
_AGREE = 1e-3  # metres, and elements of a rotation: how well the capture's cameras must fit the calibration
_CLEAR = 8  # of 255: pixels with less matte show the background


@dataclass(frozen=True)
class Task:
    """What the server wants: (width, height), frames per second, serials; person -> its sequences."""

    size: tuple[int, int]
    fps: float
    serials: tuple[str, ...]
    sequences: Mapping[str, tuple[str, ...]]


_MONO = ("EMO-1-shout+laugh", "FREE", "SEN-09-frown_events_bad", "SEN-10-port_strong_smokey")
TASKS: Mapping[str, Task] = {
    "nvs": Task(
        (1100, 1604),
        73.0,
        ("222200037", "222200039", "222200046"),
        {
            "388": ("GLASSES",),
            "422": ("EXP-2-eyes",),
            "443": ("FREE",),
            "445": ("EXP-6-tongue-1",),
            "475": ("HAIR",),
        },
    ),
    "mono_flame_avatar": Task(
        (512, 512),
        24.3,
        ("220700191", "222200037", "222200039", "222200046"),
        {person: _MONO for person in ("393", "404", "461", "477", "486")},
    ),
}


def task_named(name: str) -> Task:
    """A task of the benchmark. Raises StudioError naming those that exist."""
    if name not in TASKS:
        raise StudioError("unknown task of the benchmark", got=name, expected=" | ".join(TASKS))
    return TASKS[name]


def write_submission(
    avatar: Avatar,
    capture: Capture,
    track: CodeTrack,
    calibration: Path,
    task: Task,
    person: str,
    sequence: str,
    folder: Path,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Render all frames of a sequence from the task's cameras into ``folder/<person>/<sequence>``.

    Args:
        avatar: what is submitted.
        capture: the sequence, in whose world the avatar is.
        track: codes of every frame.
        calibration: camera_params.json of the person, with the hold-out cameras.
        task: of the benchmark.
        person: three digits.
        sequence: its name in the benchmark.
        folder: of the submission; other sequences may be there already.
        on_step: called with frames done and frames in all.

    Raises:
        StudioError: a person or sequence that the task does not have, cameras that do not fit, or a video that exists.
    """
    if sequence not in task.sequences.get(person, ()):
        wanted = "; ".join(f"{name}: {', '.join(found)}" for name, found in task.sequences.items())
        raise StudioError("the task does not have this sequence", got=f"{person} {sequence}", expected=wanted)
    cameras = _cameras(capture, calibration, task)
    behind = torch.from_numpy(background_color(capture)).float() / 255
    paths = [folder / person / sequence / f"cam_{serial}.mp4" for serial in task.serials]
    for path in paths:
        if path.exists():
            raise StudioError(f"{path} exists already", next="choose another folder")
    done = 0
    for path, camera in zip(paths, (cameras[index] for index in range(len(cameras))), strict=True):
        with VideoWriter(path, task.fps, task.size, quality="benchmark") as writer:
            for step in range(len(track)):
                writer.write(avatar.render(camera, track.codes[step]).pixels(behind)[0])
                done += 1
                if on_step is not None:
                    on_step(done, len(track) * len(paths))
    return paths


def background_color(
    capture: Capture,
) -> np.ndarray:
    """[3] uint8: what photos show where the matte is clear, as the benchmark removed the background; else white."""
    seen = []
    for step in np.linspace(0, len(capture) - 1, min(3, len(capture))).round().astype(int).tolist():
        frame = capture.frame(step)
        if frame.alpha is not None:
            seen.append(frame.image[frame.alpha < _CLEAR])
    pixels = np.concatenate(seen) if seen else np.zeros((0, 3), np.uint8)
    return np.full(3, 255, np.uint8) if not len(pixels) else np.median(pixels, axis=0).astype(np.uint8)


def _cameras(capture: Capture, calibration: Path, task: Task) -> Camera:
    """The task's cameras in the capture's world, which ingesting may have turned."""
    rig = read_rig(calibration, task.size)
    places = {serial: torch.from_numpy(view).double() for serial, view in zip(rig.serials, rig.viewmats)}
    missing = sorted(set(task.serials) - places.keys())
    if missing:
        raise StudioError(f"{calibration} lacks cameras of the task", got=", ".join(missing))
    shared = [name for name in capture.cameras.ids if name in places]
    if not shared:
        raise StudioError("the capture has no camera of this calibration", got=", ".join(capture.cameras.ids))
    own = capture.cameras.viewmats.double()
    worlds = torch.stack([torch.linalg.inv(places[n]) @ own[capture.cameras.ids.index(n)] for n in shared])
    if float((worlds - worlds[0]).abs().max()) > _AGREE:
        raise StudioError("the capture's cameras do not fit this calibration", next="give that of the same person")
    views = torch.stack([places[serial] @ worlds[0] for serial in task.serials]).float()
    Ks = torch.stack([torch.from_numpy(rig.Ks[rig.serials.index(serial)]) for serial in task.serials]).float()
    return Camera(views, Ks, *task.size, task.serials)


def pack(folder: Path, task: Task, out: Path) -> tuple[Path, list[str]]:
    """Zip a submission folder; returns the file and what the server would miss in it.

    Raises:
        StudioError: a video of another size, no video, or ``out`` exists.
    """
    if out.exists():
        raise StudioError(f"{out} exists already", next="choose another name")
    expected = [f"{p}/{s}/cam_{c}.mp4" for p, names in task.sequences.items() for s in names for c in task.serials]
    there = [name for name in expected if (folder / name).is_file()]
    if not there:
        raise StudioError(f"no video of the task in {folder}", expected=expected[0])
    for name in there:
        info = probe(folder / name)
        if (info.width, info.height) != task.size:
            raise StudioError(f"{folder / name} has another size", got=(info.width, info.height), expected=task.size)
    temporary = out.with_name(f".{out.name}.partial")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in there:
                archive.write(folder / name, name)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out, missing_of(there, expected)


def missing_of(there: Sequence[str], expected: Sequence[str]) -> list[str]:
    """What is expected and not there."""
    return sorted(set(expected) - set(there))
