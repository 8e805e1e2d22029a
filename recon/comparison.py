"""What a render is compared with: the photo and the render over the same background."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from studio.avatar import Avatar
from studio.cameras import Camera
from studio.captures import Capture, Frame
from studio.media.images import to_uint8

PHOTOMETRIC = "pixels, through an avatar"  # provenance of codes that were fitted to what they will be compared with
_SAME = 0.01  # relative difference of intrinsics below which two cameras show the same


def behind_person(avatar: Avatar, capture: Capture, camera_index: int) -> Tensor:
    """What a camera sees behind the person: [H, W, 3] learned by the avatar or as captured, else black [3]."""
    camera = capture.cameras[camera_index]
    if avatar.background is not None and len(capture.cameras) == 1 and _is_same_view(avatar.camera, camera):
        return _resized(avatar.background, camera)
    known = capture.background(camera_index)
    return torch.zeros(3) if known is None else torch.from_numpy(known).float() / 255


def _is_same_view(one: Camera, other: Camera) -> bool:
    """Whether two cameras differ in the number of their pixels at most."""
    scaled = one.resized(other.width, other.height)
    return torch.allclose(scaled.viewmats, other.viewmats, atol=1e-4) and torch.allclose(
        scaled.Ks, other.Ks, rtol=_SAME, atol=_SAME * other.width
    )


def _resized(image: Tensor, camera: Camera) -> Tensor:
    if tuple(image.shape[:2]) == (camera.height, camera.width):
        return image
    size = (camera.width, camera.height)
    smaller = camera.width < image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(image.numpy(), size, interpolation=method))


def photo_over(frame: Frame, background: Tensor) -> np.ndarray:
    """The photo [H, W, 3] uint8: as it is, or cut out where the background is but a colour [3] (black)."""
    if background.ndim == 1 and frame.alpha is not None:
        return to_uint8(frame.image * (frame.alpha[..., None] / 255.0**2))
    return frame.image
