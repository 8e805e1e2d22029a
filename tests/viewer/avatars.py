"""Avatars that need no training: a flat card for speed, and a head model drawn by the mesh rasteriser."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from studio.avatar import RenderOutput
from studio.cameras import Camera, focal_from_fov, intrinsics, look_at
from studio.code_range import measure_range
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.heads.model import HeadModel
from studio.kernels.mesh_render import MeshSurface, render_mesh


def still(codes: Codes, frames: int = 1) -> CodeTrack:
    """A track that stays in one state."""
    return CodeTrack(Codes.stack([codes] * frames), 25.0, torch.ones(frames, dtype=torch.bool))


class MeshAvatar:
    """The Avatar protocol on a head model.

    Args:
        head: any head model.
        background: [H, W, 3] what its own camera sees behind it, or None.
    """

    def __init__(self, head: HeadModel, background: Tensor | None = None) -> None:
        self.space = head.space
        self.codes = Codes.neutral(head.space)
        self.code_range = measure_range(still(self.codes))
        self.background = background
        self.camera = own_camera()
        self._head = head
        self._surface = MeshSurface.of(head)

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        vertices = self._head.vertices(torch.zeros(self._head.num_identity), codes)
        return render_mesh(vertices, self._surface, camera)


class CardAvatar:
    """A card between the eyes, facing the camera: red grows with jawOpen."""

    def __init__(self, background: Tensor | None = None) -> None:
        self.space: CodeSpace = ARKIT52
        self.codes = Codes.neutral()
        self.code_range = measure_range(still(self.codes))
        self.background = background
        self.camera = own_camera()

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        (center,), (depth,) = (value[0] for value in camera.project(codes.head_to_world[None, :3, 3]))
        half = 0.08 * camera.Ks[0, 0, 0] / depth
        y, x = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
        alpha = ((x - center[0]).abs().maximum((y - center[1]).abs()) < half).float()[None]
        color = torch.tensor((0.0, 0.5, 0.5))
        if "jawOpen" in self.space.channels:
            color[0] = codes.expression[self.space.index("jawOpen")]
        return RenderOutput(alpha[..., None] * color, alpha, lambda: alpha * depth)


def own_camera() -> Camera:
    """A camera a little to the side, whose principal point is not in the middle of its image."""
    K = intrinsics(focal_from_fov(math.radians(30.0), 256), 256, 192)
    K[0, 2] += 30.0
    K[1, 2] -= 20.0
    viewmat = look_at(torch.tensor((0.1, 0.0, 0.9)), torch.tensor((0.0, 0.0, 0.0)))
    return Camera(viewmat[None], K[None], 256, 192)


def stripes() -> Tensor:
    """A background [192, 256, 3] that cannot be taken for anything else."""
    image = torch.zeros(192, 256, 3)
    image[:, ::2, 1] = 1.0
    return image
