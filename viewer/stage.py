"""One finished picture: the avatar from a view, over its own footage's background or a studio backdrop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from studio.avatar import Avatar
from studio.cameras import Camera
from studio.codes import Codes
from studio.media.images import to_uint8
from viewer.session import Color, Scene
from viewer.views import View, Viewpoints

# Brightness of what surrounds a footage that does not fill the window, relative to the backdrop.
_SURROUND = 0.3


@dataclass(frozen=True)
class Shot:
    """All that a picture depends on.

    Args:
        scene: what is shown.
        view: where it is seen from.
        width: of the full-resolution picture, pixels.
        height: likewise.
    """

    scene: Scene
    view: View
    width: int
    height: int


class Stage:
    """Draws shots of one avatar."""

    def __init__(self, avatar: Avatar, viewpoints: Viewpoints) -> None:
        self._avatar = avatar
        self._viewpoints = viewpoints

    @torch.no_grad()
    def draw(self, shot: Shot, scale: float = 1.0) -> np.ndarray:
        """The picture [H, W, 3] uint8 at ``scale`` times the size of the shot."""
        width, height = (max(round(size * scale), 1) for size in (shot.width, shot.height))
        scene, footage = shot.scene, self._avatar.background
        if scene.with_footage and footage is not None and shot.view.is_from(self._viewpoints.capture):
            return self._as_recorded(scene, footage, width, height)
        return self._over(shot.view.camera(width, height), scene.codes, backdrop(scene.backdrop, width, height))

    def _as_recorded(self, scene: Scene, footage: Tensor, width: int, height: int) -> np.ndarray:
        """Exactly the image of the avatar's own camera, as large as the window holds, on a plain surround."""
        camera = self._viewpoints.camera
        fit = min(width / camera.width, height / camera.height)
        inner = camera.resized(max(round(camera.width * fit), 1), max(round(camera.height * fit), 1))
        picture = np.empty((height, width, 3), dtype=np.uint8)
        picture[:] = to_uint8(np.array(scene.backdrop) / 255.0 * _SURROUND)
        top, left = (height - inner.height) // 2, (width - inner.width) // 2
        image = self._over(inner, scene.codes, _resized(footage, inner.width, inner.height))
        picture[top : top + inner.height, left : left + inner.width] = image
        return picture

    def _over(self, camera: Camera, codes: Codes, behind: Tensor) -> np.ndarray:
        return self._avatar.render(camera, codes).pixels(behind)[0]


def backdrop(color: Color, width: int, height: int) -> Tensor:
    """A colour [H, W, 3] that falls off towards the corners, as a lit wall behind a sitter does."""
    longest = max(width, height)
    x = torch.linspace(-1.0, 1.0, width) * (width / longest)
    y = torch.linspace(-1.0, 1.0, height) * (height / longest)
    distance = (x[None, :] ** 2 + (y[:, None] + 0.1) ** 2).sqrt()
    falloff = 1.12 - 0.5 * (distance / 1.4).clamp(max=1.0) ** 1.5
    return (torch.tensor(color) / 255.0 * falloff[..., None]).clamp(max=1.0)


def _resized(image: Tensor, width: int, height: int) -> Tensor:
    if tuple(image.shape[:2]) == (height, width):
        return image
    batch = image.permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return resized[0].permute(1, 2, 0)
