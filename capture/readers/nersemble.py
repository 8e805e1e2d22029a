"""NeRSemble v1: a sequence folder of the training release or of the layout that VHAP expects.

    <root>/<person>/sequences/<sequence>/frame_<t>/{images-2x-73fps,alpha_map-73fps}/cam_<serial>.png
    <root>/<person>/{camera_params.json, annotations/<sequence>/color_correction/<serial>.npy}
VHAP:
    <root>/<person>/<sequence>/{images,alpha_maps}/cam_<serial>_<t>.{jpg,png}
    <root>/{camera_params/<person>/camera_params.json, color_correction/<person>/<serial>.npy}

Conventions of the format: ``world_2_cam`` with OpenCV axes, metres, y up; one K for all cameras, for images of twice
the size (2200x3208) unless ``width`` and ``height`` say otherwise; no distortion. Colour: rgb · A[:3,:3] + A[:3,3] on
encoded values, applied where the files are. The rate is in the folder's name (73 frames/s).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from capture.formats.files import numbers, read_npy
from capture.formats.footage import Footage, Mapped, stills
from capture.formats.nersemble_colour import apply_affine
from capture.formats.nersemble_rig import read_rig
from capture.formats.pictures import Load, picture_size
from capture.formats.rates import TimedConfig, rate
from capture.readers import footage_reader
from studio.errors import StudioError

USUAL_FPS = 73.0
_IMAGES = re.compile(r"images(-\w+)?-(?P<fps>\d+(\.\d+)?)fps")
_FLAT_NAME = re.compile(r"cam_(?P<serial>.+)_(?P<time>[^_]+)")


@dataclass(frozen=True)
class _Sequence:
    """Where the files of a sequence are.

    Args:
        images: (serial, timestep) -> image.
        mattes: the same for mattes; those that do not exist are left out.
        calibration: camera_params.json.
        colours: folder of <serial>.npy; need not exist.
        fps: frames per second.
    """

    images: dict[tuple[str, str], Path]
    mattes: dict[tuple[str, str], Path]
    calibration: Path
    colours: Path
    fps: float


def accepts(source: Path) -> bool:
    """Whether it is a sequence folder of one of the two layouts."""
    return _frame_folders(source) != [] or _vhap_calibration(source).is_file()


def describe(source: Path, config: TimedConfig) -> Footage:
    """The cameras and images of a sequence."""
    sequence = _of_frames(source) if _frame_folders(source) else _of_vhap(source)
    if not sequence.images:
        raise StudioError(f"no images of NeRSemble in {source}", expected="images-2x-73fps/cam_<serial>.png")
    times = sorted({time for _, time in sequence.images}, key=_in_time)
    size = picture_size(image := next(iter(sequence.images.values())), str(image))
    rig = read_rig(sequence.calibration, size).chosen(sorted({serial for serial, _ in sequence.images}))
    streams: list[Iterable[Load]] = []
    for serial in rig.serials:
        images = [sequence.images.get((serial, time), Path()) for time in times]
        if Path() in images:
            missing = times[images.index(Path())]
            raise StudioError(f"camera {serial} of {source} lacks an image", got=f"no frame {missing}")
        loads = stills(images, [sequence.mattes.get((serial, time)) for time in times])
        colours = sequence.colours / f"{serial}.npy"
        if colours.is_file():
            matrix = numbers(read_npy(colours), (-1, 4), str(colours))
            if len(matrix) < 3:
                raise StudioError(f"{colours} is no colour correction", got=list(matrix.shape), expected="[4, 4]")
            streams.append(Mapped(loads, partial(apply_affine, matrix=matrix)))
        else:
            streams.append(loads)
    return Footage(
        format="nersemble",
        viewmats=rig.viewmats,
        Ks=np.asarray(rig.Ks),
        size=size,
        camera_ids=rig.serials,
        timestep_ids=times,
        fps=rate(config, sequence.fps),
        streams=streams,
        described_by=[sequence.calibration],
        beside=source,
    )


def _in_time(name: str) -> tuple[int, str]:
    return (int(name) if name.isdigit() and len(name) < 18 else 0, name)


def _frame_folders(source: Path) -> list[Path]:
    return sorted(path for path in source.glob("frame_*") if any(path.glob("images*fps")))


def _of_frames(source: Path) -> _Sequence:
    images: dict[tuple[str, str], Path] = {}
    mattes: dict[tuple[str, str], Path] = {}
    fps = USUAL_FPS
    for folder in _frame_folders(source):
        time = folder.name.removeprefix("frame_")
        pictures = next(path for path in sorted(folder.glob("images*fps")))
        found = _IMAGES.fullmatch(pictures.name)
        fps = float(found["fps"]) if found else fps
        masks = next(iter(sorted(folder.glob("alpha_map*fps"))), folder / "none")
        images |= {(path.stem.removeprefix("cam_"), time): path for path in sorted(pictures.glob("cam_*.png"))}
        mattes |= {(path.stem.removeprefix("cam_"), time): path for path in sorted(masks.glob("cam_*.png"))}
    person = source.parent.parent
    colours = person / "annotations" / source.name / "color_correction"
    return _Sequence(images, mattes, person / "camera_params.json", colours, fps)


def _vhap_calibration(source: Path) -> Path:
    return source.parent.parent / "camera_params" / source.parent.name / "camera_params.json"


def _of_vhap(source: Path) -> _Sequence:
    def found(folder: str) -> dict[tuple[str, str], Path]:
        matches = ((_FLAT_NAME.fullmatch(path.stem), path) for path in sorted((source / folder).glob("cam_*")))
        return {(match["serial"], match["time"]): path for match, path in matches if match}

    colours = source.parent.parent / "color_correction" / source.parent.name
    return _Sequence(found("images"), found("alpha_maps"), _vhap_calibration(source), colours, USUAL_FPS)


READER = footage_reader(TimedConfig, accepts, describe)
