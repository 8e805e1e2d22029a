"""The rasteriser on CUDA: gsplat, called so that it means exactly what our CPU kernels mean."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from studio.cameras import Camera
from studio.errors import StudioError

# Projections (Gaussians of all images) from which on only those that are seen are kept: a gigabyte, about.
_MANY = 1 << 23


def rasterize_gsplat(
    splats: tuple[Tensor, ...],  # means, quats, scales, opacities, colors; see rasterize_splats
    camera: Camera,
    sh_degree: int | None,
    antialiased: bool,
    near: float,
    paired: bool,
    absgrad: bool,
    with_depth: bool,
) -> tuple[Tensor, Tensor, Tensor, Callable[[], tuple[Tensor, Tensor]], Callable[[], tuple[Tensor, Tensor] | None]]:
    """rgb, alpha, depth, and the two functions of :class:`studio.kernels.splat.Screen`.

    Raises:
        StudioError: gsplat is not installed.
    """
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise StudioError("kernels=cuda", got=str(error), expected="gsplat", next="pip install gsplat") from error
    means, quats, scales, opacities, colors = splats
    batch = means.shape[:-2]
    images_and_splats = (*batch, 1 if paired else len(camera), means.shape[-2])
    packed = math.prod(images_and_splats) > _MANY
    if paired:
        viewmats, Ks = camera.viewmats[:, None], camera.Ks[:, None]
    else:
        viewmats, Ks = (matrices.expand(*batch, *matrices.shape) for matrices in (camera.viewmats, camera.Ks))
    images, alpha, info = rasterization(
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmats.to(means.device),
        Ks.to(means.device),
        camera.width,
        camera.height,
        near_plane=near,
        sh_degree=sh_degree,
        packed=packed,
        render_mode="RGB+ED" if with_depth else "RGB",
        rasterize_mode="antialiased" if antialiased else "classic",
        absgrad=absgrad,
    )
    means2d, radii = info["means2d"], info["radii"].amax(dim=-1)
    if means2d.requires_grad:
        means2d.retain_grad()

    def in_shape(value: Tensor) -> Tensor:
        return value.squeeze(len(batch)) if paired else value

    def whole(value: Tensor) -> Tensor:
        """[..., C, N, …], with zeros for what a packed call left out."""
        if packed:
            image = info["batch_ids"] * images_and_splats[-2] + info["camera_ids"]
            place = image * images_and_splats[-1] + info["gaussian_ids"]
            everything = value.new_zeros(math.prod(images_and_splats), *value.shape[1:])
            value = everything.index_copy(0, place.long(), value).view(*images_and_splats, *value.shape[1:])
        return in_shape(value)

    def gradients() -> tuple[Tensor, Tensor] | None:
        if means2d.grad is None:
            return None
        magnitudes = means2d.absgrad if absgrad else torch.zeros_like(means2d)
        return whole(means2d.grad), whole(magnitudes)

    depth = images[..., 3] if with_depth else images[..., :0, :0, 0]
    rgb, alpha, depth = (in_shape(image) for image in (images[..., :3], alpha[..., 0], depth))
    return rgb, alpha, depth, lambda: (whole(means2d.detach()), whole(radii)), gradients
