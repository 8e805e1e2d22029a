"""Calibrated photos of something that holds still: a folder with images and a cameras.json that lists K, R and t.

    {"frames": [{"file": "images/00001.jpg", "K": 3x3, "R_world_to_cam": 3x3, "t": [3]}, …], "look_at": [3] (optional)}

OpenCV axes, no distortion. The unit of length is the file's own: photos alone do not tell it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from capture.formats.files import inside, numbers
from capture.formats.terms import Terms
from capture.readers import NoSettings, Reader
from studio.cameras import Camera
from studio.captures import Split, capture_body, write_cameras
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, write_folder
from studio.media.images import read_image, write_image
from studio.rotations import rigid

HOLD_OUT_EVERY = 8  # the field's custom for novel views
_EXPECTED = "cameras.json with frames that have file, K [3,3], R_world_to_cam [3,3] and t [3]"


def accepts(source: Path) -> bool:
    """Whether ``source`` is a folder of this format."""
    if not (source / "cameras.json").is_file() or (source / "manifest.json").exists():
        return False
    return '"R_world_to_cam"' in (source / "cameras.json").read_text(errors="replace")


def ingest_photos(source: Path, out: Path, terms: Terms | None = None) -> Path:
    """Write a capture with one timestep and one camera per photo; every eighth photo is the split "novel_view".

    Args:
        source: folder with cameras.json and the photos that it names.
        out: the capture folder to make.
        terms: of the recording.

    Returns:
        ``out``.

    Raises:
        StudioError: cameras.json or a photo is missing, damaged or does not fit; ``out`` exists.
    """
    data = _read_description(source)
    frames = data["frames"]
    names = [Path(str(frame["file"])).stem for frame in frames]
    cameras = _cameras(source, frames, names)
    held_out = tuple(range(0, len(names), HOLD_OUT_EVERY))
    kept = tuple(index for index in range(len(names)) if index % HOLD_OUT_EVERY)
    splits = {"train": Split((0,), kept), "novel_view": Split((0,), held_out)}
    body = capture_body(("0",), 0.0, splits) | {"format": "calibrated_photos", "look_at": data.get("look_at")}
    manifest = Manifest(
        kind="capture",
        units="radians, pixels; lengths in the unit of the source",
        axes="world as in the source; cameras OpenCV (x right, y down, z forward)",
        parents={source.name: content_hash(source / "cameras.json")},
        licence=(terms or Terms()).licence,
        consent=(terms or Terms()).consent,
        body=body,
    )
    with write_folder(out, manifest) as folder:
        write_cameras(folder / "cameras.json", cameras)
        for name, frame in zip(names, frames, strict=True):
            image = read_image(inside(source, frame["file"]))
            if image.shape != (cameras.height, cameras.width, 3):
                raise StudioError(
                    f"photos of different sizes in {source}",
                    got=f"{frame['file']} is {image.shape[1]}x{image.shape[0]}",
                    expected=f"{cameras.width}x{cameras.height} as the first",
                    next="scale the photos and their K to one size",
                )
            write_image(folder / "images" / name / "0.png", image)
    return out


def _read_description(source: Path) -> dict[str, Any]:
    path = source / "cameras.json"
    try:
        data = json.loads(path.read_text())
        files = [frame["file"] for frame in data["frames"]]
        if data.get("look_at") is not None:
            data["look_at"] = numbers(data["look_at"], (3,), f"look_at of {path}").tolist()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudioError(f"cannot read {path}", got=repr(error), expected=_EXPECTED) from error
    if not files:
        raise StudioError(f"no photos in {path}", got="0 frames", expected="at least one frame")
    return data


def _cameras(source: Path, frames: list[dict[str, Any]], names: list[str]) -> Camera:
    try:
        Ks = np.array([frame["K"] for frame in frames], dtype=np.float64)
        rotations = np.array([frame["R_world_to_cam"] for frame in frames], dtype=np.float64)
        translations = np.array([frame["t"] for frame in frames], dtype=np.float64)
    except (KeyError, ValueError, TypeError) as error:
        raise StudioError(f"damaged {source / 'cameras.json'}", got=repr(error), expected=_EXPECTED) from error
    if Ks.shape[1:] != (3, 3) or rotations.shape[1:] != (3, 3) or translations.shape[1:] != (3,):
        raise StudioError(
            f"damaged {source / 'cameras.json'}", got=f"K {Ks.shape}, t {translations.shape}", expected=_EXPECTED
        )
    wrong = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2)) > 1e-3
    if wrong.any():
        raise StudioError(
            f"{int(wrong.sum())} matrices in {source / 'cameras.json'} are no rotations",
            got=frames[int(wrong.argmax())]["file"],
            expected="R_world_to_cam orthonormal",
        )
    height, width = read_image(inside(source, frames[0]["file"])).shape[:2]
    viewmats = rigid(torch.from_numpy(rotations), torch.from_numpy(translations)).float()
    return Camera(viewmats, torch.from_numpy(Ks).float(), width, height, tuple(names))


def _read(source: Path, out: Path, settings: NoSettings, terms: Terms | None = None) -> Path:
    return ingest_photos(source, out, terms)


READER = Reader(NoSettings, accepts, _read)
