"""What is drawn over a picture: the head mesh as wires, the landmarks as dots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.codes import Codes
from studio.heads.model import HeadModel

_WIRE, _DOT = (120, 230, 255), (255, 214, 64)
_WIRE_STRENGTH = 0.45


def draw_overlays(
    image: np.ndarray, names: frozenset[str], head: HeadModel, camera: Camera, codes: Codes
) -> np.ndarray:
    """The picture [H, W, 3] uint8 with overlays of a posed head (the person's own: identity is zero)."""
    if codes.space.hash != head.space.hash or not names:
        return image
    identity = torch.zeros(head.num_identity)
    for name in sorted(names):
        if name in OVERLAYS:
            image = OVERLAYS[name](image, head, camera, head.vertices(identity, codes))
    return image


def wires(image: np.ndarray, head: HeadModel, camera: Camera, vertices: Tensor) -> np.ndarray:
    """Edges of the triangles that face the camera."""
    points, depths = (value[0] for value in camera.project(vertices))
    corners = points[head.faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    facing = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0  # counter-clockwise with y down
    near = (depths[head.faces] > 0.01).all(-1)
    shown = corners[facing & near].clamp(-1e4, 1e4)
    over = image.copy()
    cv2.polylines(over, list((shown.numpy() * 16).round().astype(np.int32)), True, _WIRE, 1, cv2.LINE_AA, shift=4)
    return cv2.addWeighted(over, _WIRE_STRENGTH, image, 1 - _WIRE_STRENGTH, 0)


def dots(image: np.ndarray, head: HeadModel, camera: Camera, vertices: Tensor) -> np.ndarray:
    """The landmarks on the mesh."""
    faces, weights = head.faces[head.landmark_faces[head.landmark_valid]], head.landmark_bary[head.landmark_valid]
    places = (vertices[faces] * weights[..., None]).sum(1)
    points, depths = (value[0] for value in camera.project(places))
    radius = _radius(image.shape[0])
    image = image.copy()
    for x, y in points[depths > 0.01].clamp(-1e4, 1e4).tolist():
        cv2.circle(image, (round(x * 16), round(y * 16)), radius, _DOT, -1, cv2.LINE_AA, shift=4)
    return image


@lru_cache(maxsize=8)
def _radius(height: int) -> int:
    return max(round(height / 400 * 16), 14)


Overlay = Callable[[np.ndarray, HeadModel, Camera, Tensor], np.ndarray]
OVERLAYS: Mapping[str, Overlay] = {"mesh": wires, "landmarks": dots}
