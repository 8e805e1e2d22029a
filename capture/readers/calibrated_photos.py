"""Calibrated photos of something that holds still: a folder with images and a cameras.json that lists K, R and t.

    {"frames": [{"file": "images/00001.jpg", "K": 3x3, "R_world_to_cam": 3x3, "t": [3]}, …], "look_at": [3] (optional)}

OpenCV axes, no distortion. The unit of length and the world are the file's own: photos alone do not tell a scale.
Every photo is a camera of one moment; every eighth is "novel_view".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capture.formats.axes import checked_intrinsics, rigid_matrix
from capture.formats.files import inside, mentions, numbers, read_json, reading
from capture.formats.footage import Footage, FootageConfig, stills
from capture.formats.pictures import picture_size
from capture.readers import footage_reader
from capture.readers.nerfstudio import image_names

FILE = "cameras.json"
EXPECTED = "frames that have file, K [3,3], R_world_to_cam [3,3] and t [3]"


def accepts(source: Path) -> bool:
    """Whether ``source`` is a folder of this format (and no capture, whose cameras.json is another one)."""
    return mentions(source / FILE, '"R_world_to_cam"') and not (source / "manifest.json").exists()


def describe(source: Path, config: FootageConfig) -> Footage:
    """The cameras and photos."""
    path = source / FILE
    data = read_json(path, EXPECTED)
    with reading(path, EXPECTED):
        frames = list(data["frames"])
        if not frames:
            raise ValueError("0 frames")
        photos = [inside(source, frame["file"]) for frame in frames]
        Ks = [checked_intrinsics(frame["K"], f"K of {frame['file']}") for frame in frames]
        viewmats = [
            rigid_matrix(
                np.column_stack((numbers(frame["R_world_to_cam"], (3, 3), "R"), numbers(frame["t"], (3,), "t"))),
                f"R_world_to_cam of {frame['file']}",
            )
            for frame in frames
        ]
        look_at = data.get("look_at")
        if look_at is not None:
            look_at = numbers(look_at, (3,), f"look_at of {path}").tolist()
    return Footage(
        format="calibrated_photos",
        viewmats=np.stack(viewmats),
        Ks=np.stack(Ks),
        size=picture_size(photos[0], str(photos[0])),
        camera_ids=image_names([str(frame["file"]) for frame in frames]),
        timestep_ids=["0"],
        fps=0.0,
        streams=[[load] for load in stills(photos)],
        described_by=[path],
        beside=source,
        units="radians, pixels; lengths in the unit of the source",
        body={"look_at": look_at},
    )


READER = footage_reader(FootageConfig, accepts, describe)
