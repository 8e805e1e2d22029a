"""First colours of the Gaussians, read from the photos."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recon.avatars.splats import SplatAvatar
from recon.frames import View
from studio.codes import Codes

_LEAST_SEEN = 0.05  # blending weight over all views below which a Gaussian was not seen


def initial_colors(
    avatar: SplatAvatar,
    codes: Codes,  # batch [T]
    views: Sequence[View],
) -> None:
    """Set each Gaussian's colour to the mean of the pixels it covers, weighted by how much of each it makes up.

    Blending is linear in the colours, so that weight is the gradient of the image to the colour: no extra pass over
    pixels is needed. Gaussians that no view shows keep the mean colour of their neighbours on the mesh, here of all.
    """
    count = len(avatar.learned)
    colored, seen = torch.zeros(count, 3), torch.zeros(count, 3)
    for view in views:
        state = codes[view.key[0]]
        photo = view.image.float() / 255
        inside = torch.ones(photo.shape[:2]) if view.alpha is None else view.alpha.float() / 255
        with torch.no_grad():
            gaussians = avatar.head_gaussians(state)
        colors = gaussians.colors.clone().requires_grad_()
        for total, image in ((colored, photo), (seen, torch.ones(3))):
            drawn = avatar.render_gaussians(
                view.camera, gaussians.__class__(**{**vars(gaussians), "colors": colors}), state.head_to_world
            )
            weight = image * inside[..., None]
            total += torch.autograd.grad((drawn.rgb[0] * weight).sum(), colors)[0]
    known = seen[:, 0] > _LEAST_SEEN
    mean = colored[known].sum(0) / seen[known].sum(0)
    with torch.no_grad():
        avatar.learned.colors.copy_(torch.where(known[:, None], colored / seen.clamp(min=1e-6), mean))
