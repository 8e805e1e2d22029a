"""NeRSemble v1's layout: ``001/sequences/<sequence>/frame_<t>/…``; conventions as in its reader.

World-to-camera with OpenCV axes; images are called half of the size that K holds for, which the file states
(``width``, ``height``). One K where all cameras share it, as NeRSemble has it, or else one for each serial, as in its
benchmark. Background plates go where version 2 has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from capture.formats.folders import camera_matrices, copy_beside, write_pictures
from capture.writers import Writer
from studio.captures import Capture
from studio.folders import write_json
from studio.media.images import write_image

_PERSON = "001"
_SCALE = 2


def write(capture: Capture, folder: Path) -> Path:
    """Write the person's folder; returns the sequence's."""
    sequence = folder / _PERSON / "sequences" / capture.folder.name
    kinds = {"images": f"images-2x-{capture.fps:g}fps", "alpha": f"alpha_map-{capture.fps:g}fps"}

    def place(kind: str, time: int, view: int) -> Path:
        return sequence / f"frame_{capture.timestep_ids[time]}" / kinds[kind] / f"cam_{capture.cameras.ids[view]}.png"

    write_pictures(capture, place)
    viewmats, Ks = camera_matrices(capture)
    ids, scaled = capture.cameras.ids, Ks * np.array([_SCALE, _SCALE, 1.0])[:, None]
    shared = bool((scaled == scaled[0]).all())
    calibration = {
        "world_2_cam": {name: viewmat.tolist() for name, viewmat in zip(ids, viewmats, strict=True)},
        "intrinsics": scaled[0].tolist() if shared else dict(zip(ids, scaled.tolist(), strict=True)),
        "width": _SCALE * capture.cameras.width,
        "height": _SCALE * capture.cameras.height,
    }
    write_json(folder / _PERSON / "camera_params.json", calibration)
    for index, name in enumerate(ids):
        plate = capture.background(index)
        if plate is not None:
            write_image(sequence.parent / "BACKGROUND" / f"image_{name}.png", plate)
    copy_beside(capture, sequence)
    return sequence


WRITER = Writer(write)
