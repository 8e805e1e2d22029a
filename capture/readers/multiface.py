"""multiface: ``KRT`` and ``images/<segment>/<camera>/<frame>.png``; the source is the capture's folder or a segment's.

Conventions of the format: KRT has blocks of a name, three rows of K, one row of distortion, three rows of [R|t]
(world to camera, OpenCV axes, **millimetres**) and a blank line. K is in pixels of these images. There are no
mattes. The world is turned until the images' tops point up. The tracked meshes are of another
topology and are not read. 30 frames/s by default; only frames that every camera has are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capture.formats.axes import checked_intrinsics, rigid_matrix
from capture.formats.files import inside, numbers, read_text, reading
from capture.formats.footage import Footage, stills
from capture.formats.lenses import Lens, make_lens
from capture.formats.pictures import picture_size
from capture.formats.rates import TimedConfig, rate
from capture.readers import footage_reader
from studio.errors import StudioError
from studio.logs import say

EXPECTED = "KRT: blocks of a name, 3 rows of K, 1 of distortion, 3 of [R|t]"
USUAL_FPS = 30.0
_METRES = 1e-3
_BLOCK = 8  # lines


@dataclass(frozen=True)
class _Camera:
    """One block of KRT: K [3, 3] pixels, distortion, world-to-camera [4, 4] in metres."""

    K: np.ndarray
    lens: Lens | None
    viewmat: np.ndarray


def _places(source: Path) -> tuple[Path, Path | None]:
    """The capture's folder and the segment's, which may be the source or the only one there is."""
    if (source / "KRT").is_file():
        segments = sorted(path for path in (source / "images").glob("*") if path.is_dir())
        return source, segments[0] if len(segments) == 1 else None
    return source.absolute().parent.parent, source


def accepts(source: Path) -> bool:
    """Whether it is a capture's folder, or that of one of its segments."""
    return source.is_dir() and (_places(source)[0] / "KRT").is_file()


def describe(source: Path, config: TimedConfig) -> Footage:
    """The cameras and images of a segment."""
    capture, segment = _places(source)
    cameras = _read_krt(capture / "KRT")
    if segment is None:
        listed = sorted(path.name for path in (capture / "images").glob("*"))
        raise StudioError(f"{source} has several segments", got=", ".join(listed), next=f"source={capture}/images/…")
    images = {name: _images(inside(segment, name)) for name in cameras if inside(segment, name).is_dir()}
    if not images:
        raise StudioError(f"no images in {segment}", expected="folders with the names of cameras of KRT")
    times = sorted(set.intersection(*(set(files) for files in images.values())))
    longest = max(len(files) for files in images.values())
    if not times:
        raise StudioError(f"no frame of {segment} is there for all cameras", got=f"{len(images)} cameras")
    if len(times) < longest:
        say(f"warning: {longest - len(times)} of {longest} frames lack a camera and are left out")
    names = list(images)
    first = images[names[0]][times[0]]
    return Footage(
        format="multiface",
        viewmats=np.stack([cameras[name].viewmat for name in names]),
        Ks=np.stack([cameras[name].K for name in names]),
        size=picture_size(first, str(first)),
        camera_ids=names,
        timestep_ids=times,
        fps=rate(config, USUAL_FPS),
        streams=[stills([images[name][time] for time in times]) for name in names],
        described_by=[capture / "KRT"],
        up="auto",
        lenses=[cameras[name].lens for name in names],
        beside=source,
    )


def _images(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.png"))}


def _read_krt(path: Path) -> dict[str, _Camera]:
    with reading(path, EXPECTED):
        lines = [line.strip() for line in read_text(path).splitlines()]
        cameras = dict(_blocks([line for line in lines if line]))
        if not cameras:
            raise ValueError("0 cameras")
        return cameras


def _blocks(lines: list[str]) -> Iterator[tuple[str, _Camera]]:
    if len(lines) % _BLOCK:
        raise EOFError(f"{len(lines)} lines, not a multiple of {_BLOCK}")
    for start in range(0, len(lines), _BLOCK):
        name, *rows = lines[start : start + _BLOCK]
        table = [[float(word) for word in row.split()] for row in rows]
        K = checked_intrinsics(table[:3], f"K of camera {name}")
        viewmat = rigid_matrix(table[4:], f"[R|t] of camera {name}")
        viewmat[:3, 3] *= _METRES
        coefficients = numbers(table[3], (-1,), f"distortion of camera {name}").tolist()
        padded = (*coefficients, *[0.0] * (5 - len(coefficients)))[:8]
        yield name, _Camera(K, make_lens(K, tuple(padded), f"camera {name}"), viewmat)


READER = footage_reader(TimedConfig, accepts, describe)
