"""The cameras through which a face is seen, and what their pixels say of points in space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from capture.tracking.geometry import project, projection_jacobian
from studio.cameras import Camera
from studio.rotations import rigid_inverse, transform_points


@dataclass(frozen=True)
class Views:
    """C pinhole cameras. The world of a single one may be its own coordinates.

    Args:
        Ks: [C, 3, 3] pixels.
        viewmats: [C, 4, 4] world to camera.
    """

    Ks: Tensor
    viewmats: Tensor

    @staticmethod
    def single(K: Tensor) -> Views:
        """One camera [3, 3] that is the world's origin."""
        return Views(K[None], torch.eye(4, dtype=K.dtype)[None])

    @staticmethod
    def of(cameras: Camera) -> Views:
        return Views(cameras.Ks, cameras.viewmats)

    def __getitem__(self, view: int) -> Views:
        """One of the cameras."""
        return Views(self.Ks[view : view + 1], self.viewmats[view : view + 1])

    def __len__(self) -> int:
        return len(self.Ks)

    @property
    def centers(self) -> Tensor:
        """[C, 3] world, metres."""
        return rigid_inverse(self.viewmats)[:, :3, 3]

    def in_cameras(
        self,
        points: Tensor,  # [T, N, 3] world
    ) -> Tensor:
        """Points [T, C, N, 3] in the axes of every camera."""
        return transform_points(self.viewmats, points[:, None])

    def project(
        self,
        points: Tensor,  # [T, N, 3] world
    ) -> Tensor:
        """Pixels [T, C, N, 2]."""
        return project(self.in_cameras(points), self.Ks)

    def jacobian(
        self,
        in_cameras: Tensor,  # [T, C, N, 3]
    ) -> Tensor:
        """Derivatives [T, C, N, 2, 3] of pixels by points in the world."""
        return projection_jacobian(in_cameras, self.Ks) @ self.viewmats[:, None, :3, :3]
