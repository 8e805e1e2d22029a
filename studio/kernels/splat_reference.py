"""The rasteriser in plain torch, for reading and for testing: every Gaussian at every pixel, by autograd.

It says what :func:`studio.kernels.splat.rasterize_splats` computes, without any of what makes that fast. Memory and
time grow with Gaussians × pixels, so it is meant for some hundred Gaussians, small images and float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.cameras import Camera
from studio.kernels.spherical_harmonics import sh_colors_reference
from studio.rotations import quat_to_matrix

BLUR = 0.3  # pixels²
ALPHA_MIN, ALPHA_MAX = 1.0 / 255.0, 0.999
TRANSMITTANCE_MIN = 1e-4


@dataclass(frozen=True)
class ReferenceRender:
    """What the reference returns; ``decided`` is false where float32 may fall on the other side of a threshold.

    Args:
        rgb: [..., C, H, W, 3] premultiplied.
        alpha: [..., C, H, W].
        depth: [..., C, H, W] expected camera depth, 0 where alpha is 0.
        decided: [..., C, H, W] bool.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    decided: Tensor


def rasterize_reference(
    means: Tensor,  # [..., N, 3] world
    quats: Tensor,  # [..., N, 4] wxyz
    scales: Tensor,  # [..., N, 3]
    opacities: Tensor,  # [..., N]
    colors: Tensor,  # [..., N, 3], or [..., N, K, 3] with sh_degree
    camera: Camera,
    *,
    sh_degree: int | None = None,
    antialiased: bool = False,
    near: float = 0.01,
    paired: bool = False,
) -> ReferenceRender:
    """Same arguments and results as ``rasterize_splats``, in the dtype of ``means``."""
    camera = Camera(camera.viewmats.to(means.dtype), camera.Ks.to(means.dtype), camera.width, camera.height)
    batch = means.shape[:-2]
    scenes = [
        value.reshape(math.prod(batch), *value.shape[len(batch) :])
        for value in (means, quats, scales, opacities, colors)
    ]
    renders = [
        _render_view([value[scene] for value in scenes], camera[view], sh_degree, antialiased, near)
        for scene in range(len(scenes[0]))
        for view in ([scene] if paired else range(len(camera)))
    ]
    shape = batch if paired else (*batch, len(camera))
    rgb, alpha, depth, decided = (torch.stack(images).reshape(*shape, *images[0].shape) for images in zip(*renders))
    return ReferenceRender(rgb, alpha, depth, decided)


def _render_view(
    splats: list[Tensor],
    camera: Camera,
    sh_degree: int | None,
    antialiased: bool,
    near: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One scene (means [N, 3], quats, scales, opacities, colors) in one camera: rgb, alpha, depth, decided."""
    means, quats, scales, opacities, colors = splats
    if sh_degree is not None:
        colors = sh_colors_reference(means, colors, camera.centers[0], sh_degree)
    in_camera = means @ camera.viewmats[0, :3, :3].T + camera.viewmats[0, :3, 3]
    front = torch.nonzero(in_camera[:, 2] >= near)[:, 0]
    front = front[torch.argsort(in_camera[front, 2].detach().float(), stable=True)]
    in_camera, colors = in_camera[front], colors[front]
    centers, covariance, compensation = project_reference(in_camera, quats[front], scales[front], camera)
    opacity = opacities[front] * compensation if antialiased else opacities[front]

    dtype = means.dtype
    rows = torch.arange(camera.height, dtype=dtype) + 0.5
    columns = torch.arange(camera.width, dtype=dtype) + 0.5
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    offset = pixels[:, :, None] - centers  # [H, W, N, 2]
    distance = torch.einsum("hwni,nij,hwnj->hwn", offset, torch.linalg.inv(covariance), offset)
    raw_alpha = opacity * torch.exp(-0.5 * distance)
    alpha = torch.where(raw_alpha >= ALPHA_MIN, raw_alpha.clamp(max=ALPHA_MAX), 0.0)

    blended = torch.cumprod(1 - alpha, dim=-1).detach() > TRANSMITTANCE_MIN
    kept = torch.where(blended, alpha, 0.0)
    after = torch.cumprod(1 - kept, dim=-1)
    weights = kept * torch.cat((torch.ones_like(after[..., :1]), after[..., :-1]), dim=-1)
    total = weights.sum(dim=-1)
    depth = torch.where(total > 0, (weights @ in_camera[:, 2]) / total.clamp(min=1e-10), 0.0)
    return weights @ colors, total, depth, _decided(raw_alpha, alpha) & _ordered(in_camera[:, 2])


def project_reference(
    in_camera: Tensor, quats: Tensor, scales: Tensor, camera: Camera
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel means [N, 2], blurred screen covariances [N, 2, 2], and √(det Σ / det(Σ + εI)) [N]."""
    K, rotation = camera.Ks[0], camera.viewmats[0, :3, :3]
    focal, principal = K.diagonal()[:2], K[:2, 2]
    size = K.new_tensor((camera.width, camera.height))
    slopes = in_camera[:, :2] / in_camera[:, 2:]
    margin = 0.15 * size / focal
    clamped = torch.minimum(torch.maximum(slopes, -principal / focal - margin), (size - principal) / focal + margin)
    jacobian = torch.cat((torch.diag_embed(focal.expand_as(slopes)), -(focal * clamped)[..., None]), dim=-1)
    root = (jacobian / in_camera[:, 2, None, None]) @ rotation @ quat_to_matrix(quats) * scales[:, None]
    sharp = root @ root.transpose(1, 2)
    covariance = sharp + BLUR * torch.eye(2, dtype=sharp.dtype)
    compensation = torch.linalg.cross(root[:, 0], root[:, 1]).norm(dim=-1) / torch.linalg.det(covariance).sqrt()
    return slopes * focal + principal, covariance, compensation


def _decided(raw_alpha: Tensor, alpha: Tensor) -> Tensor:
    """Pixels none of whose decisions (1/255 cut, 0.999 clamp, end at T ≤ 1e-4) hangs on float32 rounding."""
    transmittance = torch.cumprod(1 - alpha, dim=-1)
    cut = (raw_alpha / ALPHA_MIN - 1).abs() > 1e-4
    clamp = (raw_alpha - ALPHA_MAX).abs() > 1e-5
    end = (transmittance / TRANSMITTANCE_MIN - 1).abs() > 1e-2
    return (cut & clamp & end).all(dim=-1).detach()


def _ordered(depths: Tensor) -> bool:
    """Whether no two sorted depths are so close, without being equal, that float32 might swap them."""
    gaps = depths.diff() / depths[1:]
    return bool(((gaps == 0) | (gaps > 1e-6)).all())
