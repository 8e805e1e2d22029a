"""Sparse points of a calibrated static scene: SIFT features matched between near views and triangulated.

The cameras are known, so that there is no bundle adjustment: a match is kept where both rays meet.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from studio.cameras import Camera
from studio.captures import Capture
from studio.errors import StudioError
from studio.logs import progress

_RATIO = 0.8  # Lowe's ratio test
_NEIGHBOURS = 6  # each view is matched with the views that look most alike
_MAX_REPROJECTION = 1.5  # pixels
_MIN_ANGLE = np.radians(1.5)  # between the rays: below, depth is noise


@dataclass(frozen=True)
class Features:
    xy: np.ndarray  # [N, 2] pixels
    descriptors: np.ndarray  # [N, 128]
    colors: np.ndarray  # [N, 3] 0..1


@dataclass(frozen=True)
class SparsePoints:
    """N points of a scene.

    Args:
        points: [N, 3] world.
        colors: [N, 3] 0..1.
        views: [N, 2] which two of the cameras that were asked for saw it, as places among them.
    """

    points: np.ndarray
    colors: np.ndarray
    views: np.ndarray

    def __len__(self) -> int:
        return len(self.points)


def triangulate_points(capture: Capture, cameras: tuple[int, ...]) -> SparsePoints:
    """Points of a static capture, from some of its cameras.

    Raises:
        StudioError: hardly anything could be matched.
    """
    rig = capture.cameras[cameras]
    features = [detect_features(capture.frame(0, index).image) for index in progress(cameras, "features")]
    points, colors, views = [], [], []
    for first, second in progress(neighbour_pairs(rig), "matching"):
        new_points, new_colors = _triangulate_pair(rig, features, first, second)
        points.append(new_points)
        colors.append(new_colors)
        views.append(np.full((len(new_points), 2), (first, second)))
    found = sum(map(len, points))
    if found < 100:
        raise StudioError(
            f"the photos of {capture.folder} do not match each other",
            got=f"{found} points",
            expected="hundreds of them",
            next="check the calibration (K, R, t, image size), or take photos that overlap more",
        )
    return SparsePoints(np.concatenate(points), np.concatenate(colors), np.concatenate(views))


def detect_features(image: np.ndarray) -> Features:
    """RootSIFT features of a picture [H, W, 3] uint8."""
    sift = cv2.SIFT.create(nfeatures=6000, contrastThreshold=0.01)
    keypoints, descriptors = sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
    xy = np.array([point.pt for point in keypoints], dtype=np.float64).reshape(-1, 2)
    rows, columns = xy[:, 1].astype(int), xy[:, 0].astype(int)
    # OpenCV puts pixel centres at whole numbers, we at +0.5; RootSIFT (Arandjelović and Zisserman 2012) matches better.
    if descriptors is None:
        descriptors = np.zeros((0, 128), np.float32)
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-6))
    return Features(xy + 0.5, descriptors, image[rows, columns] / 255.0)


def neighbour_pairs(rig: Camera) -> list[tuple[int, int]]:
    """Pairs of views whose centres and directions are closest, each pair once."""
    centers = rig.centers.double().numpy()
    directions = rig.viewmats[:, 2, :3].double().numpy()
    distance = np.linalg.norm(centers[:, None] - centers, axis=-1)
    cost = distance / np.median(distance) + 2 * (1 - directions @ directions.T)
    np.fill_diagonal(cost, np.inf)
    nearest = np.argsort(cost, axis=1)[:, :_NEIGHBOURS]
    return sorted(
        {(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row if np.isfinite(cost[i, j])}
    )


def match_features(a: Features, b: Features) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [M, 2] and [M, 2] of features of two pictures that are likely the same points."""
    if min(len(a.xy), len(b.xy)) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    return _matches(a, b)[1]


def _matches(a: Features, b: Features) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Indices [M, 2] of features whose nearest neighbour is much nearer than the second (Lowe), and their pixels."""
    matches = cv2.BFMatcher().knnMatch(a.descriptors, b.descriptors, k=2)
    kept = [(m.queryIdx, m.trainIdx) for m, other in matches if m.distance < _RATIO * other.distance]
    index = np.array(kept, dtype=int).reshape(-1, 2)
    return index, (a.xy[index[:, 0]], b.xy[index[:, 1]])


def _triangulate_pair(rig: Camera, features: list[Features], first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = features[first], features[second]
    if min(len(a.xy), len(b.xy)) < 2:
        return np.zeros((0, 3)), np.zeros((0, 3))
    index, xy = _matches(a, b)
    projections = [(rig.Ks[i] @ rig.viewmats[i, :3]).double().numpy() for i in (first, second)]
    homogeneous = (
        cv2.triangulatePoints(projections[0], projections[1], xy[0].T, xy[1].T) if len(index) else np.zeros((4, 0))
    )
    points = (homogeneous[:3] / homogeneous[3]).T
    good = np.isfinite(points).all(1) & (_ray_angle(rig, first, second, points) > _MIN_ANGLE)
    for projection, measured in zip(projections, xy):
        image = np.c_[points, np.ones(len(points))] @ projection.T
        error = np.linalg.norm(image[:, :2] / image[:, 2:] - measured, axis=1)
        good &= (image[:, 2] > 0) & (error < _MAX_REPROJECTION)
    return points[good], 0.5 * (a.colors[index[good, 0]] + b.colors[index[good, 1]])


def _ray_angle(rig: Camera, first: int, second: int, points: np.ndarray) -> np.ndarray:
    centers = rig.centers.double().numpy()
    rays = [(points - centers[i]) / np.linalg.norm(points - centers[i], axis=1, keepdims=True) for i in (first, second)]
    return np.arccos(np.clip((rays[0] * rays[1]).sum(1), -1, 1))
