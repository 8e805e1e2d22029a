"""COLMAP's sparse models: cameras and images of ``cameras.txt``/``images.txt`` or their binary forms.

Points are not read: for these two small tables pycolmap (38 MB) would be a heavy dependency.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capture.formats.axes import intrinsic_matrix
from capture.formats.files import count, numbers, read_text, reading
from capture.formats.lenses import Lens, make_lens
from studio.errors import StudioError

# Name -> (COLMAP's number, names of the parameters); f stands for both focal lengths.
_MODELS = {
    "SIMPLE_PINHOLE": (0, "f cx cy"),
    "PINHOLE": (1, "fx fy cx cy"),
    "SIMPLE_RADIAL": (2, "f cx cy k1"),
    "RADIAL": (3, "f cx cy k1 k2"),
    "OPENCV": (4, "fx fy cx cy k1 k2 p1 p2"),
    "OPENCV_FISHEYE": (5, "fx fy cx cy k1 k2 k3 k4"),
    "FULL_OPENCV": (6, "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"),
    "SIMPLE_RADIAL_FISHEYE": (8, "f cx cy k1"),
    "RADIAL_FISHEYE": (9, "f cx cy k1 k2"),
}
_BY_NUMBER = {number: name for name, (number, _) in _MODELS.items()}
_OPENCV_ORDER = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")


@dataclass(frozen=True)
class ColmapCamera:
    """Intrinsics: K [3, 3] in pixels, (width, height), and the lens, if it distorts."""

    K: np.ndarray
    size: tuple[int, int]
    lens: Lens | None


@dataclass(frozen=True)
class ColmapImage:
    """An image: file name, its camera's number and world-to-camera [4, 4] with OpenCV axes."""

    name: str
    camera: int
    viewmat: np.ndarray


def find_model(source: Path) -> Path | None:
    """The folder of a model: the source itself, sparse/0, sparse or colmap/sparse/0."""
    for folder in (source, source / "sparse/0", source / "sparse", source / "colmap/sparse/0"):
        if any(
            (folder / f"cameras{end}").is_file() and (folder / f"images{end}").is_file() for end in (".bin", ".txt")
        ):
            return folder
    return None


def read_model(folder: Path) -> tuple[dict[int, ColmapCamera], list[ColmapImage]]:
    """Cameras by number, and images by name; the binary form where both are there.

    Raises:
        StudioError: a file is missing or damaged, or a lens model is not supported.
    """
    end = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    readers = (_cameras_bin, _images_bin) if end == ".bin" else (_cameras_txt, _images_txt)
    paths = folder / f"cameras{end}", folder / f"images{end}"
    with reading(paths[0], "COLMAP's cameras"):
        cameras = dict(readers[0](paths[0]))
    with reading(paths[1], "COLMAP's images"):
        images = sorted(readers[1](paths[1]), key=lambda image: image.name)
    if not images:
        raise StudioError(f"no images in {paths[1]}", got="0", expected="at least one")
    missing = sorted({image.camera for image in images} - cameras.keys())
    if missing:
        raise StudioError(f"{paths[1]} names cameras that {paths[0].name} lacks", got=missing[:5])
    return cameras, images


def _camera(name: str, size: tuple[int, int], parameters: Sequence[float], what: str) -> ColmapCamera:
    if name not in _MODELS:
        raise StudioError(f"{what} has a lens model that is not supported", got=name, expected=" | ".join(_MODELS))
    names = _MODELS[name][1].split()
    values = dict(zip(names, numbers(parameters, (len(names),), what).tolist(), strict=True))
    fx, fy = (values.get(axis, values.get("f", 0.0)) for axis in ("fx", "fy"))
    K = intrinsic_matrix(fx, fy, values["cx"], values["cy"], what)
    fisheye = name.endswith("FISHEYE")
    order = ("k1", "k2", "k3", "k4") if fisheye else _OPENCV_ORDER
    coefficients = tuple(values.get(coefficient, 0.0) for coefficient in order)
    width, height = (count(value, f"the size of {what}") for value in size)
    return ColmapCamera(K, (width, height), make_lens(K, coefficients, what, fisheye=fisheye))


def _image(name: str, camera: int, quaternion: Sequence[float], translation: Sequence[float]) -> ColmapImage:
    w, x, y, z = numbers(quaternion, (4,), f"the rotation of {name}")
    length = float(np.linalg.norm([w, x, y, z]))
    if abs(length - 1) > 1e-2:
        raise StudioError(f"the rotation of {name} is no unit quaternion", got=f"length {length:.3g}")
    w, x, y, z = w / length, x / length, y / length, z / length
    viewmat = np.eye(4)
    viewmat[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    viewmat[:3, 3] = numbers(translation, (3,), f"the translation of {name}")
    return ColmapImage(name, camera, viewmat)


def _rows(path: Path) -> list[str]:
    return [line for line in read_text(path).splitlines() if not line.startswith("#")]


def _cameras_txt(path: Path) -> Iterator[tuple[int, ColmapCamera]]:
    for row in filter(str.strip, _rows(path)):
        number, name, width, height, *parameters = row.split()
        sized = (int(width), int(height))
        yield int(number), _camera(name, sized, [float(value) for value in parameters], f"camera {number}")


def _images_txt(path: Path) -> Iterator[ColmapImage]:
    """Every image has two lines; the second (its points) may be empty."""
    for row in _rows(path)[::2]:
        if row.strip():
            parts = row.split(maxsplit=9)
            pose = [float(value) for value in parts[1:8]]
            yield _image(parts[9].strip(), int(parts[8]), pose[:4], pose[4:])


class _Stream:
    """Little-endian values one after another."""

    def __init__(self, path: Path) -> None:
        self._data, self._place = path.read_bytes(), 0

    def read(self, form: str) -> tuple[int | float, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return values

    def text(self) -> str:
        end = self._data.index(b"\0", self._place)
        text = self._data[self._place : end].decode("utf-8")
        self._place = end + 1
        return text

    def skip(self, size: int) -> None:
        self._place += size
        if self._place > len(self._data):
            raise EOFError("it ends early")


def _cameras_bin(path: Path) -> Iterator[tuple[int, ColmapCamera]]:
    stream = _Stream(path)
    for _ in range(int(stream.read("Q")[0])):
        number, model, width, height = (int(value) for value in stream.read("iiQQ"))
        name = _BY_NUMBER.get(model, f"number {model}")
        parameters = stream.read(f"{len(_MODELS[name][1].split())}d") if name in _MODELS else ()
        yield number, _camera(name, (width, height), parameters, f"camera {number}")


def _images_bin(path: Path) -> Iterator[ColmapImage]:
    stream = _Stream(path)
    for _ in range(int(stream.read("Q")[0])):
        _, *pose, camera = stream.read("i7di")
        name = stream.text()
        yield _image(name, int(camera), pose[:4], pose[4:])
        stream.skip(24 * int(stream.read("Q")[0]))
