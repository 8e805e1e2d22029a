"""One finished picture: the avatar from a view, over its own footage's background or a studio backdrop, alone or beside
the footage or a second avatar."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from reenact.project.scene import Actor
from studio.avatar import Avatar
from studio.cameras import Camera
from studio.codes import Codes
from studio.heads.model import HeadModel
from studio.media.images import to_uint8
from viewer.footage import Footage
from viewer.modes import Sight, paint
from viewer.overlays import draw_overlays
from viewer.session import Color, Scene, Split
from viewer.views import View, Viewpoints

# Brightness of what surrounds a footage that does not fill the window, relative to the backdrop.
_SURROUND = 0.3
_SEAM = (245, 245, 245)


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


@dataclass(frozen=True)
class Sketch:
    """What a page needs to draw a shot by itself.

    Args:
        camera: of what is drawn (C = 1).
        corner: where its image begins in the window, pixels to the right and down.
        key: of ``behind``: equal where that is the same.
        behind: the picture beneath, as large as the window.
    """

    camera: Camera
    corner: tuple[int, int]
    key: tuple[Hashable, ...]
    behind: Callable[[], np.ndarray]


class Stage:
    """Draws shots of one avatar.

    Args:
        avatar: whose.
        viewpoints: of the avatar and of the capture's cameras.
        footage: the capture's pictures, or None.
        rival: a second avatar, or None.
        head: the tracked person's mesh, for overlays, or None.
    """

    def __init__(
        self,
        avatar: Avatar,
        viewpoints: Viewpoints,
        footage: Footage | None = None,
        rival: Avatar | None = None,
        head: HeadModel | None = None,
    ) -> None:
        self.avatar = avatar
        self._head = head
        self.rival = rival
        self.footage = footage
        self._viewpoints = viewpoints

    @torch.no_grad()
    def draw(self, shot: Shot, scale: float = 1.0) -> np.ndarray:
        """The picture [H, W, 3] uint8 at ``scale`` times the size of the shot."""
        width, height = (max(round(size * scale), 1) for size in (shot.width, shot.height))
        split = shot.scene.split
        if not self._can_split(split, shot.view):
            return self._picture(self.avatar, shot, width, height)
        if split.layout == "side":
            left = width // 2
            first = self._picture(self.avatar, shot, max(left, 1), height)
            picture = np.concatenate((first, self._other(split, shot, width - len(first[0]), height)), axis=1)
        else:
            left = round(width * split.at)
            picture = self._picture(self.avatar, shot, width, height)
            picture[:, left:] = self._other(split, shot, width, height)[:, left:]
        picture[:, max(left - 1, 0) : left + 1] = _SEAM
        return picture

    def seat(self, view: View) -> int | None:
        """The capture's camera that a view is from; -1 for the avatar's own; None for neither."""
        if view.is_from(self._viewpoints.capture):
            return -1
        return next((i for i, place in enumerate(self._viewpoints.cameras) if view.is_from(place)), None)

    def _can_split(self, split: Split, view: View) -> bool:
        if split.other == "footage":
            return self.footage is not None and self.seat(view) is not None
        return split.other == "rival" and self.rival is not None

    def _other(self, split: Split, shot: Shot, width: int, height: int) -> np.ndarray:
        if split.other == "rival":
            assert self.rival is not None
            return self._picture(self.rival, shot, width, height)
        seat = self.seat(shot.view)
        assert seat is not None
        assert self.footage is not None
        camera = self._camera(seat)
        truth = self._truth(shot.scene.frame, seat)
        assert truth is not None
        return self._framed(to_uint8(_resized(truth, *_inner(camera, width, height)).numpy()), shot, width, height)

    def _picture(self, avatar: Avatar, shot: Shot, width: int, height: int) -> np.ndarray:
        """An avatar alone."""
        scene, seat = shot.scene, self._framing_seat(shot)
        if seat is None:
            camera = shot.view.camera(width, height)
            return self._painted(avatar, scene, camera, backdrop(scene.backdrop, width, height), None)
        inner, back = self._framed_camera(seat, width, height), self._back(seat, scene, width, height)
        truth = self._truth(scene.frame, seat)
        filmed = None if truth is None else _resized(truth, inner.width, inner.height)
        return self._framed(self._painted(avatar, scene, inner, back, filmed), shot, width, height)

    def sketch(self, shot: Shot) -> Sketch | None:
        """What a page needs to draw a shot by itself; None where only the stage can: all but plain colour."""
        scene = shot.scene
        if scene.mode != "colour" or scene.overlays or scene.company or self._can_split(scene.split, shot.view):
            return None
        seat, (width, height) = self._framing_seat(shot), (shot.width, shot.height)
        whole: tuple[Hashable, ...] = (scene.backdrop, width, height)
        if seat is None:
            camera, behind = shot.view.camera(width, height), lambda: backdrop(scene.backdrop, width, height)
            return Sketch(camera, (0, 0), (*whole, None), lambda: to_uint8(behind().numpy()))
        inner = self._framed_camera(seat, width, height)

        def framed() -> np.ndarray:
            return self._framed(to_uint8(self._back(seat, scene, width, height).numpy()), shot, width, height)

        return Sketch(inner, ((width - inner.width) // 2, (height - inner.height) // 2), (*whole, seat), framed)

    def _framing_seat(self, shot: Shot) -> int | None:
        """The camera whose image frames a shot; None where the avatar fills the window."""
        seat = self.seat(shot.view)
        if seat is None or not shot.scene.with_footage:
            return None
        return None if self._behind(seat) is None and self.footage is None else seat

    def _framed_camera(self, seat: int, width: int, height: int) -> Camera:
        camera = self._camera(seat)
        return camera.resized(*_inner(camera, width, height))

    def _back(self, seat: int, scene: Scene, width: int, height: int) -> Tensor:
        """What is behind the avatar in a camera's image, as large as a window holds it."""
        size, behind = _inner(self._camera(seat), width, height), self._behind(seat)
        return backdrop(scene.backdrop, *size) if behind is None else _resized(behind, *size)

    def _painted(
        self, avatar: Avatar, scene: Scene, camera: Camera, behind: Tensor, truth: Tensor | None
    ) -> np.ndarray:
        codes = scene.codes
        if codes.space.hash != avatar.space.hash:  # a second avatar of another space only turns along
            codes = replace(avatar.codes, head_to_world=codes.head_to_world)
        present = scene.company if avatar is self.avatar else ()
        company = tuple(
            replace(a, codes=Codes.stack([a.codes[min(scene.frame, a.codes.batch[0] - 1)]])) for a in present
        )
        image = paint(scene.mode, Sight(avatar, camera, codes, behind, truth, company))
        if not scene.overlays or self._head is None:
            return image
        return draw_overlays(image, scene.overlays, self._head, camera, scene.codes)

    def _framed(self, image: np.ndarray, shot: Shot, width: int, height: int) -> np.ndarray:
        """An image in the middle of a plain surround."""
        picture = np.empty((height, width, 3), dtype=np.uint8)
        picture[:] = to_uint8(np.array(shot.scene.backdrop) / 255.0 * _SURROUND)
        rows, columns = image.shape[:2]
        top, left = (height - rows) // 2, (width - columns) // 2
        picture[top : top + rows, left : left + columns] = image
        return picture

    def _camera(self, seat: int) -> Camera:
        """A seat's camera: the avatar's own, or the capture's."""
        if seat < 0 or self.footage is None:
            return self._viewpoints.camera
        return self.footage.camera(seat)

    def _behind(self, seat: int) -> Tensor | None:
        if self.footage is None:
            return self.avatar.background
        filmed = self.footage.background(self._viewpoints.own_camera if seat < 0 else seat)
        return self.avatar.background if filmed is None and seat < 0 else filmed

    def _truth(self, frame: int, seat: int) -> Tensor | None:
        """What the camera filmed; the avatar's own camera is the capture's that stands where it does, or its first."""
        if self.footage is None:
            return None
        return self.footage.image(frame, self._viewpoints.own_camera if seat < 0 else seat)


def _still(actor: Actor, frame: int) -> Actor:
    """With the state of one frame."""
    return replace(actor, codes=Codes.stack([actor.codes[min(frame, actor.codes.batch[0] - 1)]]))


def backdrop(color: Color, width: int, height: int) -> Tensor:
    """A colour [H, W, 3] that falls off towards the corners, as a lit wall behind a sitter does."""
    longest = max(width, height)
    x = torch.linspace(-1.0, 1.0, width) * (width / longest)
    y = torch.linspace(-1.0, 1.0, height) * (height / longest)
    distance = (x[None, :] ** 2 + (y[:, None] + 0.1) ** 2).sqrt()
    falloff = 1.12 - 0.5 * (distance / 1.4).clamp(max=1.0) ** 1.5
    return (torch.tensor(color) / 255.0 * falloff[..., None]).clamp(max=1.0)


def _inner(camera: Camera, width: int, height: int) -> tuple[int, int]:
    """Width and height of a camera's image, as large as a window holds it."""
    fit = min(width / camera.width, height / camera.height)
    return max(round(camera.width * fit), 1), max(round(camera.height * fit), 1)


def _resized(image: Tensor, width: int, height: int) -> Tensor:
    if tuple(image.shape[:2]) == (height, width):
        return image
    shrinks = width < image.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return torch.from_numpy(cv2.resize(image.numpy(), (width, height), interpolation=mode))
