"""PLY files of 3D Gaussians (Kerbl et al. 2023).

Little-endian float32: x y z, nx ny nz (0), f_dc_0..2, f_rest_* (by colour channel, then coefficient), opacity as a
logit, scale_0..2 as logarithms, rot_0..3 as a unit quaternion wxyz.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.errors import StudioError
from studio.media.whole_files import whole_file
from studio.splats import Splats

OPACITY_EDGE = 1e-6  # a logit of 0 or 1 would be infinite
_SMALLEST = 1e-12  # of a size, before its logarithm is taken
_LONGEST_HEADER = 1 << 20
_TYPES = {
    **{name: "i1" for name in ("char", "int8")},
    **{name: "u1" for name in ("uchar", "uint8")},
    **{name: "i2" for name in ("short", "int16")},
    **{name: "u2" for name in ("ushort", "uint16")},
    **{name: "i4" for name in ("int", "int32")},
    **{name: "u4" for name in ("uint", "uint32")},
    **{name: "f4" for name in ("float", "float32")},
    **{name: "f8" for name in ("double", "float64")},
}
_NAMES = {np.dtype(code): name for name, code in (("float", "<f4"), ("ushort", "<u2"), ("uchar", "u1"))}
Element = tuple[str, np.ndarray]  # name and structured rows


def raw_columns(splats: Splats) -> dict[str, np.ndarray]:
    """The columns of the standard layout by name, [N] float32 each, in the order in which they are stored."""
    count, rest = len(splats), splats.sh.shape[1] - 1
    quats = splats.quats / splats.quats.norm(dim=-1, keepdim=True)
    blocks = {
        "xyz": splats.means,
        "n": splats.means.new_zeros(count, 3),
        "f_dc": splats.sh[:, 0],
        "f_rest": splats.sh[:, 1:].transpose(1, 2).reshape(count, 3 * rest),
        "opacity": splats.opacities.clamp(OPACITY_EDGE, 1 - OPACITY_EDGE).logit()[:, None],
        "scale": splats.scales.clamp(min=_SMALLEST).log(),
        "rot": quats,
    }
    table = torch.cat(list(blocks.values()), dim=1).detach().cpu().numpy().astype("<f4")
    names = [*"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(3 * rest))]
    names += ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    return dict(zip(names, table.T, strict=True))


def write_ply(path: Path, splats: Splats, comments: Sequence[str] = ()) -> None:
    """Write Gaussians in the standard layout, whole or not at all."""
    write_elements(path, [("vertex", rows_of(raw_columns(splats)))], comments)


def rows_of(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Named columns [N] as structured rows [N]."""
    rows = np.empty(len(next(iter(columns.values()))), dtype=[(name, value.dtype) for name, value in columns.items()])
    for name, value in columns.items():
        rows[name] = value
    return rows


def write_elements(path: Path, elements: Sequence[Element], comments: Sequence[str] = ()) -> None:
    """Write elements one after the other, whole or not at all; their columns are float32, uint16 or uint8."""
    header = ["ply", "format binary_little_endian 1.0", "comment synthetic media: a head avatar"]
    header += [f"comment {text}" for text in comments]
    for name, rows in elements:
        header.append(f"element {name} {len(rows)}")
        header += [f"property {_NAMES[rows.dtype[column]]} {column}" for column in rows.dtype.names or ()]
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write("\n".join([*header, "end_header", ""]).encode("ascii"))
        for _, rows in elements:
            stream.write(rows.tobytes())


def read_ply(path: Path) -> Splats:
    """Read the vertices of a PLY file in the standard layout, binary of either byte order.

    Raises:
        StudioError: it is damaged or something else than Gaussians.
    """
    columns = _vertices(path)
    wanted = [*"xyz", "opacity", *(f"f_dc_{i}" for i in range(3)), *(f"scale_{i}" for i in range(3))]
    wanted += [f"rot_{i}" for i in range(4)]
    missing = [name for name in wanted if name not in columns]
    rest = sum(name.startswith("f_rest_") for name in columns)
    bands = math.isqrt(rest // 3 + 1)
    if missing or rest % 3 or bands * bands != rest // 3 + 1 or bands > 4:
        raise StudioError(
            f"{path} holds no 3D Gaussians",
            got=f"no {', '.join(missing[:4])}" if missing else f"{rest} columns f_rest",
            expected="the columns x f_dc opacity scale rot of 3D Gaussian splatting",
        )

    def stacked(*names: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([columns[name] for name in names], axis=-1).astype(np.float32))

    count = len(columns["x"])
    shN = stacked(*(f"f_rest_{i}" for i in range(rest))).reshape(count, 3, -1) if rest else torch.zeros(count, 3, 0)
    return Splats(
        stacked(*"xyz"),
        stacked(*(f"rot_{i}" for i in range(4))),
        stacked(*(f"scale_{i}" for i in range(3))).exp(),
        stacked("opacity")[:, 0].sigmoid(),
        torch.cat((stacked(*(f"f_dc_{i}" for i in range(3)))[:, None], shN.transpose(1, 2)), dim=1),
    )


def _vertices(path: Path) -> dict[str, np.ndarray]:
    """The element "vertex" as columns by name."""
    with path.open("rb") as stream:
        head = stream.read(_LONGEST_HEADER)
    end = head.find(b"end_header")
    start = head.find(b"\n", end) + 1
    if not head.startswith(b"ply") or end < 0 or start == 0:
        raise StudioError(f"damaged file: {path}", got="no PLY header", expected="a binary PLY file")
    elements = _header(head[:end].decode("ascii", "replace").split("\n"), path)
    for name, count, dtype in elements:
        size = count * dtype.itemsize
        if start + size > path.stat().st_size:
            raise StudioError(f"damaged file: {path}", got="less data than its header says", next="copy it again")
        if name == "vertex" and dtype.names:
            rows: Any = np.fromfile(path, dtype, count, offset=start)
            return {column: rows[column] for column in dtype.names}
        start += size
    raise StudioError(f"{path} holds no 3D Gaussians", got="no element vertex", expected="a PLY file of Gaussians")


def _header(lines: Sequence[str], path: Path) -> list[tuple[str, int, np.dtype]]:
    """(name, count, dtype) of the elements."""
    order, elements = "", list[tuple[str, int, list[tuple[str, str]]]]()
    with suppress(ValueError, KeyError, IndexError):
        for line in lines[1:]:
            words = line.split()
            if words[:1] == ["format"]:
                order = {"binary_little_endian": "<", "binary_big_endian": ">"}[words[1]]
            elif words[:1] == ["element"]:
                elements.append((words[1], _count(words[2]), []))
            elif words[:1] == ["property"]:
                elements[-1][2].append((words[2], order + _TYPES[words[1]]))
        if order:
            return [(name, count, np.dtype(columns)) for name, count, columns in elements]
    raise StudioError(
        f"damaged file: {path}", got=f"the header {line.strip()[:60]!r}", expected="a binary PLY file without lists"
    )


def _count(word: str) -> int:
    count = int(word)
    if count < 0:
        raise ValueError
    return count
