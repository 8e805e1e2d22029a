"""Teeth, tongue and eyeballs are held near the colours they began with.

Adam makes as large a step of a glimpse between lips as of what is always seen: teeth and tongue would be speckled with
the colours of lips. Against gradients that agree, a small share of the way back each step is nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recon.avatars.splats import SplatAvatar
from recon.binding import Binding
from recon.growth import Splits, inherit

_INSIDE = ("teeth_upper", "teeth_lower", "tongue", "gums", "mouth_interior", "eye_left", "eye_right")


class HeldColors:
    """``values`` [N, 3] are the colours that an avatar has now, and what is inside of it returns to."""

    def __init__(self, avatar: SplatAvatar) -> None:
        self.values: Tensor = avatar.learned.colors.detach().clone()
        self._inside: tuple[Binding, Tensor] | None = None  # which Gaussians, as long as the binding stays

    @torch.no_grad()
    def pull(self, avatar: SplatAvatar, share: float) -> None:
        """What is inside of mouth and eyes goes a share of its way back."""
        if self._inside is None or self._inside[0] is not avatar.binding:
            inside = torch.nonzero(avatar.head.region_faces(*_INSIDE)[avatar.binding.faces])[:, 0]
            self._inside = avatar.binding, inside.to(avatar.device)
        colors, inside = avatar.learned.colors, self._inside[1]
        now, first = colors.index_select(0, inside), self.values.index_select(0, inside)
        colors.index_copy_(0, inside, now.lerp_(first, share))

    def split(self, splits: Splits) -> None:
        """Both halves of a Gaussian return to the colour of the whole."""
        self.values = inherit(self.values, splits)
