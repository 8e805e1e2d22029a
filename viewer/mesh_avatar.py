"""A capture before there is an avatar: the tracked head as a mesh, or nothing, before the capture's cameras."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recon.person import identity_of
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange, measure_range
from studio.codes import Codes, CodeSpace, CodeTrack
from studio.heads.model import HeadModel
from studio.kernels.mesh_render import MeshSurface, render_mesh

NOTHING = CodeSpace("static", ())


@dataclass(frozen=True)
class HeadAvatar:
    """The Avatar protocol on a tracked head.

    Args:
        camera: the capture's first (C = 1).
        head: the person's head, or None where nothing was tracked.
        code_range: of the track.
    """

    camera: Camera
    head: HeadModel | None
    code_range: CodeRange
    background: Tensor | None = None

    @staticmethod
    def of(camera: Camera, head: HeadModel | None, track: CodeTrack | None) -> HeadAvatar:
        """The head of a track; nothing without one."""
        if head is None or track is None or not bool(track.valid.any()):
            still = CodeTrack(Codes.neutral(NOTHING, (1,)), 1.0, torch.ones(1, dtype=torch.bool))
            return HeadAvatar(camera, None, measure_range(still))
        return HeadAvatar(camera, head.with_identity(identity_of(track, head)), measure_range(track))

    @property
    def space(self) -> CodeSpace:
        return NOTHING if self.head is None else self.head.space

    @property
    def codes(self) -> Codes:
        return self.code_range.neutral

    @cached_property
    def _surface(self) -> MeshSurface:
        assert self.head is not None
        return MeshSurface.of(self.head)

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """The mesh from all cameras."""
        if self.head is None:
            count, height, width = len(camera), camera.height, camera.width
            nothing = torch.zeros(count, height, width)
            return RenderOutput(torch.zeros(count, height, width, 3), nothing, lambda: nothing)
        vertices = self.head.vertices(torch.zeros(self.head.num_identity), codes)
        return render_mesh(vertices, self._surface, camera, supersample=1)
