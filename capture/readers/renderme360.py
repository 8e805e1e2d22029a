"""RenderMe-360: an ``.smc`` file (HDF5); a raw part and its ``anno`` part may lie beside each other.

    Camera/<00…59>/{color,mask}/<t>   encoded images        Calibration/<camera>/{K, D, RT}        FLAME/<t>/…

Conventions of the format: images are 2448x2048; K and D (OpenCV's k1 k2 p1 p2 k3) in pixels of them; masks are
mattes. **The direction of RT [4, 4] is not stated**: the one in which the cameras look at a common point is taken,
and an error raised where neither does. Lengths are metres, or millimetres where the cameras would otherwise stand
tens of metres away. The world is turned until the images' tops point up. FLAME (expression parts only) becomes the
track "flame", in world coordinates. Calibration, masks and FLAME are taken from whichever part has them. 30 frames/s
by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from capture.formats.axes import checked_intrinsics, convergence, rigid_matrix
from capture.formats.files import MAX_ARRAY_BYTES, numbers, reading
from capture.formats.flame import flame_track
from capture.formats.footage import Footage
from capture.formats.lenses import make_lens
from capture.formats.pictures import Load, Picture, as_matte, as_picture, decode, picture_size
from capture.formats.rates import TimedConfig, rate
from capture.readers import footage_reader
from studio.codes import FLAME2020_100, CodeTrack
from studio.errors import StudioError

EXPECTED = "an .smc file of RenderMe-360 with Camera, Calibration"
USUAL_FPS = 30.0
_MAGIC = b"\x89HDF\r\n\x1a\n"
_FAR = 20.0  # metres: no rig for a head is as large
_CONVERGE = 0.2  # of the distance: how far optical axes of a rig round a head may pass its middle
_POSES = {"global_pose": "rotation", "trans": "translation", "neck_pose": "neck_pose", "jaw_pose": "jaw_pose"}


def accepts(source: Path) -> bool:
    """Whether it is an HDF5 file named .smc."""
    if not source.is_file() or source.suffix != ".smc":
        return False
    with source.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def describe(source: Path, config: TimedConfig) -> Footage:
    """The cameras, images, mattes and FLAME parameters of a part and its companion."""
    if not accepts(source):
        raise StudioError(f"cannot read {source}", got="no HDF5 file", expected=EXPECTED)
    with reading(source, EXPECTED), _opened(source) as parts:
        colors = _having(parts, "Camera", "color")
        calibration = _having(parts, "Calibration")
        names = sorted(set(colors) & set(calibration))
        if not names:
            raise ValueError("no camera with images and calibration")
        times = sorted(colors[names[0]]["color"], key=lambda time: (len(time), time))
        limited = times[: config.frames]
        Ks = [checked_intrinsics(_values(calibration[name]["K"]), f"K of camera {name}") for name in names]
        distortion = [tuple(_values(calibration[name]["D"]).reshape(-1)[:8].tolist()) for name in names]
        poses = [rigid_matrix(_values(calibration[name]["RT"]), f"RT of camera {name}") for name in names]
        size = picture_size(_bytes(colors[names[0]]["color"][times[0]]), f"camera {names[0]}")
        flame = _flame(parts, limited, rate(config, USUAL_FPS), str(source))
    return Footage(
        format="renderme360",
        viewmats=_directed(np.stack(poses), source),
        Ks=np.stack(Ks),
        size=size,
        camera_ids=names,
        timestep_ids=limited,
        fps=rate(config, USUAL_FPS),
        streams=[_Frames(source, name, limited) for name in names],
        described_by=[source],
        up="auto",
        lenses=[make_lens(K, D, f"camera {name}") for K, D, name in zip(Ks, distortion, names, strict=True)],
        tracks={} if flame is None else {"flame": flame},
    )


@contextmanager
def _opened(source: Path) -> Iterator[list[Any]]:
    """The part and its companion (…_raw.smc and …_anno.smc), opened for reading."""
    try:
        import h5py
    except ImportError as error:
        raise StudioError(f"{source} needs the package h5py", next="pip install head-avatar-studio[hdf5]") from error
    stem = source.stem
    other = stem.replace("_raw", "_anno") if "_raw" in stem else stem.replace("_anno", "_raw")
    companions = [source.with_name(f"{other}.smc")] if other != stem else []
    with ExitStack() as stack:
        yield [stack.enter_context(h5py.File(path, "r")) for path in [source, *filter(Path.is_file, companions)]]


def _having(parts: Sequence[Any], group: str, child: str | None = None) -> dict[str, Any]:
    """The first part's group of that name, as a dictionary of those members that have ``child``."""
    for part in parts:
        if group in part:
            found = {name: part[group][name] for name in part[group] if child is None or child in part[group][name]}
            if found:
                return found
    raise KeyError(group)


def _values(dataset: Any) -> np.ndarray:
    """The numbers of a small dataset, its size checked before it is read."""
    if int(np.prod([float(size) for size in dataset.shape])) > 1 << 20:
        raise ValueError(f"{dataset.name} has {dataset.shape} entries")
    return np.asarray(dataset[()], dtype=np.float64)


def _bytes(dataset: Any) -> bytes:
    """An encoded image."""
    if dataset.dtype.itemsize * int(np.prod([float(size) for size in dataset.shape])) > MAX_ARRAY_BYTES:
        raise ValueError(f"{dataset.name} is too large")
    return np.asarray(dataset[()]).tobytes()


class _Frames:
    """The pictures of a camera; the file is open only while they are read, and read by the caller's thread alone."""

    def __init__(self, source: Path, camera: str, times: Sequence[str]) -> None:
        """Args: source: the part; camera: its name; times: which frames."""
        self._source, self._camera, self._times = source, camera, times

    def __iter__(self) -> Iterator[Load]:
        with reading(self._source, EXPECTED), _opened(self._source) as parts:
            color = _having(parts, "Camera", "color")[self._camera]["color"]
            masks: Any = next((part["Camera"][self._camera]["mask"] for part in parts if self._has_mask(part)), {})
            for time in self._times:
                mask = _bytes(masks[time]) if time in masks else None
                yield partial(_decoded, _bytes(color[time]), mask, f"{self._camera}/{time} of {self._source}")

    def _has_mask(self, part: Any) -> bool:
        return "Camera" in part and self._camera in part["Camera"] and "mask" in part["Camera"][self._camera]


def _decoded(color: bytes, mask: bytes | None, name: str) -> Picture:
    picture = as_picture(decode(color, name))
    return Picture(picture.image, None if mask is None else as_matte(decode(mask, f"mask {name}")))


def _directed(
    poses: np.ndarray,  # [C, 4, 4]
    source: Path,
) -> np.ndarray:
    """World-to-camera matrices [C, 4, 4] in metres, whichever way RT was meant."""
    candidates = [poses, np.linalg.inv(poses)]
    results = [convergence(candidate) for candidate in candidates]
    best = int(np.argmin([result[1] for result in results]))
    if results[best][1] > _CONVERGE and len(poses) > 1:
        misses = " and ".join(f"{result[1]:.2f}" for result in results)
        raise StudioError(f"the cameras of {source} look at no common point", got=misses, expected="RT of a rig")
    viewmats = candidates[best].copy()
    if results[best][2] > _FAR:
        viewmats[:, :3, 3] *= 1e-3
    return viewmats


def _flame(parts: Sequence[Any], times: Sequence[str], fps: float, what: str) -> CodeTrack | None:
    group = next((part["FLAME"] for part in parts if "FLAME" in part), None)
    if group is None or not all(time in group for time in times):
        return None
    frames = [group[time] for time in times]

    def stacked(name: str) -> np.ndarray:
        return np.stack([_values(frame[name]).reshape(-1) for frame in frames])

    parameters = {ours: stacked(theirs) for theirs, ours in _POSES.items()}
    parameters |= {
        "expr": stacked("exp"),
        "eyes_pose": np.concatenate((stacked("left_eye_pose"), stacked("right_eye_pose")), axis=1),
        "shape": numbers(_values(frames[0]["shape"]).reshape(-1), (-1,), f"FLAME's shape in {what}"),
    }
    return flame_track(parameters, fps, what, space=FLAME2020_100)


READER = footage_reader(TimedConfig, accepts, describe)
