"""What training minimises."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recon.frames import View
from recon.perceptual import Perceptual
from studio.avatar import RenderOutput
from studio.kernels.composite import composite
from studio.kernels.photometric import photometric_loss
from studio.kernels.view_terms import emphasised, matte_loss

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
    output: RenderOutput,  # C = 1
    background: Tensor,  # [H, W, 3] or [3]: what is behind the render
    target: Tensor,  # [H, W, 3] float, the photo, over the same background
    view: View,
    config: LossConfig,
    perceptual: Perceptual | None = None,
) -> Tensor:
    """The loss of one view, a scalar; ``perceptual`` is needed where LPIPS has a weight."""
    weight = emphasised(view.emphasis, config.emphasis)[None]
    shown = composite(output.rgb, output.alpha, background)
    loss = photometric_loss(shown, target[None], weight, config.ssim)
    if perceptual is not None and config.lpips > 0:
        loss = loss + config.lpips * perceptual(shown, target[None]).mean()
    if view.alpha is not None and config.matte > 0:
        loss = loss + config.matte * matte_loss(output.alpha[0], view.alpha, _UNSURE)
    return loss


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
