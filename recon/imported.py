"""Files of 3D Gaussians made by others, as static avatars."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from recon.avatars.static_splats import StaticSplats
from studio.cameras import Camera, intrinsics, look_at
from studio.media.splats import read_splats
from studio.splats import Splats

_SIZE, _FOCAL = 512, 1.4  # of the default view; focal length in image widths
_MIDDLE = 0.9  # share of the opacity that the default view shows: what floats far out does not count
_EDGE = 1e-6


def load_splats(path: Path, kernels: str = "auto") -> StaticSplats:
    """A static avatar out of a .ply, .compressed.ply, .sog or .spz file.

    Axes and unit stay those of the file, which does not tell them: the default view looks along -z, with -y up as in
    scenes out of COLMAP, or y up for SPZ, by that format's rules.

    Raises:
        StudioError: no such file, or damaged.
    """
    splats = read_splats(path)
    parameters = {
        "means": splats.means,
        "quats": splats.quats,
        "log_scales": splats.scales.clamp(min=1e-12).log(),
        "opacity_logits": splats.opacities.clamp(_EDGE, 1 - _EDGE).logit(),
        "sh0": splats.sh[:, :1].contiguous(),
        "shN": splats.sh[:, 1:].contiguous(),
    }
    return StaticSplats(parameters, front_view(splats, up=1.0 if path.suffix.lower() == ".spz" else -1.0), kernels)


def front_view(splats: Splats, up: float) -> Camera:
    """A camera (C = 1) that sees most of a scene from the front; ``up`` is +1 or -1, where the y axis points."""
    weights = splats.opacities / splats.opacities.sum()
    edges = []
    for axis in range(3):
        values, order = splats.means[:, axis].sort()
        place = torch.searchsorted(weights[order].cumsum(0), torch.tensor((0.5 - _MIDDLE / 2, 0.5 + _MIDDLE / 2)))
        edges.append(values[place.clamp(max=len(values) - 1)])
    low, high = torch.stack(edges).unbind(1)
    middle = 0.5 * (low + high)
    radius = max(0.5 * float((high - low).norm()), 1e-6)
    eye = middle + torch.tensor([0.0, 0.0, 1.0]) * radius * 2.2 * _FOCAL / math.cos(math.atan(0.5 / _FOCAL))
    viewmats = look_at(eye, middle, torch.tensor([0.0, up, 0.0]))[None]
    return Camera(viewmats, intrinsics(_FOCAL * _SIZE, _SIZE, _SIZE)[None], _SIZE, _SIZE)
