"""Gaussians hang on triangles: where each one sits, and how the triangles carry them when the head moves.

A Gaussian's position is its place on the triangle plus an offset in the triangle's frame, which turns and stretches
with the triangle (GaussianAvatars, arXiv 2312.02069; sampling over the surface as in RGBAvatar, arXiv 2503.12886).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn.functional import normalize

from recon.bust import interocular
from studio.codes import JOINT_SIZES, Codes
from studio.heads.mediapipe_points import GROUPS, LIDS_LEFT, LIDS_RIGHT, LIPS
from studio.heads.model import JOINTS, HeadModel
from studio.kernels.drive import LEAST, LEAST_STRETCH, MOST_STRETCH, SkinnedPlaces
from studio.rotations import matrix_to_quat, quat_to_matrix

# How many Gaussians a part gets for its area, against bare skin. Parts that only shade others get none.
_REGION_DENSITY = {
    "teeth_upper": 3.0,
    "teeth_lower": 3.0,
    "tongue": 1.5,
    "gums": 0.7,
    "mouth_interior": 0.5,
    "eye_left": 2.5,
    "eye_right": 2.5,
    "lids": 3.0,
    "lashes": 1.0,
    "scalp": 0.8,
    "neck": 0.5,
    "torso": 0.45,
    "eye_occlusion": 0.0,
    "lacrimal": 0.0,
}
_MOUTH_DENSITY, _EYE_DENSITY = 5.0, 6.0  # at the lips and lids, falling off within a fifth of the eye distance
_FALLOFF = 0.2
_UNSEEN_DENSITY = 0.08  # faces that no camera sees still need something, in case someone orbits
_SHELL_OVERLAP = 1.5  # they fill a volume, not a surface
_LOOSE_REGIONS = ("scalp", "hair", "neck", "torso")
PARTS = ("mouth", "eyes", "brows", "rest")  # what moves by itself, and is corrected by itself


@dataclass(frozen=True)
class Binding:
    """N Gaussians on the triangles of a head.

    Args:
        faces: [N] int64 triangles.
        bary: [N, 3] places on them.
        offsets: [N, 3] metres along the tangent, bitangent and normal of the triangle, at rest.
        spacing: [N] metres to the neighbours, about.
        loose: [N] bool: hair and clothes, which lie off the surface and may move far from it.
        parts: [N] int64 indices into ``PARTS``.
    """

    faces: Tensor
    bary: Tensor
    offsets: Tensor
    spacing: Tensor
    loose: Tensor
    parts: Tensor

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: Tensor) -> Binding:
        return Binding(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def joined(self, other: Binding) -> Binding:
        """Both, this one first."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__)
        return Binding(*(torch.cat(pair) for pair in pairs))


@dataclass(frozen=True)
class Anchors:
    """Where the triangles put the Gaussians in one state, in the head frame.

    Args:
        origins: [N, 3] metres: the places on the triangles.
        quats: [N, 4] wxyz, unit: from the triangle's frame to the head frame.
        stretch: [N] linear size of the triangle against its size at rest.
    """

    origins: Tensor
    quats: Tensor
    stretch: Tensor

    @property
    def rotations(self) -> Tensor:
        """[N, 3, 3] the quaternions as matrices: tangent, bitangent and normal of the triangle are their columns."""
        return quat_to_matrix(self.quats)


def triangle_frames(
    corners: Tensor,  # [..., 3, 3] corner, xyz
) -> tuple[Tensor, Tensor]:
    """Orthonormal frames [..., 3, 3] (columns: tangent, bitangent, normal) and areas [...] of triangles."""
    edge = corners[..., 1, :] - corners[..., 0, :]
    cross = torch.linalg.cross(edge, corners[..., 2, :] - corners[..., 0, :])
    tangent, normal = normalize(edge, dim=-1), normalize(cross, dim=-1)
    return torch.stack((tangent, torch.linalg.cross(normal, tangent), normal), dim=-1), 0.5 * cross.norm(dim=-1)


def face_density(
    head: HeadModel,  # without identity parameters
    seen: Tensor,  # [F] bool: some camera sees the triangle in some state
) -> Tensor:
    """How many Gaussians each triangle gets for its area, [F], relative to bare skin that is seen."""
    by_region = torch.tensor([_REGION_DENSITY.get(name, 1.0) for name in head.region_names])
    density = by_region[head.face_region]
    centers = head.template[head.faces].mean(dim=1)
    landmarks = head.landmarks(head.template)
    for points, peak in ((LIPS, _MOUTH_DENSITY), ((*LIDS_LEFT, *LIDS_RIGHT), _EYE_DENSITY)):
        near = landmarks[[index for index in points if head.landmark_valid[index]]]
        if len(near):
            distance = torch.cdist(centers, near).amin(dim=1) / (_FALLOFF * interocular(head))
            density = density * (1.0 + (peak - 1.0) * torch.exp(-distance.square()))
    return density * torch.where(seen, 1.0, _UNSEEN_DENSITY)


def face_parts(head: HeadModel) -> Tensor:
    """[F] int64 indices into ``PARTS``: hair, neck and clothes are the rest, skin belongs to what is nearer at rest."""
    centers = head.template[head.faces].mean(dim=1)
    landmarks = head.landmarks(head.template)
    distances = []
    for points in (LIPS, GROUPS["lids"], GROUPS["brows"]):
        near = landmarks[[index for index in points if head.landmark_valid[index]]]
        distances.append(torch.cdist(centers, near).amin(dim=1) if len(near) else torch.ones(len(centers)))
    nearest = torch.stack(distances).argmin(dim=0)
    return torch.where(head.region_faces(*_LOOSE_REGIONS), PARTS.index("rest"), nearest)


def sample_surface(
    head: HeadModel,
    weights: Tensor,  # [F] Gaussians per area, relative
    count: int,
    generator: torch.Generator,
) -> Binding:
    """``count`` places on the mesh at rest, spread by area times weight (systematic sampling: no clumps, no gaps)."""
    _, area = triangle_frames(head.template[head.faces])
    cumulative = (area * weights).double().cumsum(0)
    step = cumulative[-1] / count
    ticks = (torch.arange(count, dtype=torch.float64) + torch.rand(1, generator=generator).double()) * step
    faces = torch.searchsorted(cumulative, ticks).clamp(max=len(cumulative) - 1)
    u, v = torch.rand(2, count, generator=generator)
    root = u.sqrt()
    bary = torch.stack((1 - root, root * (1 - v), root * v), dim=-1)
    spacing = (step / weights[faces].double()).sqrt().float()
    loose = head.region_faces(*_LOOSE_REGIONS)[faces]
    return Binding(faces, bary, torch.zeros(count, 3), spacing, loose, face_parts(head)[faces])


def sample_shell(
    head: HeadModel,
    thickness: float,  # metres: mean height above the surface
    count: int,
    generator: torch.Generator,
) -> Binding:
    """``count`` places above scalp, neck and torso, thinning out with height: candidates for hair and clothes."""
    weights = head.region_faces(*_LOOSE_REGIONS).float()
    surface = sample_surface(head, weights, count, generator)
    height = -thickness * torch.log1p(-0.95 * torch.rand(count, generator=generator))
    offsets = torch.zeros(count, 3)
    offsets[:, 2] = height
    return replace(surface, offsets=offsets, spacing=_SHELL_OVERLAP * surface.spacing)


def compacted(head: HeadModel, binding: Binding) -> tuple[HeadModel, Binding]:
    """Only the triangles that carry Gaussians or landmarks, and the binding to them."""
    wanted, index = torch.unique(torch.cat((binding.faces, head.landmark_faces)), return_inverse=True)
    kept, corners = torch.unique(head.faces[wanted], return_inverse=True)
    small = replace(
        head,
        template=head.template[kept],
        identity_basis=head.identity_basis[:, kept],
        expression_basis=head.expression_basis[:, kept],
        skin_weights=head.skin_weights[kept],
        faces=corners,
        uvs=head.uvs[:1] * 0,
        faces_uv=torch.zeros_like(corners),
        face_region=head.face_region[wanted],
        texture=head.texture[:0],
        landmark_faces=index[len(binding) :],
    )
    return small, replace(binding, faces=index[: len(binding)])


class Rig:
    """Poses the triangles that carry Gaussians: codes of any device, anchors on the one that it was made for."""

    @torch.inference_mode(False)  # whoever renders first makes it; whoever fits codes later needs plain tensors
    def __init__(self, head: HeadModel, binding: Binding, device: torch.device | str = "cpu") -> None:
        """Args: head: without identity parameters, best ``compacted``; binding: on its triangles; both on the CPU."""
        used, triangle = torch.unique(binding.faces, return_inverse=True)
        _, area = triangle_frames(head.template[head.faces[used]])
        self._head, self._corners = head.to(device), head.faces[used].to(device)
        self._triangle, self._bary = triangle.to(device), binding.bary.to(device)
        self._rest_area = area.clamp(min=1e-12).to(device)
        self._compiled = torch.device(device).type == "cpu" and len(binding) >= LEAST
        single = torch.eye(len(head.space) + sum(JOINT_SIZES.values()))  # one entry of ``Codes.vector`` at a time
        self._turns = head.joint_turns(Codes.neutral(head.space, (len(single),)).with_vector(single)).flatten(1).numpy()
        self._pivots = head.joint_positions.numpy()

    @cached_property
    def _places(self) -> SkinnedPlaces:
        head, corners, area = self._head, self._corners[self._triangle], self._rest_area[self._triangle]
        return SkinnedPlaces(head.template, head.expression_basis, head.skin_weights, corners, self._bary, area)

    @torch.no_grad()
    def pose(
        self,
        codes: Codes,  # on the CPU; batch [...]
    ) -> Anchors:
        """The anchors of states, in the head frame, without gradients; [..., N, …] for a batch."""
        transforms = self._joint_transforms(codes)
        if self._compiled and not codes.batch:
            return Anchors(*self._places.pose(codes.expression.numpy(), transforms))
        small = torch.cat(
            (codes.expression, torch.from_numpy(transforms).flatten(-3)), dim=-1
        )  # one copy to the device
        channels = codes.expression.shape[-1]
        rows = small.to(self._bary.device).reshape(-1, small.shape[-1])
        offsets = rows[:, :channels] @ self._head.expression_basis.flatten(1)
        rest = self._head.template + offsets.view(*codes.batch, -1, 3)
        return self._anchored(self._head.skinned(rest, rows[:, channels:].view(*codes.batch, len(JOINTS), 3, 4)))

    def _joint_transforms(self, codes: Codes) -> np.ndarray:
        """``HeadModel.joint_transforms`` [..., 5, 3, 4] without the cost of a hundred tiny tensor operations."""
        turns = codes.vector().numpy() @ self._turns
        rotations = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(*codes.batch, len(JOINTS), 3, 3)
        shifts = self._pivots - (rotations @ self._pivots[:, :, None])[..., 0]
        shifts[..., JOINTS.index("torso"), :] += codes.neck_translation.numpy()
        return np.concatenate((rotations, shifts[..., None]), axis=-1).astype(np.float32)

    def anchors(
        self,
        codes: Codes,  # batch [...]
    ) -> Anchors:
        """The same as ``pose``, differentiable to the codes."""
        here = codes.to(self._bary.device)
        return self._anchored(self._head.vertices_head(here.expression.new_zeros(0), here))

    def _anchored(
        self,
        vertices: Tensor,  # [..., V, 3] head frame
    ) -> Anchors:
        corners = vertices[..., self._corners, :]
        rotations, area = triangle_frames(corners)
        # A closing lid or lip squeezes triangles to nothing; Gaussians must neither vanish nor burst with them.
        stretch = (area / self._rest_area).sqrt().clamp(LEAST_STRETCH, MOST_STRETCH)
        origins = (corners[..., self._triangle, :, :] * self._bary[..., None]).sum(dim=-2)
        return Anchors(origins, matrix_to_quat(rotations)[..., self._triangle, :], stretch[..., self._triangle])
