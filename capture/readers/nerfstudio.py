"""nerfstudio and instant-NGP: a folder (or its file) ``transforms.json`` and the images that it names.

Conventions of the format: ``transform_matrix`` is camera-to-world with OpenGL axes (x right, y up, z backward); pixel
centres at +0.5; intrinsics in pixels for all frames at the top level, or in every frame, or only a horizontal field
of view (``camera_angle_x``, radians). ``camera_model`` OPENCV (k1 k2 p1 p2 [k3]), OPENCV_FISHEYE (k1 … k4) or without
distortion. ``mask_path``: black is ignored, so it is the matte here; images may have alpha instead, and may lack
their suffix (instant-NGP). The world is z up where ``orientation_override`` is "none" (what ``studio export``
writes), or else turned so that the images' tops point up; lengths are the file's own. Every frame is a camera of one
moment; every eighth is "novel_view".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import from_opengl, intrinsic_matrix, rigid_matrix
from capture.formats.files import count, inside, mentions, numbers, read_json, reading
from capture.formats.footage import Footage, FootageConfig, plain_name, stills
from capture.formats.lenses import Lens, make_lens
from capture.formats.pictures import IMAGE_SUFFIXES, picture_size
from capture.readers import footage_reader
from studio.cameras import focal_from_fov
from studio.errors import StudioError

FILE = "transforms.json"
EXPECTED = "frames with file_path and transform_matrix [4,4]"
_DISTORTION = {"OPENCV": ("k1", "k2", "p1", "p2", "k3"), "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4")}
_OF_OTHERS = ('"timestep_index"', '"exp_path"')  # VHAP, INSTA


def find_file(source: Path) -> Path:
    """The description of a source that is the folder or the file itself."""
    return source / FILE if source.is_dir() else source


def accepts(source: Path) -> bool:
    """Whether it is described by a transforms.json without the keys of formats that build on it."""
    path = find_file(source)
    return (
        path.suffix == ".json"
        and mentions(path, '"transform_matrix"')
        and not any(mentions(path, word) for word in _OF_OTHERS)
    )


def describe(source: Path, config: FootageConfig) -> Footage:
    """The cameras and images of a transforms.json."""
    path = find_file(source)
    data = read_json(path, EXPECTED)
    with reading(path, EXPECTED):
        frames = list(data["frames"])
        if not frames:
            raise ValueError("0 frames")
        images = [image_path(path.parent, frame["file_path"]) for frame in frames]
        masks = [inside(path.parent, frame["mask_path"]) if "mask_path" in frame else None for frame in frames]
        size = _size(data, frames[0], images[0])
        Ks = np.stack([intrinsics_of(data | frame, size, frame["file_path"]) for frame in frames])
        lenses = [_lens(data | frame, K, frame["file_path"]) for frame, K in zip(frames, Ks, strict=True)]
        poses = np.stack([rigid_matrix(frame["transform_matrix"], f"{frame['file_path']}'s pose") for frame in frames])
    return Footage(
        format="nerfstudio",
        viewmats=from_opengl(poses),
        Ks=Ks,
        size=size,
        camera_ids=image_names([str(frame["file_path"]) for frame in frames]),
        timestep_ids=["0"],
        fps=0.0,
        streams=[[load] for load in stills(images, masks)],
        described_by=[path],
        up="z" if data.get("orientation_override") == "none" else "auto",
        lenses=lenses,
        beside=path.parent,
        units="radians, pixels; lengths in the unit of the source",
    )


def image_path(folder: Path, name: object) -> Path:
    """An image that a frame names, with the suffix that instant-NGP's files leave out. Raises StudioError."""
    path = inside(folder, name)
    if path.suffix.lower() in IMAGE_SUFFIXES or path.is_file():
        return path
    return next((found for suffix in IMAGE_SUFFIXES if (found := Path(f"{path}{suffix}")).is_file()), path)


def image_names(paths: list[str]) -> list[str]:
    """A name for the camera of each image: that of the file, with its folder where names would repeat."""
    stems = [plain_name(Path(path).stem) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    return [plain_name(str(Path(path).with_suffix("")).lstrip("./")) for path in paths]


def intrinsics_of(values: Mapping[str, Any], size: tuple[int, int], what: str) -> np.ndarray:
    """K [3, 3] of a frame with the top level's values behind it; pixels of an image of ``size``."""
    width, height = size
    if "fl_x" in values:
        fx = values["fl_x"]
    else:
        fov = float(numbers(values["camera_angle_x"], (), f"camera_angle_x of {what}"))
        if not 0 < fov < np.pi:
            raise StudioError(f"camera_angle_x of {what}", got=fov, expected="between 0 and pi")
        fx = focal_from_fov(fov, width)
    fy = values.get("fl_y", fx)
    return intrinsic_matrix(fx, fy, values.get("cx", width / 2), values.get("cy", height / 2), what)


def _size(data: Mapping[str, Any], frame: Mapping[str, Any], image: Path) -> tuple[int, int]:
    """(width, height) of the images; a calibration for another size is an error later on, when they are read."""
    values = {**data, **frame}
    if "w" in values and "h" in values:
        return count(values["w"], f"w in {FILE}"), count(values["h"], f"h in {FILE}")
    return picture_size(image, str(image))


def _lens(values: Mapping[str, Any], K: np.ndarray, what: str) -> Lens | None:
    model = values.get("camera_model", "OPENCV")
    if model in ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE"):
        return None
    if model not in _DISTORTION:
        raise StudioError(f"{what}: no such camera model", got=model, expected="PINHOLE | OPENCV | OPENCV_FISHEYE")
    coefficients = [float(numbers(values.get(name, 0.0), (), f"{name} of {what}")) for name in _DISTORTION[model]]
    return make_lens(K, tuple(coefficients), what, fisheye=model == "OPENCV_FISHEYE")


READER = footage_reader(FootageConfig, accepts, describe)
