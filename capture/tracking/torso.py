"""The torso's own motion: shoulders and clothes aligned over the clip, then placed in space.

The torso is matched in the picture as a flat piece that shifts, turns and scales; each of its points has one unknown
brightness for the whole clip, as in ``surface_alignment``. The background is painted out with the matte first, so that
the outline of the shoulders, often their only detail, moves with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from capture.tracking.patches import Patches
from capture.zones import FaceFrame
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse, transform_points

_POINTS = 1500
_ROUNDS = 8
_BELOW_CHIN = 0.4  # of the face's height: where the torso begins
_SPREAD = (0.15, 0.15, 0.08, 0.04)  # shift in face heights, turn in radians, log scale: standard deviations
_COARSE_TO_FINE = ((0.05, 0.5), (0.02, 0.25), (0.01, 0.15))  # blurs in face heights
_MIN_AREA = 0.15  # squared face heights of visible torso below which it is not tracked


@dataclass(frozen=True)
class TorsoMotion:
    """How the torso moves in the picture: x -> center + scale * turn(x - center) + shift.

    Args:
        center: [2] pixels.
        shift: [T, 2] pixels.
        turn: [T] radians, from x towards y.
        scale: [T].
    """

    center: Tensor
    shift: Tensor
    turn: Tensor
    scale: Tensor


def cut_out(image: np.ndarray, alpha: np.ndarray, behind: int) -> np.ndarray:
    """Brightness [S, S] of the person over one even shade."""
    weight = alpha.astype(np.float32) / 255.0
    return weight * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) + (1.0 - weight) * behind


def track_torso(
    pictures: Sequence[np.ndarray],
    coverage: np.ndarray,  # [S, S] mean matte, 0..1
    points: np.ndarray,  # [T, 478, 2 or 3] landmarks, pixels
) -> TorsoMotion | None:
    """Match the torso over T pictures ([S, S] brightness from ``cut_out``); None where hardly any torso is seen."""
    size = len(coverage)
    faces = [FaceFrame.of(frame) for frame in points[:: max(len(points) // 50, 1)]]
    height = float(np.median([face.height for face in faces]))
    top = float(np.median([face.chin[1] for face in faces])) + _BELOW_CHIN * height
    rows = np.arange(size)[:, None] + 0.5
    region = (coverage > 0.05) & (rows > top)
    if region.sum() < _MIN_AREA * height**2:
        return None
    candidates = np.argwhere(region)[:, ::-1] + 0.5
    chosen = np.random.default_rng(0).choice(len(candidates), min(_POINTS, len(candidates)), replace=False)
    rest = torch.from_numpy(candidates[chosen]).float()
    center = rest.mean(0)
    state = torch.zeros(len(pictures), 4)
    corners = np.zeros((len(pictures), 2))
    for fine, broad in _COARSE_TO_FINE:
        patches = Patches.cut(pictures, corners, size, fine * height, broad * height)
        for _ in range(_ROUNDS):
            state = _step(patches, rest - center, center, state, height)
    return TorsoMotion(center, state[:, :2] * height, state[:, 2], state[:, 3].exp())


def _step(patches: Patches, arms: Tensor, center: Tensor, state: Tensor, height: float) -> Tensor:
    """One Gauss-Newton step of all frames towards the brightness that the clip shows on average."""
    whole = slice(0, len(state))
    cos, sin, scale = state[:, 2].cos(), state[:, 2].sin(), state[:, 3].exp()
    turned = (
        torch.stack(
            (
                cos[:, None] * arms[:, 0] - sin[:, None] * arms[:, 1],
                sin[:, None] * arms[:, 0] + cos[:, None] * arms[:, 1],
            ),
            dim=-1,
        )
        * scale[:, None, None]
    )  # [T, P, 2]
    values, slope, inside = patches.sample(whole, center + turned + state[:, None, :2] * height)
    count = inside.sum(0).clamp(min=1)
    mean = (values * inside).sum(0) / count
    for _ in range(2):
        trust = inside / (1 + ((values - mean) / 8.0) ** 2)
        mean = (values * trust).sum(0) / trust.sum(0).clamp(min=1e-3)
    error = mean - values
    weight = inside / (1 + (error / 8.0) ** 2) ** 2 / 16.0
    across = torch.stack((-turned[..., 1], turned[..., 0]), dim=-1)
    rows = torch.cat(
        (slope * height, (slope * across).sum(-1, keepdim=True), (slope * turned).sum(-1, keepdim=True)), dim=-1
    )
    prior = torch.diag(1.0 / torch.tensor(_SPREAD) ** 2)
    weighted = rows * weight[..., None]
    information = weighted.transpose(1, 2) @ rows + prior
    gradient = (weighted.transpose(1, 2) @ error[..., None])[..., 0] - state @ prior
    return state + torch.linalg.solve(information, gradient)


def neck_codes(
    motion: TorsoMotion,
    head_to_camera: Tensor,  # [T, 4, 4]
    pivot: Tensor,  # [3] the neck joint, head frame
    K: Tensor,  # [3, 3] pixels
) -> tuple[Tensor, Tensor]:
    """neck_pose [T, 3] and neck_translation [T, 3] with which a head model's torso makes this motion.

    The torso moves in a plane at the depth of the neck. Its rest is chosen so that neck_pose and neck_translation are
    as small as they can be over the clip.
    """
    depth = (head_to_camera @ torch.cat((pivot, torch.ones(1))))[:, 2].median()
    zero = torch.zeros_like(motion.turn)
    rotation = axis_angle_to_matrix(torch.stack((zero, zero, motion.turn), dim=-1))
    start = _unproject(motion.center, depth, K)
    end = _unproject(motion.center + motion.shift, depth / motion.scale, K)
    moves = rigid(rotation, end - (rotation @ start[:, None])[..., 0])
    rest = _mean_pose(rigid_inverse(moves) @ head_to_camera, pivot)
    torso_in_head = rigid_inverse(head_to_camera) @ moves @ rest
    turned = torso_in_head[:, :3, :3]
    translation = torso_in_head[:, :3, 3] - (pivot - turned @ pivot)
    return -matrix_to_axis_angle(turned), translation


def _unproject(pixels: Tensor, depth: Tensor, K: Tensor) -> Tensor:
    """Points [..., 3] at pixels [..., 2] and depths [...]."""
    sideways = (pixels - K[:2, 2]) / K.diagonal()[:2] * depth[..., None]
    return torch.cat((sideways, depth[..., None]), dim=-1)


def _mean_pose(poses: Tensor, pivot: Tensor) -> Tensor:
    """The pose [4, 4] in the middle of poses [T, 4, 4], with ``pivot`` where they have it on average."""
    U, _, Vt = torch.linalg.svd(poses[:, :3, :3].mean(0))
    U = torch.cat((U[:, :2], U[:, 2:] * torch.det(U @ Vt)), dim=1)
    rotation = U @ Vt
    where = transform_points(poses, pivot[None])[:, 0].median(dim=0).values
    return rigid(rotation, where - rotation @ pivot)


def shade_behind(images: Iterable[np.ndarray], alphas: Iterable[np.ndarray], top: int) -> int:
    """The shade (0 or 255) that stands out most from the torso below row ``top``."""
    levels = [
        float(cv2.cvtColor(image[top:], cv2.COLOR_RGB2GRAY)[alpha[top:] > 200].mean())
        for image, alpha in zip(images, alphas, strict=True)
        if (alpha[top:] > 200).any()
    ]
    return 255 if levels and float(np.mean(levels)) < 128 else 0
