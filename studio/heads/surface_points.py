"""MediaPipe's 478 points carried from a head model that has them to one that has not.

The donor's average face is laid onto the other surface: eyeballs on eyeballs first, then its identity, size and pose
are solved so that its skin lies on the skin (iterated closest points with normals that agree; Besl and McKay 1992).
Every point then goes to the nearest place on the surface; irises go to the eyeballs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from studio.heads.mediapipe_points import IRIS_LEFT, IRIS_RIGHT
from studio.heads.model import JOINTS, LANDMARKS, HeadModel, vertex_normals

_SKIN = 468
_ROUNDS = 15
_MORE_POINTS = 1500  # of the donor's face, beside the landmarks
_FAR = 0.02  # metres: nothing there belongs together
_AGREE = 0.5  # least cosine of two normals
_NEIGHBOURS = 12
_NOISE = 0.0015  # metres
_FREEDOM = (0.2, *(0.1,) * 3, *(0.01,) * 3)  # log size, radians, metres: standard deviations
_LATTICE = np.array([(a, b, 6 - a - b) for a in range(7) for b in range(7 - a)]) / 6.0  # barycentric, 28 points


@dataclass(frozen=True)
class _Cloud:
    """Points [M, 3] all over some triangles, their unit normals, and where they come from."""

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    bary: np.ndarray
    tree: cKDTree

    @staticmethod
    def of(head: HeadModel, chosen: np.ndarray) -> _Cloud:
        faces = np.flatnonzero(chosen)
        corners = head.template.double().numpy()[head.faces.numpy()[faces]]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-12)
        points = np.einsum("lc,fcd->fld", _LATTICE, corners).reshape(-1, 3)
        count = len(_LATTICE)
        bary = np.tile(_LATTICE, (len(faces), 1))
        return _Cloud(points, normals.repeat(count, 0), faces.repeat(count), bary, cKDTree(points))

    def nearest(self, points: np.ndarray, normals: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Indices [N] of the nearest points whose normals agree, and whether there are any [N]."""
        distance, index = self.tree.query(points, k=_NEIGHBOURS * len(_LATTICE) // 2)
        allowed = np.ones(distance.shape, bool)
        if normals is not None:
            allowed = np.einsum("nkd,nd->nk", self.normals[index], normals) > _AGREE
        first = np.where(allowed.any(1), allowed.argmax(1), 0)
        rows = np.arange(len(points))
        return index[rows, first], allowed.any(1) & (distance[rows, first] < _FAR)


def transferred_landmarks(donor: HeadModel, head: HeadModel) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Where the donor's points lie on another head.

    Returns:
        Triangles [478], barycentric coordinates [478, 3], validity [478], and the mean distance in metres that the
        donor's face keeps from the surface.
    """
    skin = _Cloud.of(head, head.region_faces("face").numpy())
    points, normals, error = _laid_on(donor, head, skin)
    index, _ = skin.nearest(points[:_SKIN], normals[:_SKIN])
    faces, bary = np.zeros(LANDMARKS, np.int64), np.full((LANDMARKS, 3), 1 / 3)
    faces[:_SKIN], bary[:_SKIN] = skin.faces[index], skin.bary[index]
    valid = donor.landmark_valid.numpy().copy()
    for eye, irises in (("eye_left", IRIS_LEFT), ("eye_right", IRIS_RIGHT)):
        ball = head.region_faces(eye).numpy()
        if not ball.any():
            valid[list(irises)] = False
            continue
        cloud, joint = _Cloud.of(head, ball), JOINTS.index(eye)
        arms = donor.landmarks(donor.template)[list(irises)] - donor.joint_positions[joint]
        index, _ = cloud.nearest((head.joint_positions[joint] + _size(donor, head) * arms).double().numpy())
        faces[list(irises)], bary[list(irises)] = cloud.faces[index], cloud.bary[index]
    return torch.from_numpy(faces), torch.from_numpy(bary).float(), torch.from_numpy(valid), error


def _size(donor: HeadModel, head: HeadModel) -> float:
    """How much larger the head is than the donor: by the distance of the eyeballs."""
    left, right = JOINTS.index("eye_left"), JOINTS.index("eye_right")
    across = [float((h.joint_positions[left] - h.joint_positions[right]).norm()) for h in (head, donor)]
    return across[0] / across[1]


def _laid_on(donor: HeadModel, head: HeadModel, skin: _Cloud) -> tuple[np.ndarray, np.ndarray, float]:
    """The donor's landmarks, then some points of its face, on the surface: points, normals [P, 3], and the error."""
    owners = donor.faces[donor.landmark_faces[:_SKIN]]
    front = torch.unique(donor.faces[donor.region_faces("face")])
    more = front[torch.linspace(0, len(front) - 1, min(_MORE_POINTS, len(front))).long()]

    def on(values: torch.Tensor) -> np.ndarray:  # [..., V, 3] -> [..., P, 3]
        marks = donor.landmarks(values)[..., :_SKIN, :]
        return torch.cat((marks, values[..., more, :]), dim=-2).double().numpy()

    rest, modes = on(donor.template), on(donor.identity_basis)
    identity, turn, size, shift = np.zeros(len(modes)), np.eye(3), _size(donor, head), np.zeros(3)
    prior = np.r_[np.ones(len(modes)), np.array(_FREEDOM) ** -2]
    error = np.inf
    for _ in range(_ROUNDS):
        person = donor.template + torch.einsum("i,ivd->vd", torch.from_numpy(identity).float(), donor.identity_basis)
        facing = vertex_normals(person, donor.faces)
        normals = torch.cat((facing[owners].mean(1), facing[more])).double().numpy() @ turn.T
        arms = size * (rest + np.einsum("i,ipd->pd", identity, modes)) @ turn.T
        points = arms + shift
        index, found = skin.nearest(points, normals)
        away, across = skin.points[index] - points, skin.normals[index]
        error = float(np.abs((away * across).sum(1))[found].mean())
        columns = np.concatenate(
            (size * modes @ turn.T, arms[None], -_crosses(arms), np.eye(3)[:, None].repeat(len(arms), 1))
        )  # [I + 7, P, 3]
        rows = (columns * across).sum(-1)[:, found].T
        left = (away * across).sum(1)[found]
        weight = 1.0 / (1.0 + (left / (2 * _NOISE)) ** 2) / _NOISE**2
        pull = np.r_[identity, np.zeros(7)]
        step = np.linalg.solve(
            (rows * weight[:, None]).T @ rows + np.diag(prior), rows.T @ (weight * left) - prior * pull
        )
        identity, size = identity + step[: len(modes)], size * np.exp(step[len(modes)])
        turned = Rotation.from_rotvec(step[-6:-3]).as_matrix()
        turn, shift = turned @ turn, shift + step[-3:]
    return points, normals, error


def _crosses(arms: np.ndarray) -> np.ndarray:
    """Derivatives [3, P, 3] of points by a turn, negated."""
    return np.stack([np.cross(arms, axis) for axis in np.eye(3)])
