"""What the pixels of photos say of single Gaussians: sums over pixels by blending weight."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.frames import View
from studio.avatar import RenderOutput
from studio.codes import Codes


def summed_by_gaussian(
    avatar: SplatAvatar,
    codes: Codes,  # batch [T]
    views: Iterable[View],
    values: Callable[[View, RenderOutput], Tensor],  # [H, W] of a view and its render
) -> Tensor:
    """[N] the values of all pixels of the views, each shared among the Gaussians by their weights in that pixel.

    Blending is linear in the colours: the weight of a Gaussian in a pixel is the gradient of the pixel to its colour.
    """
    total = torch.zeros(len(avatar.learned), device=avatar.device)
    for view in views:
        state = codes[view.key[0]]
        with torch.no_grad():
            gaussians = avatar.head_gaussians(state)
        colors = gaussians.colors.clamp(min=0).requires_grad_()
        drawn = avatar.render_gaussians(view.camera, replace(gaussians, colors=colors), state.head_to_world)
        (drawn.rgb[0, ..., 0] * values(view, drawn).detach()).sum().backward()
        assert colors.grad is not None
        total += colors.grad[:, 0]
    return total
