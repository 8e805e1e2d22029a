"""A rig's videos with their calibration: a folder with ``calibration.json`` and one video for each camera.

    {"width": 1920, "height": 1080, "cameras": [{"id": "left", "file": "left.mp4" (or <id> with any video's suffix),
     "K": 3x3, "world_to_camera": 4x4 (or "R": 3x3 and "t": [3]), "distortion": [k1, k2, p1, p2, k3 …] (optional),
     "fisheye": false}, …], "audio": "sound.wav" (optional)}

OpenCV axes and coefficients, metres, pixel centres at +0.5; the world is turned until the images' tops point up.
``background/<id>.png`` is what a camera sees without the person. The videos are in sync from their first frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import checked_intrinsics, rigid_matrix
from capture.formats.files import inside, mentions, numbers, read_json, reading
from capture.formats.footage import Clip, Footage, FootageConfig, common_length
from capture.formats.lenses import make_lens
from capture.formats.pictures import read_picture
from capture.readers import footage_reader
from studio.errors import StudioError

FILE = "calibration.json"
EXPECTED = "cameras with id, K [3,3], world_to_camera [4,4]"
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def accepts(source: Path) -> bool:
    """Whether it is a folder with such a calibration."""
    return mentions(source / FILE, '"cameras"')


def describe(source: Path, config: FootageConfig) -> Footage:
    """The cameras and videos of a calibration."""
    path = source / FILE
    data = read_json(path, EXPECTED)
    with reading(path, EXPECTED):
        cameras = [dict(camera) for camera in data["cameras"]]
        ids = [str(camera["id"]) for camera in cameras]
        Ks = [checked_intrinsics(camera["K"], f"K of camera {name}") for name, camera in zip(ids, cameras, strict=True)]
        viewmats = [_pose(camera, name) for name, camera in zip(ids, cameras, strict=True)]
        lenses = [
            make_lens(K, _coefficients(camera, name), f"camera {name}", fisheye=bool(camera.get("fisheye", False)))
            for name, camera, K in zip(ids, cameras, Ks, strict=True)
        ]
        videos = [_video(source, camera, name) for name, camera in zip(ids, cameras, strict=True)]
        audio = inside(source, data["audio"]) if "audio" in data else None
        stated = (data.get("width"), data.get("height"))
    frames, fps, size = common_length(videos)
    if stated != (None, None) and stated != size:
        raise StudioError(
            f"the videos in {source} are of another size than {FILE} says",
            got=f"{size[0]}x{size[1]}",
            expected=f"{stated[0]}x{stated[1]}",
            next="scale K and the size in it to the videos",
        )
    plates = {name: source / "background" / f"{name}.png" for name in ids if name.isprintable() and "/" not in name}
    return Footage(
        format="calibrated_videos",
        viewmats=np.stack(viewmats),
        Ks=np.stack(Ks),
        size=size,
        camera_ids=ids,
        timestep_ids=[f"{index:05d}" for index in range(frames)],
        fps=fps,
        streams=[Clip(video) for video in videos],
        described_by=[path],
        up="auto",
        lenses=lenses,
        backgrounds={name: partial(read_picture, plate) for name, plate in plates.items() if plate.is_file()},
        beside=source,
        audio=audio,
    )


def _pose(camera: Mapping[str, Any], name: str) -> np.ndarray:
    if "world_to_camera" in camera:
        return rigid_matrix(camera["world_to_camera"], f"world_to_camera of camera {name}")
    rotation = numbers(camera["R"], (3, 3), f"R of camera {name}")
    return rigid_matrix(
        np.column_stack((rotation, numbers(camera["t"], (3,), f"t of camera {name}"))), f"camera {name}"
    )


def _coefficients(camera: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = numbers(camera.get("distortion", []), (-1,), f"distortion of camera {name}")
    allowed = (0, 4) if camera.get("fisheye") else (0, 4, 5, 8)
    if len(values) not in allowed:
        raise StudioError(f"distortion of camera {name}", got=f"{len(values)} numbers", expected=f"one of {allowed}")
    return tuple(values.tolist())


def _video(source: Path, camera: Mapping[str, Any], name: str) -> Path:
    if "file" in camera:
        return inside(source, camera["file"])
    candidates = [inside(source, f"{name}{suffix}") for suffix in VIDEO_SUFFIXES]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise StudioError(f"no video of camera {name} in {source}", expected=" | ".join(p.name for p in candidates))
    return found


READER = footage_reader(FootageConfig, accepts, describe)
