"""Pinhole cameras: OpenCV axes (x right, y down, z forward), metres, pixel centres at +0.5, no distortion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.rotations import rigid_inverse


@dataclass(frozen=True)
class Camera:
    """C cameras of one image size.

    Args:
        viewmats: [C, 4, 4] world to camera, rigid.
        Ks: [C, 3, 3] intrinsics in pixels.
        width: image width in pixels.
        height: image height in pixels.
        ids: one name (a rig's serial) for each camera; "0", "1", … where none is given.

    Raises:
        StudioError: shapes do not fit together or ids repeat.
    """

    viewmats: Tensor
    Ks: Tensor
    width: int
    height: int
    ids: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        count = self.viewmats.shape[0] if self.viewmats.ndim == 3 else -1
        if tuple(self.viewmats.shape) != (count, 4, 4) or tuple(self.Ks.shape) != (count, 3, 3):
            raise StudioError(
                "camera matrices do not fit together",
                got=f"viewmats {tuple(self.viewmats.shape)}, Ks {tuple(self.Ks.shape)}",
                expected="viewmats [C, 4, 4] and Ks [C, 3, 3]",
                next="stack single cameras along a first dimension",
            )
        if not self.ids:
            object.__setattr__(self, "ids", tuple(str(index) for index in range(count)))
        if len(self.ids) != count or len(set(self.ids)) != count:
            raise StudioError(
                "camera ids do not fit the cameras", got=list(self.ids), expected=f"{count} different names"
            )

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int]) -> Camera:
        """A selection of the cameras; a single index keeps the leading dimension (C = 1)."""
        chosen = range(len(self))[index] if isinstance(index, slice) else index
        indices = [chosen] if isinstance(chosen, int) else list(chosen)
        ids = tuple(self.ids[i] for i in indices)
        return replace(self, viewmats=self.viewmats[indices], Ks=self.Ks[indices], ids=ids)

    def to(self, device: torch.device | str) -> Camera:
        return replace(self, viewmats=self.viewmats.to(device), Ks=self.Ks.to(device))

    @property
    def centers(self) -> Tensor:
        """Camera centres [C, 3] in world coordinates."""
        return rigid_inverse(self.viewmats)[:, :3, 3]

    def resized(self, width: int, height: int) -> Camera:
        """The same views sampled with another number of pixels (non-uniform scales allowed)."""
        scale = self.Ks.new_tensor((width / self.width, height / self.height, 1.0))
        return replace(self, Ks=self.Ks * scale[:, None], width=width, height=height)

    def cropped(self, left: float, top: float, width: int, height: int) -> Camera:
        """The window whose top-left corner is at pixel (left, top); it may leave the image."""
        Ks = self.Ks.clone()
        Ks[:, 0, 2] -= left
        Ks[:, 1, 2] -= top
        return replace(self, Ks=Ks, width=width, height=height)

    def project(
        self,
        points: Tensor,  # [N, 3] or [C, N, 3] world
    ) -> tuple[Tensor, Tensor]:
        """Pixel positions [C, N, 2] and camera depths [C, N] of world points."""
        in_camera = points @ self.viewmats[:, :3, :3].transpose(1, 2) + self.viewmats[:, None, :3, 3]
        homogeneous = in_camera @ self.Ks.transpose(1, 2)
        depth = in_camera[..., 2]
        return homogeneous[..., :2] / depth[..., None], depth


def intrinsics(focal: float, width: int, height: int) -> Tensor:
    """K [3, 3] for square pixels with the principal point in the middle; focal length in pixels."""
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def focal_from_fov(fov: float, pixels: int) -> float:
    """Focal length in pixels of a field of view (radians) that spans ``pixels``."""
    return 0.5 * pixels / math.tan(0.5 * fov)


def look_at(
    eye: Tensor,  # [..., 3] world, metres
    target: Tensor,  # [..., 3] world
    up: Tensor | None = None,  # [3] world; +y by default
) -> Tensor:
    """World-to-camera matrices [..., 4, 4] of cameras at ``eye`` that look at ``target``, image top towards ``up``."""
    eye, target = torch.broadcast_tensors(eye, target)
    up = eye.new_tensor((0.0, 1.0, 0.0)) if up is None else up
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack((right, down, forward), dim=-2)
    viewmats = torch.eye(4, dtype=eye.dtype, device=eye.device).repeat(*eye.shape[:-1], 1, 1)
    viewmats[..., :3, :3] = rotation
    viewmats[..., :3, 3] = -(rotation @ eye[..., None])[..., 0]
    return viewmats


def orbit(
    target: Tensor,  # [3] world, metres
    radius: float,
    azimuths: Tensor,  # [C] radians, 0 looks at the face from the front (+z), positive from the subject's left (+x)
    elevations: Tensor,  # [C] radians, positive from above
    K: Tensor,  # [3, 3] pixels
    width: int,
    height: int,
) -> Camera:
    """Cameras on a sphere of ``radius`` metres round ``target``, all looking at it."""
    direction = torch.stack(
        (azimuths.sin() * elevations.cos(), elevations.sin(), azimuths.cos() * elevations.cos()), dim=-1
    )
    viewmats = look_at(target + radius * direction, target)
    return Camera(viewmats, K.expand(len(viewmats), 3, 3).clone(), width, height)
