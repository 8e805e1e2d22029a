"""INSTA (also RGBAvatar, GaussianBlendshapes): ``transforms.json`` with FLAME's expression, made from metrical-tracker.

Conventions of the format: ``transform_matrix`` is camera-to-world **left in OpenCV axes**; FLAME rests in the world and
the camera moves (told as a standing camera before a moving head); ``exp_path`` holds 100 numbers as text. Where the
tracker's ``checkpoint/`` lies beside it, jaw, eyes and lids are taken from there, since INSTA's files lack them. Images
are RGBA (matted) or have a matte in ``matted/``. Splits are those of ``transforms_{train,test}.json``, or else the last
350 frames (at most a third) are "test". The rate is not stored: 25 by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import rigid_matrix
from capture.formats.files import count, inside, mentions, numbers, read_json, read_text, reading
from capture.formats.flame import flame_track
from capture.formats.footage import Footage, stills
from capture.formats.metrical import FOLDER, read_checkpoints
from capture.formats.rates import TimedConfig, rate
from capture.formats.still_camera import stand_still
from capture.readers import footage_reader
from capture.readers.nerfstudio import image_path, intrinsics_of
from studio.captures import Split
from studio.codes import FLAME2020_100, CodeTrack

EXPECTED = "frames with file_path, exp_path and transform_matrix [4,4]"
USUAL_FPS = 25.0
_WHOLE, _PARTS = "transforms.json", {"train": "transforms_train.json", "test": "transforms_test.json"}
_TEST_FRAMES = 350


def accepts(source: Path) -> bool:
    """Whether it is a folder with such a description."""
    return any(mentions(source / name, '"transform_matrix"', '"exp_path"') for name in (_WHOLE, _PARTS["train"]))


def describe(source: Path, config: TimedConfig) -> Footage:
    """The images, the moving camera and FLAME's parameters."""
    parts = {split: source / file for split, file in _PARTS.items() if (source / file).is_file()}
    files = [source / _WHOLE] if (source / _WHOLE).is_file() or not parts else list(parts.values())
    described = [read_json(path, EXPECTED) for path in files]
    with reading(files[0], EXPECTED):
        frames = {str(frame["file_path"]): frame for data in described for frame in data["frames"]}
        names = sorted(frames)[: config.frames]
        if not names:
            raise ValueError("0 frames")
        size = count(described[0]["w"], "w"), count(described[0]["h"], "h")
        K = intrinsics_of(described[0], size, str(files[0]))
        poses = np.stack([rigid_matrix(frames[name]["transform_matrix"], f"the pose of {name}") for name in names])
        images = [image_path(source, name) for name in names]
    fps = rate(config, USUAL_FPS)
    viewmats, motion = stand_still(np.linalg.inv(poses))
    return Footage(
        format="insta",
        viewmats=viewmats,
        Ks=K[None],
        size=size,
        camera_ids=["0"],
        timestep_ids=[path.stem for path in images],
        fps=fps,
        streams=[stills(images, [_matte(path) for path in images])],
        described_by=files,
        splits=_splits(parts, names),
        tracks={"flame": _track(source, [frames[name] for name in names], images, motion, fps)},
        beside=source,
    )


def _matte(image: Path) -> Path | None:
    path = image.parent.parent / "matted" / image.name
    return path if path.is_file() else None


def _track(
    source: Path, frames: list[Mapping[str, Any]], images: list[Path], motion: np.ndarray, fps: float
) -> CodeTrack:
    beside = [source / FOLDER / f"{path.stem}.frame" for path in images]
    if all(path.is_file() for path in beside):
        parameters = read_checkpoints(beside, None).parameters
    else:
        parameters = {"expr": np.stack([_expression(inside(source, frame.get("exp_path"))) for frame in frames])}
    return flame_track(parameters, fps, str(source), motion, FLAME2020_100)


def _expression(path: Path) -> np.ndarray:
    with reading(path, "100 numbers, one on each line"):
        return numbers([float(word) for word in read_text(path).split()], (100,), str(path))


def _splits(parts: Mapping[str, Path], names: list[str]) -> dict[str, Split]:
    """Those of the parts, or the last frames as "test"."""
    places = {name: index for index, name in enumerate(names)}
    found = {}
    for split, path in parts.items():
        data = read_json(path, EXPECTED)
        with reading(path, EXPECTED):
            listed = {str(frame["file_path"]) for frame in data["frames"]}
        if times := tuple(sorted(places[name] for name in listed if name in places)):
            found[split] = Split(times, (0,))
    if not found and len(names) > 2:
        cut = len(names) - min(_TEST_FRAMES, len(names) // 3)
        found = {"train": Split(tuple(range(cut)), (0,)), "test": Split(tuple(range(cut, len(names))), (0,))}
    return found


READER = footage_reader(TimedConfig, accepts, describe)
