"""Compressed PLY (PlayCanvas) and SPZ (Niantic), through the package gsply.

A compressed PLY keeps 16 bytes for each Gaussian and 18 numbers for each block of 256 (11 + 10 + 11 bits of place and
size within the block, 10 bits for each part of the rotation, 8 of each colour and the opacity). SPZ keeps 24 bits of
each coordinate, 8 bits of size, colour and opacity, 10 bits of each part of the rotation, and compresses all by gzip.
"""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.errors import StudioError
from studio.media.splats.ply import raw_columns
from studio.media.whole_files import whole_file
from studio.splats import Splats

_SPZ_VERSION = 3  # gzip, which more readers know than version 4's zstd
_FINEST = 20  # of the 24 bits of a coordinate, those behind the point, where a scene fits in a metre


def _gsply() -> Any:
    try:
        return import_module("gsply")
    except ImportError as error:
        raise StudioError(
            "compressed splats need the package gsply",
            got="not installed",
            next='pip install "head-avatar-studio[formats]"',
        ) from error


def write_packed(path: Path, splats: Splats) -> None:
    """Write .compressed.ply or .spz, by the ending; whole or not at all.

    Raises:
        StudioError: gsply is not installed.
    """
    gsply, data = _gsply(), _data(splats)
    with whole_file(path) as temporary:
        if path.suffix.lower() == ".spz":
            bits = _FINEST - max(0, math.ceil(math.log2(max(float(splats.means.abs().max()), 1e-6))))
            gsply.write_spz(temporary, data, version=_SPZ_VERSION, fractional_bits=max(bits, 0))
        else:
            gsply.plywrite(temporary, data, compressed=True)


def _data(splats: Splats) -> Any:
    columns, rest = raw_columns(splats), splats.sh.shape[1] - 1

    def block(*names: str) -> np.ndarray:
        return np.ascontiguousarray(np.stack([columns[name] for name in names], axis=-1), dtype=np.float32)

    shN = splats.sh[:, 1:].detach().cpu().numpy().astype(np.float32) if rest else None
    return _gsply().GSData.from_arrays(
        block(*"xyz"),
        block(*(f"scale_{i}" for i in range(3))),
        block(*(f"rot_{i}" for i in range(4))),
        columns["opacity"].copy(),
        block(*(f"f_dc_{i}" for i in range(3))),
        shN,
        format="ply",
    )


def read_packed(path: Path) -> Splats:
    """Read .compressed.ply or .spz. Raises StudioError when it is damaged or gsply is not installed."""
    gsply = _gsply()
    try:
        data = gsply.read_spz(path) if path.suffix.lower() == ".spz" else gsply.plyread(path)
        raw = [torch.from_numpy(np.array(value, dtype=np.float32)) for value in (data.means, data.quats, data.scales)]
        opacity, sh0 = (torch.from_numpy(np.array(value, dtype=np.float32)) for value in (data.opacities, data.sh0))
        count = len(raw[0])
        shN = torch.zeros(count, 0, 3) if data.shN is None else torch.from_numpy(np.array(data.shN, dtype=np.float32))
        splats = Splats(raw[0], raw[1], raw[2].exp(), opacity.reshape(-1).sigmoid(), _joined(sh0, shN))
    except Exception as error:  # whatever a damaged file makes of the library, the user needs one line
        raise StudioError(
            f"damaged file: {path}", got=f"{type(error).__name__}: {str(error)[:120]}", expected=f"a {path.suffix} file"
        ) from error
    return splats


def _joined(sh0: torch.Tensor, shN: torch.Tensor) -> torch.Tensor:
    sh = torch.cat((sh0.reshape(-1, 1, 3), shN.reshape(len(sh0), -1, 3)), dim=1)
    if math.isqrt(sh.shape[1]) ** 2 != sh.shape[1]:
        raise ValueError(f"{sh.shape[1]} coefficients for each colour")
    return sh
