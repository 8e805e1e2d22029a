"""Small corrections of head and torso pose for the training frames only.

Tracking errors of a few milliradians are not smooth in time; an avatar trained on them as they are learns to blur. Each
training frame therefore gets its own small rigid motion of the head and of the torso. They are thrown away after
training and have zero mean, so that frames driven by plain tracked codes see the avatar where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from recon.avatars.splats import SplatAvatar
from recon.field import Gaussians
from recon.states import rows_at
from studio.heads.model import JOINTS

# A residual of 1 is this much: radians, and inter-ocular distances.
_TURN_GAIN, _SHIFT_GAIN = 0.02, 0.03


class PoseResiduals(nn.Module):
    """Rigid motions of head and torso for each training timestep: ``values`` [T, 2, 6] (head, torso; turn, shift)."""

    def __init__(self, timesteps: int, unit: float) -> None:
        """Args: timesteps: how many training timesteps; unit: inter-ocular distance, metres."""
        super().__init__()
        self.values = nn.Parameter(torch.zeros(timesteps, 2, 6))
        self._unit = unit

    def forward(
        self,
        gaussians: Gaussians,  # head frame, of one state or, with several timesteps, of one for each
        torso: Tensor,  # [N] how much each Gaussian follows the torso
        timesteps: Sequence[int],  # places among those of training
    ) -> Gaussians:
        """The Gaussians moved by the residuals of timesteps, to first order."""
        chosen = rows_at(self.values, timesteps)
        head, trunk = (chosen - self.values.mean(0))[..., None, :].unbind(-3)  # [..., 1, 6]
        motion = head + torso[:, None] * trunk
        turn, shift = _TURN_GAIN * motion[..., :3], _SHIFT_GAIN * self._unit * motion[..., 3:]
        return replace(gaussians, means=gaussians.means + torch.linalg.cross(turn, gaussians.means) + shift)


def torso_share(avatar: SplatAvatar) -> Tensor:
    """[N] how much each Gaussian follows the torso."""
    head, binding = avatar.head, avatar.binding
    weights = head.skin_weights[:, JOINTS.index("torso")]
    return (weights[head.faces[binding.faces]] * binding.bary).sum(1)
