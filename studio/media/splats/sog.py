"""SOG files (PlayCanvas, version 2): Gaussians as lossless WebP images in a zip, with a table in ``meta.json``.

Places: 16 bits of sign(x) log(1 + |x|) within the scene's range. Rotations: the three smaller components of a unit
quaternion, 8 bits each, and which one is left out. Sizes (logarithms) and colours: the nearest of 256 values of a
codebook. Opacity: 8 bits. Higher bands of colour: one of up to 65,536 palettes, its numbers out of a codebook.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from studio.errors import StudioError
from studio.media.splats.ply import raw_columns
from studio.media.whole_files import whole_file
from studio.splats import Splats

_LEVELS = 256
_MOST = 1 << 25  # Gaussians that are believed
_LARGEST_FILE = 1 << 28  # bytes of one of its parts
_BANDS = (0, 3, 8, 15)  # coefficients of colour beyond the first, by degree
_PER_ROW = 64  # palettes that lie side by side
_QUAT_TAG = 252


def write_sog(path: Path, splats: Splats) -> None:
    """Write Gaussians with their first band of colour (SOG's higher bands are not written), whole or not at all.

    They are put in Morton order, so that neighbours lie together in the images.
    """
    columns = raw_columns(splats)
    means = np.stack([columns[name] for name in "xyz"], axis=1)
    order = _morton_order(means)
    columns = {name: value[order] for name, value in columns.items()}
    places, low, high = _packed_means(means[order])
    scales, scale_codes = _codebook(np.stack([columns[f"scale_{i}"] for i in range(3)], axis=1))
    colors, color_codes = _codebook(np.stack([columns[f"f_dc_{i}"] for i in range(3)], axis=1))
    opacity = np.rint(255 / (1 + np.exp(-columns["opacity"].astype(np.float64)))).astype(np.uint8)[:, None]
    opaque = np.full((len(order), 1), 255, np.uint8)
    images = {
        "means_l.webp": np.concatenate(((places & 255).astype(np.uint8), opaque), axis=1),
        "means_u.webp": np.concatenate(((places >> 8).astype(np.uint8), opaque), axis=1),
        "scales.webp": np.concatenate((scale_codes, opaque), axis=1),
        "quats.webp": _packed_quats(np.stack([columns[f"rot_{i}"] for i in range(4)], axis=1)),
        "sh0.webp": np.concatenate((color_codes, opacity), axis=1),
    }
    meta = {
        "version": 2,
        "count": len(order),
        "asset": {"generator": "head avatar studio (synthetic media)"},
        "means": {"mins": low.tolist(), "maxs": high.tolist(), "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scales.tolist(), "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": colors.tolist(), "files": ["sh0.webp"]},
    }
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name, pixels in images.items():
            archive.writestr(name, _encoded(pixels))


def _morton_order(means: np.ndarray) -> np.ndarray:
    """The order along a Z curve, 10 bits for each axis."""
    low = means.min(axis=0)
    cells = ((means - low) / np.maximum(means.max(axis=0) - low, 1e-12) * 1023).astype(np.int64)
    key = np.zeros(len(means), np.int64)
    for bit in range(10):
        for axis in range(3):
            key |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return np.argsort(key, kind="stable")


def _packed_means(means: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """16-bit codes [N, 3], and the range [3], [3] of the compressed coordinates."""
    values = np.sign(means) * np.log1p(np.abs(means.astype(np.float64)))
    low, high = values.min(axis=0), values.max(axis=0)
    codes = np.rint((values - low) / np.maximum(high - low, 1e-12) * 65535)
    return codes.astype(np.uint16), low, high


def _packed_quats(quats: np.ndarray) -> np.ndarray:
    """[N, 4] uint8: the three smaller components in ±1/√2, and a tag that says which of wxyz was the largest."""
    largest = np.abs(quats).argmax(axis=1)
    turned = quats * np.sign(quats[np.arange(len(quats)), largest])[:, None]
    others = np.array([[i for i in range(4) if i != which] for which in range(4)])[largest]
    small = np.take_along_axis(turned, others, axis=1)
    codes = np.rint((small / math.sqrt(2) + 0.5) * 255).clip(0, 255)
    return np.concatenate((codes, largest[:, None] + _QUAT_TAG), axis=1).astype(np.uint8)


def _codebook(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """256 ascending values and the nearest one [N, C] uint8 of each: k-means in one dimension (Lloyd)."""
    ordered = np.sort(values.reshape(-1).astype(np.float64))
    book = np.linspace(ordered[0], ordered[-1], _LEVELS)
    book = 0.5 * (book + np.quantile(ordered, np.linspace(0, 1, _LEVELS)))  # as fine at the ends as in the crowd
    sums = np.concatenate(([0.0], ordered.cumsum()))
    for _ in range(20):
        edges = np.concatenate(([0], np.searchsorted(ordered, 0.5 * (book[1:] + book[:-1])), [len(ordered)]))
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), book)
    codes = np.searchsorted(0.5 * (book[1:] + book[:-1]), values)
    return book, codes.astype(np.uint8)


def _encoded(
    pixels: np.ndarray,  # [N, 4] uint8
) -> bytes:
    """A lossless WebP image, as wide as high, filled up with nothing."""
    side = 4 * math.ceil(math.sqrt(len(pixels)) / 4)
    canvas = np.zeros((-(-len(pixels) // side) * side, 4), np.uint8)
    canvas[: len(pixels)] = pixels
    stream = io.BytesIO()
    image = Image.fromarray(canvas.reshape(-1, side, 4), "RGBA")
    image.save(stream, "WEBP", lossless=True, exact=True, quality=80, method=4)
    return stream.getvalue()


def read_sog(path: Path) -> Splats:
    """Read a .sog file of version 2. Raises StudioError when it is damaged or of another version."""
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(_part(archive, "meta.json"))
            if meta.get("version") != 2:
                raise StudioError(f"cannot read {path}", got=f"SOG version {meta.get('version')}", expected="version 2")
            return _unpacked(meta, _Images(archive, _checked_count(meta)))
    except StudioError:
        raise
    except Exception as error:  # whatever a damaged file makes of the readers, the user needs one line
        raise StudioError(
            f"damaged file: {path}", got=f"{type(error).__name__}: {str(error)[:120]}", expected="a .sog file"
        ) from error


def _checked_count(meta: Mapping[str, Any]) -> int:
    count = int(meta["count"])
    if not 0 < count <= _MOST:
        raise ValueError(f"count {count}")
    return count


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _LARGEST_FILE:
        raise ValueError(f"{name} claims {archive.getinfo(name).file_size} bytes")
    return archive.read(name)


class _Images:
    """The images of an archive as rows of pixels."""

    def __init__(self, archive: zipfile.ZipFile, count: int) -> None:
        self._archive, self._count = archive, count

    def whole(self, name: str) -> np.ndarray:
        """[H, W, 4] uint8."""
        with Image.open(io.BytesIO(_part(self._archive, name)), formats=["WEBP"]) as image:
            if image.width * image.height > 4 * _MOST:
                raise ValueError(f"{name} claims {image.width} x {image.height} pixels")
            return np.asarray(image.convert("RGBA"))

    def rows(self, name: str) -> np.ndarray:
        """[N, 4] uint8, one for each Gaussian."""
        pixels = self.whole(name).reshape(-1, 4)
        if len(pixels) < self._count:
            raise ValueError(f"{name} has {len(pixels)} pixels for {self._count} Gaussians")
        return pixels[: self._count]


def _unpacked(meta: Mapping[str, Any], images: _Images) -> Splats:
    lower, upper = (images.rows(name)[:, :3].astype(np.float64) for name in meta["means"]["files"])
    low, high = (np.array(meta["means"][name], np.float64) for name in ("mins", "maxs"))
    compressed = low + (high - low) * (lower + 256 * upper) / 65535
    means = np.sign(compressed) * np.expm1(np.abs(compressed))
    scales = _looked_up(meta["scales"], images.rows(meta["scales"]["files"][0])[:, :3])
    colors = images.rows(meta["sh0"]["files"][0])
    sh0 = _looked_up(meta["sh0"], colors[:, :3])[:, None]
    shN = _higher_bands(meta["shN"], images) if "shN" in meta else np.zeros((len(means), 0, 3))
    parts = (means, _unpacked_quats(images.rows(meta["quats"]["files"][0])), np.exp(scales), colors[:, 3] / 255)
    tensors = [torch.from_numpy(np.asarray(part, np.float32)) for part in (*parts, np.concatenate((sh0, shN), axis=1))]
    return Splats(*tensors)


def _looked_up(table: Mapping[str, Any], codes: np.ndarray) -> np.ndarray:
    book = np.asarray(table["codebook"], np.float64)
    if book.shape != (_LEVELS,):
        raise ValueError(f"a codebook of {book.size} values")
    return book[codes]


def _unpacked_quats(pixels: np.ndarray) -> np.ndarray:
    largest = pixels[:, 3].astype(np.int64) - _QUAT_TAG
    if (largest < 0).any():
        raise ValueError("rotations without a tag")
    small = (pixels[:, :3] / 255 - 0.5) * math.sqrt(2)
    others = np.array([[i for i in range(4) if i != which] for which in range(4)])[largest]
    quats = np.empty((len(pixels), 4))
    np.put_along_axis(quats, others, small, axis=1)
    quats[np.arange(len(quats)), largest] = np.sqrt(np.maximum(0, 1 - (small**2).sum(axis=1)))
    return quats


def _higher_bands(table: Mapping[str, Any], images: _Images) -> np.ndarray:
    """[N, K, 3] of the palettes that the labels name."""
    coefficients = _BANDS[int(table["bands"])]
    centroids, labels = images.whole(table["files"][0]), images.rows(table["files"][1]).astype(np.int64)
    if centroids.shape[1] != _PER_ROW * coefficients:
        raise ValueError(f"palettes {centroids.shape[1]} pixels wide")
    palettes = _looked_up(table, centroids[..., :3]).reshape(-1, coefficients, 3)
    return palettes[labels[:, 0] + 256 * labels[:, 1]]
