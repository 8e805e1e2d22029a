"""Anchors posed by the kernels, with a quick gradient to the codes.

``Rig.anchors`` differentiates every triangle's frame and costs more than the image itself. Here an anchor is a small
rigid body on blended joints: what joints do to it and where expressions carry it are differentiated, the tilt and
stretch of its triangle by an expression are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from recon.binding import Anchors, Binding, Rig
from studio.codes import Codes
from studio.heads.model import JOINTS, HeadModel
from studio.rotations import axis_angle_to_matrix, quat_multiply


class MovingAnchors:
    """The anchors of an avatar as a function of codes that may need gradients."""

    def __init__(self, head: HeadModel, binding: Binding, rig: Rig) -> None:
        corners = head.faces[binding.faces]
        self.head, self.rig = head, rig
        moves = head.expression_basis
        self.moving = (moves.abs().amax(dim=(0, 2)) > 0).nonzero()[:, 0]  # [M]: neither hair nor clothes
        self.moves = moves[:, self.moving].flatten(1)  # [E, 3 M]
        self.weights = (head.skin_weights[corners] * binding.bary[..., None]).sum(1)  # [N, J]
        columns = np.repeat(np.arange(len(corners)), 3)
        entries = (binding.bary.reshape(-1).numpy(), (corners.reshape(-1).numpy(), columns))
        self.spread = csr_matrix(entries, (len(head.template), len(corners)))  # [V, N]

    def __call__(
        self,
        codes: Codes,  # no batch
    ) -> Anchors:
        """As ``Rig.anchors``."""
        turns = axis_angle_to_matrix(self.head.joint_turns(codes))
        shifts = torch.zeros(len(JOINTS), 3).index_add(
            0, torch.tensor([JOINTS.index("torso")]), codes.neck_translation[None]
        )
        return Anchors(*_Posed.apply(self, codes, codes.expression, turns, shifts))

    def gradients(
        self, expression: Tensor, turns: Tensor, force: Tensor, frame: Tensor, quats: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """From gradients of origins (``force`` [N, 3]) and frames [N, 4] to those of expression, turns and shifts."""
        # A small rotation δ changes a frame q by ½ (0, δ) q.
        torque = 0.5 * quat_multiply(frame, quats * quats.new_tensor((1, -1, -1, -1)))[:, 1:]
        skin, pull = self.head.skin_weights, torch.from_numpy(self.spread @ force.numpy())  # [V, 3]
        blended = (skin @ turns.flatten(1)).view(-1, 3, 3)
        in_rest = (pull[:, None] @ blended)[:, 0]
        rest = self.head.template.index_add(0, self.moving, (expression @ self.moves).view(-1, 3))
        shifts = skin.T @ pull
        arms = (skin.T @ (pull[:, :, None] * rest[:, None]).flatten(1)).view(-1, 3, 3)
        arms = arms - shifts[:, :, None] * self.head.joint_positions[:, None]
        x, y, z = (self.weights.T @ torque).unbind(-1)
        zero = torch.zeros_like(x)
        skew = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1).view(-1, 3, 3)
        return self.moves @ in_rest[self.moving].flatten(), arms + 0.5 * skew @ turns, shifts


class _Posed(torch.autograd.Function):
    """Origins, frames and stretch; forward by ``Rig.pose``."""

    @staticmethod
    def forward(
        ctx: Any, places: MovingAnchors, codes: Codes, expression: Tensor, turns: Tensor, shifts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        plain = Codes(codes.space, **{name: value.detach() for name, value in codes.tensors().items()})
        anchors = places.rig.pose(plain)
        ctx.places = places
        ctx.save_for_backward(expression, turns, anchors.quats)
        return anchors.origins, anchors.quats, anchors.stretch

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, force: Tensor, frame: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        expression, turns, quats = ctx.saved_tensors
        return (None, None, *ctx.places.gradients(expression, turns, force, frame, quats))
