"""A mesh avatar: a head model drawn by the mesh rasteriser behind the Avatar protocol."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.avatar import RenderOutput
from studio.cameras import Camera, focal_from_fov, intrinsics, orbit
from studio.code_range import measure_range
from studio.codes import Codes, CodeSpace, CodeTrack
from studio.heads.model import HeadModel
from studio.kernels.mesh_render import MeshSurface, render_mesh


class MeshAvatar:
    """The Avatar protocol on a head model.

    Args:
        head: any head model.
        background: [H, W, 3] what its own camera sees behind it, or None.
    """

    def __init__(self, head: HeadModel, background: Tensor | None = None) -> None:
        self.space: CodeSpace = head.space
        self.codes = Codes.neutral(head.space)
        self.code_range = measure_range(_still(self.codes))
        self.background = background
        K = intrinsics(focal_from_fov(math.radians(30.0), 256), 256, 256)
        self.camera = orbit(torch.zeros(3), 0.9, torch.tensor([0.1]), torch.tensor([0.0]), K, 256, 256)
        self._head = head
        self._surface = MeshSurface.of(head)

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        identity = torch.zeros(self._head.num_identity)
        return render_mesh(self._head.vertices(identity, codes), self._surface, camera, supersample=2)


def _still(codes: Codes) -> CodeTrack:
    """One frame of a state."""
    return CodeTrack(Codes.stack([codes]), 25.0, torch.ones(1, dtype=torch.bool))
