"""Files of 3D Gaussians, read into ``studio.splats.Splats`` and written from them; an ending for each format.

Nothing in a file is trusted: sizes are held against the file's own, numbers that are not finite are left out and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from studio.errors import StudioError
from studio.logs import say
from studio.media.splats import packed, ply, sog
from studio.splats import Splats

# Ending -> reader; the first that fits is taken.
READERS: Mapping[str, Callable[[Path], Splats]] = {
    ".compressed.ply": packed.read_packed,
    ".ply": ply.read_ply,
    ".sog": sog.read_sog,
    ".spz": packed.read_packed,
}
_LARGEST = 1e6  # of any coordinate or size, in the file's unit


def is_splat_file(path: Path) -> bool:
    """Whether the name is that of a file of Gaussians."""
    return path.name.lower().endswith(tuple(READERS)) and not path.is_dir()


def read_splats(path: Path) -> Splats:
    """Read Gaussians from a file of any known format, in the file's own axes and unit.

    Raises:
        StudioError: no such file, damaged, of no known format, or without a single usable Gaussian.
    """
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected=" | ".join(READERS), next="check the path")
    ending = next((end for end in READERS if path.name.lower().endswith(end)), None)
    if ending is None:
        raise StudioError(
            f"no format of Gaussians that is known: {path}", got=path.suffix, expected=" | ".join(READERS)
        )
    return _usable(READERS[ending](path), path)


def _usable(splats: Splats, path: Path) -> Splats:
    """Without Gaussians that no renderer could draw: not finite, out of all proportion, or without orientation."""
    rows = torch.cat(
        (splats.means, splats.quats, splats.scales, splats.opacities[:, None], splats.sh.flatten(1)), dim=1
    )
    kept = torch.isfinite(rows).all(1) & (rows.abs() < _LARGEST).all(1) & (splats.quats.norm(dim=1) > 1e-6)
    if not bool(kept.any()):
        raise StudioError(
            f"no usable Gaussians in {path}", got=f"{len(splats)} that are not finite", next="check the file"
        )
    if bool(kept.all()):
        return splats
    say(f"{path.name}: {int((~kept).sum())} of {len(splats)} Gaussians left out: not finite, or too large")
    names = ("means", "quats", "scales", "opacities", "sh")
    return replace(splats, **{name: getattr(splats, name)[kept] for name in names})
