"""The learned part of a splat avatar: Gaussians in the frames of their triangles, and their corrections by code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recon.binding import Anchors, Binding
from recon.corrections import BasisWeights
from studio.kernels.basis_gradient import BasisGradient
from studio.kernels.drive import CHANNELS, Gains, carry_splats

# What a correction of 1 means, so that one learning rate suits all: position in inter-ocular distances, components of a
# unit quaternion, sRGB values, logit of opacity.
_POSITION_GAIN, _ROTATION_GAIN, _COLOR_GAIN, _OPACITY_GAIN = 0.02, 0.2, 0.2, 0.5
_INITIAL_OPACITY = 0.6
# Of the spacing between neighbours: a Gaussian starts as a flat disc that overlaps them.
_INITIAL_WIDTH, _INITIAL_THICKNESS = 0.7, 0.2
_MOST_STRETCHED_AXIS = 0.25  # inter-ocular distances; no Gaussian ever grows beyond


@dataclass(frozen=True)
class FieldConfig:
    """Size of the learned part.

    Args:
        bases: K corrections that each Gaussian owns; 0 switches corrections off.
        hidden: width of the networks that weight them.
        components: most motions of its part's landmarks that a network sees.
    """

    bases: int = 16
    hidden: int = 64
    components: int = 32


@dataclass(frozen=True)
class Gaussians:
    """N activated Gaussians in the head frame; see ``studio.splats.Splats`` for the fields."""

    means: Tensor  # [..., N, 3]
    quats: Tensor  # [..., N, 4]
    scales: Tensor  # [..., N, 3]
    opacities: Tensor  # [..., N]
    colors: Tensor  # [..., N, 3] sRGB-encoded, not negative


class SplatField(nn.Module):
    """Gaussians bound to triangles.

    Parameters (N Gaussians, K bases):
        offsets [N, 3]: in the triangle's frame, in inter-ocular distances.
        quats [N, 4]: wxyz, from the Gaussian's axes to the triangle's frame.
        log_scales [N, 3]: of the standard deviations in inter-ocular distances.
        opacity_logits [N], colors [N, 3].
        bases [K, N * CHANNELS]: corrections of position, rotation, colour and opacity.
    """

    def __init__(
        self,
        binding: Binding,
        unit: float,  # inter-ocular distance, metres
        components: Sequence[int],  # how many of the code components each part sees
        config: FieldConfig,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        count = len(binding)
        self.unit, self.config = unit, config
        spacing = (binding.spacing / unit).clamp(max=_MOST_STRETCHED_AXIS)
        shape = torch.tensor((_INITIAL_WIDTH, _INITIAL_WIDTH, _INITIAL_THICKNESS)).repeat(count, 1)
        shape[binding.loose, 2] = _INITIAL_WIDTH  # hair is no surface
        self.offsets = nn.Parameter(binding.offsets / unit)
        self.quats = nn.Parameter(torch.tensor((1.0, 0.0, 0.0, 0.0)).repeat(count, 1))
        self.log_scales = nn.Parameter((spacing[:, None] * shape).log())
        self.opacity_logits = nn.Parameter(torch.logit(torch.full((count,), _INITIAL_OPACITY)))
        self.colors = nn.Parameter(torch.full((count, 3), 0.5))
        self.bases = nn.Parameter(torch.zeros(config.bases, count * CHANNELS))
        self.basis_gradient: BasisGradient | None = None  # of an optimiser that wants it in factors
        self.weights = BasisWeights(components, config.hidden, config.bases, generator)

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def gains(self) -> Gains:
        """What the parameters are measured in."""
        return Gains(self.unit, _POSITION_GAIN, _ROTATION_GAIN, _COLOR_GAIN, _OPACITY_GAIN, _MOST_STRETCHED_AXIS)

    def forward(
        self,
        anchors: Anchors,
        components: Tensor,  # [..., D] of the codes
        parts: Tensor,  # [N] int64, see ``Binding``
    ) -> Gaussians:
        """The Gaussians of states, in the head frame; [..., N, …] where anchors and components are of a batch."""
        raw = (self.offsets, self.quats, self.log_scales, self.opacity_logits, self.colors, self.bases)
        anchored = (anchors.origins, anchors.quats, anchors.stretch)
        weights = self.weights(components)
        return Gaussians(*carry_splats(self.gains, anchored, raw, weights, parts, basis_gradient=self.basis_gradient))
