"""NeRSemble v2: a sequence folder ``<root>/<person>/sequences/<sequence>`` with ``images/cam_<serial>.mp4``.

    <person>/calibration/{camera_params.json, color_calibration.json}, <person>/sequences/BACKGROUND/image_<serial>.jpg

Conventions of the format: as NeRSemble v1 for the cameras; K may also be given for each serial. Colour: sRGB decoded, a
polynomial of the channels (the number of columns of the matrix tells which), encoded again; applied to frames and
background plates. There are no mattes: ``studio check`` and the plates serve there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from capture.formats.files import read_json
from capture.formats.footage import Footage, FootageConfig, Mapped, stills
from capture.formats.nersemble_colour import apply_ccm, check_ccm
from capture.formats.nersemble_videos import is_video_sequence, read_video_sequence
from capture.readers import footage_reader

CALIBRATION = "color_calibration.json"


def accepts(source: Path) -> bool:
    """Whether it is a sequence of videos without the benchmark's mattes."""
    return is_video_sequence(source) and not (source / "alpha_maps").is_dir()


def describe(source: Path, config: FootageConfig) -> Footage:
    """The cameras, videos, colour calibration and background plates of a sequence."""
    sequence = read_video_sequence(source)
    path = sequence.person / "calibration" / CALIBRATION
    stored = read_json(path, "{serial: colour correction matrix}") if path.is_file() else {}
    serials = sequence.rig.serials
    matrices = {serial: check_ccm(stored[serial], f"{path}: {serial}") for serial in serials if serial in stored}
    plates = {serial: source.parent / "BACKGROUND" / f"image_{serial}.jpg" for serial in serials}
    streams: list[Mapped] = []
    for serial, clip in zip(serials, sequence.clips(), strict=True):
        streams.append(Mapped(clip, _correction(matrices, serial)))
    backgrounds = {
        serial: next(iter(Mapped(stills([plate]), _correction(matrices, serial))))
        for serial, plate in plates.items()
        if plate.is_file()
    }
    return Footage(
        format="nersemble_v2",
        viewmats=sequence.rig.viewmats,
        Ks=sequence.rig.Ks,
        size=sequence.size,
        camera_ids=serials,
        timestep_ids=[f"{index:05d}" for index in range(sequence.frames)],
        fps=sequence.fps,
        streams=streams,
        described_by=[sequence.calibration, *([path] if path.is_file() else [])],
        backgrounds=backgrounds,
        beside=source,
    )


def _correction(matrices: dict[str, np.ndarray], serial: str) -> partial[np.ndarray]:
    if serial not in matrices:
        return partial(np.asarray)
    return partial(apply_ccm, matrix=matrices[serial])


READER = footage_reader(FootageConfig, accepts, describe)
