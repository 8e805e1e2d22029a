"""The torso's own motion: shoulders and clothes aligned over the clip, then placed in space.

The torso is matched in the picture as a flat piece that shifts, turns and scales; each of its points has one unknown
brightness for the whole clip, as in ``surface_alignment``. The background is painted out with the matte first, so that
the outline of the shoulders, often their only detail, moves with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from capture.tracking.patches import Patches
from capture.zones import FaceFrame
from studio.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    mean_rotation,
    rigid,
    rigid_inverse,
    transform_points,
)

_POINTS = 1200
_ROUNDS = 5
_CHUNK = 64
_LEVELS = 8.0  # brightness error at which a point counts half
_WORK_PIXELS = 256  # pictures are reduced to this
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


@dataclass(frozen=True)
class TorsoPictures:
    """The person over one even shade, reduced in size.

    Args:
        pictures: [T, B, B] uint8 brightness.
        coverage: [B, B] mean matte, 0..1.
        scale: their pixels per pixel of the images.
    """

    pictures: np.ndarray
    coverage: np.ndarray
    scale: float

    @staticmethod
    def cut(
        images: Sequence[np.ndarray],  # [S, S, 3] uint8 each
        mattes: Sequence[np.ndarray],  # [S, S] uint8 each
        chin: int,  # row below which the torso begins
    ) -> TorsoPictures:
        """Paint the background out with the shade, black or white, that differs most from the torso."""
        some = slice(None, None, max(len(images) // 20, 1))
        behind = _shade_behind(images[some], mattes[some], chin)
        size = len(images[0])
        scale = min(_WORK_PIXELS / size, 1.0)
        small = (round(size * scale),) * 2
        pictures = np.empty((len(images), *small), dtype=np.uint8)
        coverage = np.zeros(small, dtype=np.float32)
        for index, (image, matte) in enumerate(zip(images, mattes, strict=True)):
            weight = matte.astype(np.float32) / 255.0
            person = weight * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) + (1.0 - weight) * behind
            pictures[index] = np.rint(cv2.resize(person, small, interpolation=cv2.INTER_AREA))
            coverage += cv2.resize(weight, small, interpolation=cv2.INTER_AREA)
        return TorsoPictures(pictures, coverage / len(images), scale)


def _shade_behind(images: Sequence[np.ndarray], mattes: Sequence[np.ndarray], chin: int) -> int:
    levels = [
        float(cv2.cvtColor(image[chin:], cv2.COLOR_RGB2GRAY)[matte[chin:] > 200].mean())
        for image, matte in zip(images, mattes, strict=True)
        if (matte[chin:] > 200).any()
    ]
    return 255 if levels and float(np.mean(levels)) < 128 else 0


def track_torso(
    seen: TorsoPictures,
    points: np.ndarray,  # [T, 478, 2 or 3] landmarks, pixels of the images
) -> TorsoMotion | None:
    """Match the torso over T pictures; None where hardly any torso is seen."""
    faces = [FaceFrame.of(frame * seen.scale) for frame in points[:: max(len(points) // 50, 1)]]
    height = float(np.median([face.height for face in faces]))
    top = float(np.median([face.chin[1] for face in faces])) + _BELOW_CHIN * height
    size = len(seen.coverage)
    region = (seen.coverage > 0.05) & (np.arange(size)[:, None] + 0.5 > top)
    if region.sum() < _MIN_AREA * height**2:
        return None
    candidates = np.argwhere(region)[:, ::-1] + 0.5
    chosen = np.random.default_rng(0).choice(len(candidates), min(_POINTS, len(candidates)), replace=False)
    rest = torch.from_numpy(candidates[chosen]).float()
    center = rest.mean(0)
    state = torch.zeros(len(seen.pictures), 4)
    for fine, broad in _COARSE_TO_FINE:
        corners = np.zeros((len(seen.pictures), 2))
        patches = Patches.cut(seen.pictures, corners, size, fine * height, broad * height)
        mean = None
        for _ in range(_ROUNDS):
            mean = _brightness(patches, rest - center, center, state, height, mean)
            steps = [
                _step(patches, part, rest - center, center, state[part], height, mean)
                for part in (slice(first, first + _CHUNK) for first in range(0, len(state), _CHUNK))
            ]
            state = torch.cat(steps)
    scale = seen.scale
    return TorsoMotion(center / scale, state[:, :2] * height / scale, state[:, 2], state[:, 3].exp())


def _turned(arms: Tensor, state: Tensor) -> Tensor:
    """Points [t, P, 2] relative to the center, turned and scaled as states [t, 4] say."""
    cos, sin = state[:, 2, None].cos(), state[:, 2, None].sin()
    x, y = arms.unbind(-1)
    return torch.stack((cos * x - sin * y, sin * x + cos * y), dim=-1) * state[:, 3, None, None].exp()


def _brightness(
    patches: Patches, arms: Tensor, center: Tensor, state: Tensor, height: float, before: Tensor | None
) -> Tensor:
    """What every point [P] shows on average over the clip, robust about the estimate before."""
    total, weight = torch.zeros(len(arms)), torch.full((len(arms),), 1e-6)
    for first in range(0, len(state), _CHUNK):
        part = slice(first, first + _CHUNK)
        places = center + _turned(arms, state[part]) + state[part, None, :2] * height
        values, inside = patches.values_at(part, places)
        trust = inside.float() if before is None else inside / (1 + ((values - before) / _LEVELS) ** 2)
        total += (trust * values).sum(0)
        weight += trust.sum(0)
    return total / weight


def _step(
    patches: Patches, frames: slice, arms: Tensor, center: Tensor, state: Tensor, height: float, mean: Tensor
) -> Tensor:
    """One Gauss-Newton step of states [t, 4] towards the brightness that the clip shows on average."""
    turned = _turned(arms, state)
    places = center + turned + state[:, None, :2] * height
    values, inside = patches.values_at(frames, places)
    slope = patches.slopes_at(frames, places)
    error = mean - values
    weight = inside / (1 + (error / _LEVELS) ** 2) ** 2 * (2.0 / _LEVELS) ** 2
    across = torch.stack((-turned[..., 1], turned[..., 0]), dim=-1)
    turning, growing = (slope * across).sum(-1, keepdim=True), (slope * turned).sum(-1, keepdim=True)
    rows = torch.cat((slope * height, turning, growing), dim=-1)
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
    rotation = mean_rotation(poses[:, :3, :3])
    where = transform_points(poses, pivot[None])[:, 0].median(dim=0).values
    return rigid(rotation, where - rotation @ pivot)
