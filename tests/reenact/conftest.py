"""A small avatar for tests: the built-in head as a textured mesh, behind the same protocol as every avatar."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from studio.avatar import RenderOutput
from studio.cameras import Camera, focal_from_fov, intrinsics, look_at
from studio.code_range import CodeRange, measure_range
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.kernels.mesh_render import render_mesh


def frontal_camera(size: int = 96) -> Camera:
    """A portrait camera 60 cm in front of the face."""
    eye, target = torch.tensor([0.0, -0.03, 0.6]), torch.tensor([0.0, -0.04, 0.0])
    return Camera(look_at(eye, target)[None], intrinsics(focal_from_fov(0.55, size), size, size)[None], size, size)


@dataclass
class MeshAvatar:
    """A head model in one identity, at the world's origin."""

    head: HeadModel
    camera: Camera = field(default_factory=frontal_camera)
    background: Tensor | None = None
    space: CodeSpace = ARKIT52
    codes: Codes = field(default_factory=Codes.neutral)

    @property
    def code_range(self) -> CodeRange:
        """Learned from a single frame at rest."""
        return measure_range(CodeTrack(Codes.stack([self.codes]), 25.0, torch.ones(1, dtype=torch.bool)))

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """The posed mesh from all cameras."""
        vertices = self.head.vertices(torch.zeros(self.head.num_identity), codes)
        return render_mesh(vertices, self.head, camera)


@pytest.fixture(scope="session")
def avatar() -> MeshAvatar:
    """The built-in head."""
    return MeshAvatar(load_head("procedural"))
