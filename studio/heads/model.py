"""A head model: a textured triangle mesh with identity and expression bases, and five joints.

One class serves every model (procedural, ICT-FaceKit, FLAME …); they differ in the data only.
Head frame: metres, origin midway between the eyeball centres of the template, x to the subject's left, y up, z out of
the face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.codes import Codes, CodeSpace
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid, transform_points

JOINTS = ("head", "torso", "jaw", "eye_left", "eye_right")
# What eyeLook* = 1 turns an eyeball by: about the reach of a human eye.
EYE_YAW_RADIANS, EYE_PITCH_RADIANS = 0.6, 0.45
LANDMARKS = 478  # MediaPipe's face mesh with irises


@dataclass(frozen=True)
class HeadModel:
    """Linear blendshapes followed by linear blend skinning.

    Args:
        name: which model this is.
        space: the code space of its expression channels.
        template: [V, 3] metres, head frame, at rest.
        identity_basis: [I, V, 3] metres for one standard deviation of each identity parameter.
        identity_names: I names.
        expression_basis: [E, V, 3] metres for a channel at 1, in the order of ``space``.
        absent: channels of the space that the model does not have (their rows are zero).
        joint_positions: [5, 3] in the order of ``JOINTS`` ("torso" is where the neck turns).
        joint_identity_basis: [I, 5, 3] how the joints move with identity.
        skin_weights: [V, 5], rows sum to one.
        faces: [F, 3] int64 vertex indices, counter-clockwise from outside.
        uvs: [U, 2] in 0..1, origin at the top left of the texture.
        faces_uv: [F, 3] int64 indices into ``uvs``.
        face_region: [F] int64 indices into ``region_names``.
        region_names: names of the parts of the mesh.
        texture: [H, W, 3] uint8 sRGB, or an empty tensor.
        landmark_faces: [478] int64, the triangle on which each MediaPipe landmark lies.
        landmark_bary: [478, 3] its barycentric coordinates.
        landmark_valid: [478] bool, False where the model has no such point.
    """

    name: str
    space: CodeSpace
    template: Tensor
    identity_basis: Tensor
    identity_names: tuple[str, ...]
    expression_basis: Tensor
    absent: tuple[str, ...]
    joint_positions: Tensor
    joint_identity_basis: Tensor
    skin_weights: Tensor
    faces: Tensor
    uvs: Tensor
    faces_uv: Tensor
    face_region: Tensor
    region_names: tuple[str, ...]
    texture: Tensor
    landmark_faces: Tensor
    landmark_bary: Tensor
    landmark_valid: Tensor

    def __post_init__(self) -> None:
        V, F, I, U = len(self.template), len(self.faces), len(self.identity_basis), len(self.uvs)
        expected = {
            "template": (V, 3),
            "identity_basis": (I, V, 3),
            "expression_basis": (len(self.space), V, 3),
            "joint_positions": (len(JOINTS), 3),
            "joint_identity_basis": (I, len(JOINTS), 3),
            "skin_weights": (V, len(JOINTS)),
            "faces": (F, 3),
            "uvs": (U, 2),
            "faces_uv": (F, 3),
            "face_region": (F,),
            "landmark_faces": (LANDMARKS,),
            "landmark_bary": (LANDMARKS, 3),
            "landmark_valid": (LANDMARKS,),
        }
        wrong = [name for name, shape in expected.items() if tuple(getattr(self, name).shape) != shape]
        if wrong or len(self.identity_names) != I:
            raise StudioError(
                f"the parts of head model {self.name} do not fit together",
                got=", ".join(f"{name} {tuple(getattr(self, name).shape)}" for name in wrong or ["identity_basis"]),
                expected=", ".join(f"{name} {expected[name]}" for name in wrong) or f"{I} identity names",
            )

    @property
    def num_identity(self) -> int:
        return len(self.identity_basis)

    @property
    def hash(self) -> str:
        """Content hash: equal for equal geometry, topology and names."""
        digest = hashlib.sha256(repr((self.name, self.space.hash, self.identity_names, self.region_names)).encode())
        for name, value in self.tensors().items():
            if name != "texture":
                digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by field name, as stored in files."""
        return {item.name: value for item in fields(self) if isinstance(value := getattr(self, item.name), Tensor)}

    def labels(self) -> dict[str, Any]:
        """The fields that are not tensors, as JSON data."""
        return {
            "name": self.name,
            "space": self.space.name,
            "identity_names": list(self.identity_names),
            "absent": list(self.absent),
            "region_names": list(self.region_names),
        }

    @staticmethod
    def from_parts(space: CodeSpace, labels: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> HeadModel:
        """Inverse of ``labels`` and ``tensors``."""
        parts: dict[str, Any] = {**labels, **tensors, "space": space}
        for key in ("identity_names", "absent", "region_names"):
            parts[key] = tuple(parts[key])
        return HeadModel(**parts)

    def to(self, device: torch.device | str) -> HeadModel:
        moved: dict[str, Any] = {name: value.to(device) for name, value in self.tensors().items()}
        return replace(self, **moved)

    def with_identity(
        self,
        identity: Tensor,  # [I]
    ) -> HeadModel:
        """The same head with a person's identity baked into the template and no identity parameters left."""
        empty = self.identity_basis[:0]
        return replace(
            self,
            template=self.template + torch.einsum("i,ivd->vd", identity, self.identity_basis),
            joint_positions=self.joint_positions + torch.einsum("i,ijd->jd", identity, self.joint_identity_basis),
            identity_basis=empty,
            joint_identity_basis=self.joint_identity_basis[:0],
            identity_names=(),
        )

    def vertices(
        self,
        identity: Tensor,  # [..., I] standard deviations; batch dimensions broadcast with those of the codes
        codes: Codes,  # batch [...]
    ) -> Tensor:
        """World positions [..., V, 3] in metres of all vertices.

        Raises:
            StudioError: the codes are of another space.
        """
        return transform_points(codes.head_to_world, self.vertices_head(identity, codes))

    def vertices_head(
        self,
        identity: Tensor,  # [..., I]
        codes: Codes,  # batch [...]
    ) -> Tensor:
        """Positions [..., V, 3] in the head frame: as ``vertices``, with the skull at rest."""
        self.space.require(codes.space, "this state")
        offsets = codes.expression @ self.expression_basis.flatten(1) + identity @ self.identity_basis.flatten(1)
        rest = self.template + offsets.unflatten(-1, (-1, 3))
        return self.skinned(rest, self.joint_transforms(identity, codes)[..., :3, :])

    def skinned(
        self,
        rest: Tensor,  # [..., V, 3]
        transforms: Tensor,  # [..., 5, 3, 4] what each joint does to the points bound to it
    ) -> Tensor:
        """Vertices [..., V, 3] moved by the joints (linear blend skinning)."""
        blended = (self.skin_weights @ transforms.flatten(-2)).unflatten(-1, (3, 4))  # [..., V, 3, 4]
        return (blended[..., :3] @ rest[..., None])[..., 0] + blended[..., 3]

    def joint_transforms(
        self,
        identity: Tensor,  # [..., I]
        codes: Codes,  # batch [...]
    ) -> Tensor:
        """What each joint does to the points bound to it, in the head frame: [..., 5, 4, 4] in the order of JOINTS."""
        moved = identity @ self.joint_identity_basis.flatten(1)
        pivots = self.joint_positions + moved.unflatten(-1, (len(JOINTS), 3))
        rotations = axis_angle_to_matrix(self.joint_turns(codes))
        zero = torch.zeros_like(codes.jaw_pose)
        shift = torch.stack((zero, codes.neck_translation, zero, zero, zero), dim=-2)
        return rigid(rotations, pivots - (rotations @ pivots[..., None])[..., 0] + shift)

    def joint_turns(
        self,
        codes: Codes,  # batch [...]
    ) -> Tensor:
        """Axis-angle rotations [..., 5, 3] of the joints in the order of JOINTS; linear in the codes."""
        eyes = codes.eye_pose + eye_rotation(codes)
        still = torch.zeros_like(codes.jaw_pose)
        return torch.stack((still, -codes.neck_pose, codes.jaw_pose, eyes[..., 0, :], eyes[..., 1, :]), dim=-2)

    def landmarks(
        self,
        vertices: Tensor,  # [..., V, 3]
    ) -> Tensor:
        """The 478 MediaPipe points [..., 478, 3] on posed vertices; see ``landmark_valid``."""
        corners = vertices[..., self.faces[self.landmark_faces], :]
        return (corners * self.landmark_bary[..., None]).sum(-2)

    def region_faces(self, *names: str) -> Tensor:
        """[F] bool: the triangles of the named regions. Names that the model lacks select nothing."""
        wanted = [index for index, name in enumerate(self.region_names) if name in names]
        return torch.isin(self.face_region, torch.tensor(wanted, dtype=torch.int64, device=self.face_region.device))

    def landmark_submodel(self) -> HeadModel:
        """A small model with only the triangles that carry landmarks, for fast fitting; landmarks stay the same."""
        used, landmark_faces = torch.unique(self.landmark_faces, return_inverse=True)
        kept, corner = torch.unique(self.faces[used], return_inverse=True)
        return replace(
            self,
            template=self.template[kept],
            identity_basis=self.identity_basis[:, kept],
            expression_basis=self.expression_basis[:, kept],
            skin_weights=self.skin_weights[kept],
            faces=corner,
            faces_uv=self.faces_uv[used],
            face_region=self.face_region[used],
            landmark_faces=landmark_faces,
        )


def eye_rotation(codes: Codes) -> Tensor:
    """Axis-angle rotations [..., 2, 3] (left, right eyeball) that the eyeLook channels stand for; none without them."""
    if "eyeLookOutLeft" not in codes.space.channels:
        return torch.zeros_like(codes.eye_pose)

    def channel(name: str) -> Tensor:
        return codes.expression[..., codes.space.index(name)]

    turns = []
    for side, outward in (("Left", 1.0), ("Right", -1.0)):
        yaw = outward * EYE_YAW_RADIANS * (channel(f"eyeLookOut{side}") - channel(f"eyeLookIn{side}"))
        pitch = EYE_PITCH_RADIANS * (channel(f"eyeLookDown{side}") - channel(f"eyeLookUp{side}"))
        turns.append(torch.stack((pitch, yaw, torch.zeros_like(yaw)), dim=-1))
    return torch.stack(turns, dim=-2)


def vertex_normals(
    vertices: Tensor,  # [..., V, 3]
    faces: Tensor,  # [F, 3]
) -> Tensor:
    """Area-weighted unit normals [..., V, 3], pointing outside of counter-clockwise triangles."""
    a, b, c = (vertices[..., faces[:, corner], :] for corner in range(3))
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(-2, faces[:, corner], face_normals)
    return torch.nn.functional.normalize(normals, dim=-1)


def to_tensor(array: np.ndarray) -> Tensor:
    """A contiguous tensor of a head model's array: float32 for reals, int64 for indices, uint8 and bool as they are."""
    if array.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if array.dtype in (np.uint8, np.bool_):
        return torch.from_numpy(np.ascontiguousarray(array))
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
