"""Images of radiance fields, so many rays at a time that memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recon.head_field import HeadField, Moments
from recon.radiance import pixel_rays
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.kernels.march import Composite

_RAYS = 4096  # at a time: about 100 kB of samples each before the empty ones are dropped


@torch.no_grad()
def render_rays(
    camera: Camera,
    look: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> RenderOutput:
    """What all cameras see, in parts.

    Args:
        look: from origins and directions [R, 3] of rays and camera z per distance [R] to premultiplied rgb, alpha and
            camera z of what they see [R, 5].
    """
    size = (len(camera), camera.height, camera.width)
    pixels = torch.cartesian_prod(*(torch.arange(length) for length in size))
    seen = torch.cat([look(*pixel_rays(camera, chunk)) for chunk in pixels.split(_RAYS)]).reshape(*size, 5)
    return RenderOutput(seen[..., :3].contiguous(), seen[..., 3].contiguous(), lambda: seen[..., 4])


def shown_pixels(
    seen: Composite,
    z: Tensor,  # [R] camera z per distance
    behind: Tensor | None = None,  # [R, 3] colours of what is behind everything
) -> Tensor:
    """What rays see as ``render_rays`` wants it [R, 5]."""
    rgb, alpha = seen.rgb.clamp(0.0, 1.0), seen.alpha[:, None].clamp(0.0, 1.0)
    if behind is not None:
        rgb, alpha = rgb + (1.0 - alpha) * behind, torch.ones_like(alpha)
    return torch.cat((rgb, alpha, (seen.depth * z)[:, None]), dim=1)


@torch.no_grad()
def render_field(field: HeadField, moments: Moments, camera: Camera) -> RenderOutput:
    """One moment (C = 1) from all cameras, whose world is the field's frame."""
    prepared = field.prepare(moments)

    def look(origins: Tensor, directions: Tensor, z: Tensor) -> Tensor:
        index = torch.zeros(len(z), dtype=torch.int64)
        samples, _ = field.visible(origins, directions, index, prepared, field.march(origins, directions))
        if not len(samples.starts):
            return origins.new_zeros(len(z), 5)
        shown = field.parameters.get("appearance")
        shown = None if shown is None else shown.mean(0).expand(len(z), -1)
        seen = field.shade(origins, directions, index, prepared, samples, shown)
        return shown_pixels(seen, z)

    return render_rays(camera, look)
