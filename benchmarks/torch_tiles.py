"""A rasteriser in plain torch with tiles: the yardstick for what the compiled kernels gain on a CPU.

It follows the same rules, differentiates by autograd, and does what a careful torch programmer would: project all
Gaussians at once, then blend each tile of pixels from the Gaussians whose boxes touch it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from studio.cameras import Camera
from studio.kernels.splat_reference import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN, project_reference

TILE = 16


def rasterize_torch_tiles(
    means: Tensor,  # [N, 3]
    quats: Tensor,  # [N, 4]
    scales: Tensor,  # [N, 3]
    opacities: Tensor,  # [N]
    colors: Tensor,  # [N, 3]
    camera: Camera,  # one view
) -> tuple[Tensor, Tensor]:
    """rgb [H, W, 3] and alpha [H, W]; sizes must be multiples of 16."""
    in_camera = means @ camera.viewmats[0, :3, :3].T + camera.viewmats[0, :3, 3]
    order = torch.argsort(in_camera[:, 2].detach())
    order = order[in_camera[order, 2] > 0.01]
    centers, covariance, _ = project_reference(in_camera[order], quats[order], scales[order], camera)
    opacity, values = opacities[order], colors[order]
    conic = torch.linalg.inv(covariance)
    cutoff = 2 * torch.log((opacity / ALPHA_MIN).clamp(min=1.0))
    reach = (cutoff[:, None] * covariance.diagonal(dim1=1, dim2=2)).sqrt().detach()
    low, high = (centers - reach).detach(), (centers + reach).detach()
    local = torch.arange(TILE) + 0.5
    offsets = torch.stack(torch.meshgrid(local, local, indexing="xy"), dim=-1).reshape(-1, 2)
    tiles = []
    for top in range(0, camera.height, TILE):
        for left in range(0, camera.width, TILE):
            corner = torch.tensor((left, top))
            inside = torch.nonzero(((high > corner) & (low < corner + TILE)).all(dim=-1))[:, 0]
            tiles.append(_blend(offsets + corner, centers[inside], conic[inside], opacity[inside], values[inside]))
    grid = torch.stack(tiles).reshape(camera.height // TILE, camera.width // TILE, TILE, TILE, 4)
    image = grid.permute(0, 2, 1, 3, 4).reshape(camera.height, camera.width, 4)
    return image[..., :3], image[..., 3]


def _blend(pixels: Tensor, centers: Tensor, conic: Tensor, opacity: Tensor, colors: Tensor) -> Tensor:
    """One tile's pixels [P, 2] to red, green, blue, alpha [P, 4]."""
    offset = pixels[:, None] - centers
    distance = (
        conic[:, 0, 0] * offset[..., 0] ** 2
        + 2 * conic[:, 0, 1] * offset[..., 0] * offset[..., 1]
        + conic[:, 1, 1] * offset[..., 1] ** 2
    )
    alpha = opacity * torch.exp(-0.5 * distance)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha.clamp(max=ALPHA_MAX), 0.0)
    alpha = torch.where(torch.cumprod(1 - alpha, dim=1) > TRANSMITTANCE_MIN, alpha, 0.0)
    before = torch.cumprod(torch.cat((torch.ones_like(alpha[:, :1]), 1 - alpha[:, :-1]), dim=1), dim=1)
    weights = alpha * before
    return torch.cat((weights @ colors, weights.sum(dim=1, keepdim=True)), dim=1)
