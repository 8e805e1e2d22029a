"""What training minimises."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.frames import View
from recon.perceptual import Perceptual
from studio.avatar import RenderOutput
from studio.kernels.view_loss import Target, Weights, view_loss

_UNSURE = 5  # levels: a matte within this of 0 or 255 is certain; between, hair and motion blur decide for themselves


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms.

    Args:
        ssim: share of 1 - SSIM in the photometric term (the rest is L1).
        emphasis: how much more a pixel of the mouth or the eyes counts.
        matte: of coverage where the matte says nobody, or the whole pixel.
        lpips: of LPIPS, for which the user brings weights, see ``recon.perceptual``.
        temporal: of what the corrections' weights change from one frame to the next, see ``recon.temporal``.
    """

    ssim: float = 0.2
    emphasis: float = 3.0
    matte: float = 0.1
    lpips: float = 0.0
    temporal: float = 0.0


def image_loss(
    output: RenderOutput,
    background: Tensor,  # what is behind the renders, see ``view_loss``
    target: Target,  # photos over the same background, where the mouth and the eyes are, mattes
    config: LossConfig,
    perceptual: Perceptual | None = None,
) -> Tensor:
    """The mean loss of the views, a scalar; ``perceptual`` is needed where LPIPS has a weight."""
    weights = Weights(config.ssim, config.emphasis, config.matte, _UNSURE)
    loss = view_loss(output.rgb, output.alpha, background, target, weights)
    if perceptual is not None and config.lpips > 0:
        loss = (
            loss
            + config.lpips * perceptual(output.over(background), as_floats(target.image).view_as(output.rgb)).mean()
        )
    return loss


def as_floats(image: Tensor) -> Tensor:
    """An image of bytes, or of floats, as floats 0..1."""
    return image / 255 if image.dtype == torch.uint8 else image


def target_over(
    view: View,
    known: Tensor
    | None,  # [H, W, 3] what the camera sees without the person, or None if the photo holds the person only
    wanted: Tensor,  # [3] or [H, W, 3]
) -> Tensor:
    """The photo [H, W, 3] with another background, by its matte: photo = α F + (1 - α) known."""
    assert view.alpha is not None
    photo, alpha = view.image / 255, view.alpha[..., None] / 255
    person = photo * alpha if known is None else photo - (1 - alpha) * known
    return (person + (1 - alpha) * wanted).clamp(0, 1)
