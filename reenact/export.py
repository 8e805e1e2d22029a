"""Export for other programs: a posed avatar as a 3D Gaussian PLY, a track as a Live Link Face CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from studio.avatar import Avatar
from studio.codes import Codes
from studio.errors import StudioError
from studio.splats import Splats

_OPACITY_EDGE = 1e-6  # a logit of 0 or 1 would be infinite


@runtime_checkable
class _MadeOfSplats(Protocol):
    def gaussians(self, codes: Codes) -> Splats: ...


def export_ply(avatar: Avatar, codes: Codes, path: Path) -> Path:
    """Write the avatar in one state (codes without batch) as a standard 3D Gaussian PLY; see ``write_ply``.

    Raises:
        StudioError: the avatar is not made of Gaussians, codes of another space, or ``path`` exists.
    """
    avatar.space.require(codes.space, "this state")
    if not isinstance(avatar, _MadeOfSplats):
        raise StudioError(
            "this avatar cannot be exported as PLY", got=type(avatar).__name__, expected="an avatar made of Gaussians"
        )
    if path.exists():
        raise StudioError(f"{path} exists already", expected="a new name", next="choose another name or move it away")
    write_ply(path, avatar.gaussians(codes))
    return path


def write_ply(path: Path, splats: Splats) -> None:
    """Write Gaussians in the layout of Kerbl et al. 2023, whole or not at all.

    Little-endian float32: x y z, nx ny nz (0), f_dc_0..2, f_rest_* (by colour channel, then coefficient), opacity as a
    logit, scale_0..2 as logarithms, rot_0..3 as a unit quaternion wxyz.
    """
    count, rest = len(splats), splats.sh.shape[1] - 1
    quats = splats.quats / splats.quats.norm(dim=-1, keepdim=True)
    columns = [
        splats.means,
        splats.means.new_zeros(count, 3),
        splats.sh[:, 0],
        splats.sh[:, 1:].transpose(1, 2).reshape(count, 3 * rest),
        splats.opacities.clamp(_OPACITY_EDGE, 1 - _OPACITY_EDGE).logit()[:, None],
        splats.scales.log(),
        quats,
    ]
    table = np.concatenate([column.detach().cpu().numpy() for column in columns], axis=1).astype("<f4")
    names = [*"xyz", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3)), *(f"f_rest_{i}" for i in range(3 * rest))]
    names += ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    header = ["ply", "format binary_little_endian 1.0", "comment synthetic media: a head avatar"]
    header += [f"element vertex {count}", *(f"property float {name}" for name in names), "end_header", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_bytes("\n".join(header).encode("ascii") + table.tobytes())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
