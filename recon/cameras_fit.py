"""What calibration got wrong, learned along with an avatar: an affine change of colour and a small motion per camera.

NeRSemble corrects each camera's colours by an affine map before training, from a colour chart (arXiv 2305.03027); here
the avatar is the chart. Neither correction can do what the avatar itself should: colours keep their mean over the
cameras, and the cameras do not move all together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recon.states import rows_at
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.rotations import axis_angle_to_matrix, rigid

# A motion of 1 is this much: radians, and inter-ocular distances.
_TURN_GAIN, _SHIFT_GAIN = 0.02, 0.1


class RigResiduals(nn.Module):
    """Corrections of C cameras: ``colors`` [C, 3, 4] added to the identity, ``motions`` [C, 6] (turn, shift)."""

    _gains: Tensor
    _own: Tensor

    def __init__(self, cameras: Camera, unit: float, colors: bool = True, motions: bool = True) -> None:
        """Args: cameras: those trained on; unit: inter-ocular distance, metres; colors, motions: which to learn."""
        super().__init__()
        self._ids = cameras.ids
        gains = torch.tensor([_TURN_GAIN] * 3 + [_SHIFT_GAIN * unit] * 3)
        self.register_buffer("_gains", gains, persistent=False)
        self.register_buffer("_own", _without_common(cameras.viewmats, gains), persistent=False)
        self.colors = nn.Parameter(torch.zeros(len(cameras), 3, 4), requires_grad=colors)
        self.motions = nn.Parameter(torch.zeros(len(cameras), 6), requires_grad=motions)

    def placed(self, camera: Camera) -> Camera:
        """One of the cameras (C = 1), where the photos say that it is."""
        if not self.motions.requires_grad:
            return camera
        motion = (self._own @ self.motions.flatten()).view(-1, 6)[self._ids.index(camera.ids[0])] * self._gains
        moved = rigid(axis_angle_to_matrix(motion[:3]), motion[3:])
        return replace(camera, viewmats=moved @ camera.viewmats.to(moved.device))

    def colored(self, output: RenderOutput, ids: Sequence[str]) -> RenderOutput:
        """What cameras of these ids make of the person's colours, each in its image of ``output``."""
        if not self.colors.requires_grad:
            return output
        change = rows_at(self.colors - self.colors.mean(0), [self._ids.index(name) for name in ids]).mT
        shown = torch.cat((output.rgb, output.alpha[..., None]), dim=-1)
        return replace(output, rgb=output.rgb + shown @ (change if change.ndim == 2 else change[:, None]))

    @torch.no_grad()
    def report(self) -> dict[str, Any]:
        """The corrections by camera id, as JSON data: colour [3, 4], turn in radians, shift in metres."""
        motions = ((self._own @ self.motions.flatten()).view(-1, 6) * self._gains).cpu()
        colors = (self.colors - self.colors.mean(0)).cpu() + torch.eye(3, 4)
        return {
            name: {"color": color.tolist(), "turn": motion[:3].tolist(), "shift": motion[3:].tolist()}
            for name, color, motion in zip(self._ids, colors, motions)
        }


def _without_common(
    viewmats: Tensor,  # [C, 4, 4]
    gains: Tensor,  # [6]
) -> Tensor:
    """[6 C, 6 C]: the projection of motions (in units of ``gains``) that takes out what moves all cameras as one.

    A motion (ω, u) of the world is (R ω, R u + t × R ω) before a camera with rotation R and translation t.
    """
    R, t = viewmats[:, :3, :3].double(), viewmats[:, :3, 3].double()
    turned = torch.linalg.cross(t[:, None].expand(-1, 3, 3), R.transpose(1, 2)).transpose(1, 2)
    common = torch.cat((torch.cat((R, torch.zeros_like(R)), dim=2), torch.cat((turned, R), dim=2)), dim=1)
    basis, _ = torch.linalg.qr((common / gains.double()[:, None]).flatten(0, 1))
    return (torch.eye(len(basis), dtype=torch.float64) - basis @ basis.T).float()
