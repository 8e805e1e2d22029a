"""Where rays of several cameras meet, and how points found so lie on known ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.cameras import Camera

_ROUNDS = 5  # of reweighting
_LEAST_ANGLE = np.radians(4.0)  # between the two most different rays of a point


@dataclass(frozen=True)
class Model:
    """The calibration of C cameras, in float64.

    Args:
        rotations: [C, 3, 3] world to camera; of determinant -1 where a reading mirrors the world.
        shifts: [C, 3].
        Ks: [C, 3, 3].
    """

    rotations: np.ndarray
    shifts: np.ndarray
    Ks: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        return -np.einsum("cji,cj->ci", self.rotations, self.shifts)

    @property
    def focals(self) -> np.ndarray:
        """[C] mean focal length in pixels."""
        return np.sqrt(np.abs(self.Ks[:, 0, 0] * self.Ks[:, 1, 1]))

    def rays(
        self,
        pixels: np.ndarray,  # [C, M, 2]
    ) -> np.ndarray:
        """Unit directions [C, M, 3] in the world."""
        homogeneous = np.concatenate((pixels, np.ones((*pixels.shape[:-1], 1))), -1)
        local = homogeneous @ np.linalg.inv(self.Ks).transpose(0, 2, 1)
        world = local @ self.rotations  # the inverse of a rotation is its transpose
        return world / np.linalg.norm(world, axis=-1, keepdims=True)

    def project(
        self,
        points: np.ndarray,  # [M, 3]
    ) -> np.ndarray:
        """Pixels [C, M, 2]."""
        local = points @ self.rotations.transpose(0, 2, 1) + self.shifts[:, None]
        image = local @ self.Ks.transpose(0, 2, 1)
        return image[..., :2] / image[..., 2:]

    def with_camera(self, index: int, other: Model, source: int) -> Model:
        """One camera replaced by a camera of another reading."""
        parts = [part.copy() for part in (self.rotations, self.shifts, self.Ks)]
        for part, new in zip(parts, (other.rotations, other.shifts, other.Ks), strict=True):
            part[index] = new[source]
        return Model(*parts)


def model_of(cameras: Camera) -> Model:
    """A calibration as it is written."""
    viewmats = cameras.viewmats.double().numpy()
    return Model(viewmats[:, :3, :3].copy(), viewmats[:, :3, 3].copy(), cameras.Ks.double().numpy())


def triangulate(
    model: Model,
    pixels: np.ndarray,  # [C, M, 2]
    trust: np.ndarray,  # [C, M]
    spread: np.ndarray,  # [C]
) -> tuple[np.ndarray, np.ndarray]:
    """Points [M, 3] nearest to all rays (robust, reweighted least squares) and errors [C, M] in pixels.

    Points that fewer than two cameras see, or all from nearly one direction, are NaN.

    Args:
        model: the cameras.
        pixels: where they see the points.
        trust: 0 where a camera does not see a point, or has no say.
        spread: errors in pixels that are nothing unusual.
    """
    rays, centers = model.rays(pixels), model.centers
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]  # [C, M, 3, 3]
    weight = trust.copy()
    for turn in range(_ROUNDS):
        total = np.einsum("cm,cmij->mij", weight, across) + 1e-9 * np.eye(3)
        points = np.linalg.solve(total, np.einsum("cm,cmij,cj->mi", weight, across, centers)[..., None])[..., 0]
        errors = _errors(rays, centers, points, model.focals) / spread[:, None]
        # First absolute errors, which one bad camera cannot lead far astray, then ever closer to the majority's.
        weight = trust / (1.0 + errors) if turn < 2 else trust / (1.0 + (errors / 2) ** 2)
    points[~_well_seen(rays, trust)] = np.nan
    return points, _errors(rays, centers, points, model.focals)


def _errors(rays: np.ndarray, centers: np.ndarray, points: np.ndarray, focals: np.ndarray) -> np.ndarray:
    """Angles between rays and points as pixels in the picture's middle; a point behind the camera is far off."""
    towards = points[None] - centers[:, None]
    off = np.linalg.norm(np.cross(rays, towards), axis=-1)
    return np.arctan2(off, (rays * towards).sum(-1)) * focals[:, None]


def _well_seen(rays: np.ndarray, trust: np.ndarray) -> np.ndarray:
    mean = (trust[..., None] * rays).sum(0) / np.maximum(trust.sum(0), 1e-9)[:, None]
    spread = np.where(trust > 0.05, np.linalg.norm(rays - mean, axis=-1), 0).max(0)
    return ((trust > 0.05).sum(0) >= 2) & (spread > 0.5 * _LEAST_ANGLE)


def similarity(
    source: np.ndarray,  # [N, 3]
    target: np.ndarray,  # [N, 3]
    mirrored: bool = False,
) -> tuple[float, np.ndarray, np.ndarray, float]:
    """Scale, rotation [3, 3] and shift [3] that take ``source`` to ``target`` with the least squares (Umeyama 1991).

    Args:
        source: points.
        target: where they should go.
        mirrored: allow only matrices of determinant -1 instead of +1.

    Returns:
        scale, rotation, shift, and the root mean square of what remains.
    """
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flips = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) * (-1.0 if mirrored else 1.0)])
    rotation = (u * flips) @ vt
    scale = float((s * flips).sum() / max((a**2).sum(), 1e-12))
    rest = b - scale * a @ rotation.T
    shift = target.mean(0) - scale * rotation @ source.mean(0)
    return scale, rotation, shift, float(np.sqrt((rest**2).sum(1).mean()))
