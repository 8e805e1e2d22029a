"""Where an avatar is looked at from: what a browser shows, and the two places worth starting from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from viser.transforms import SO3

from studio.avatar import Avatar, RenderOutput
from studio.cameras import Camera, focal_from_fov, intrinsics, look_at
from studio.codes import Codes
from studio.rotations import rigid, rigid_inverse

# A portrait lens: near perspective makes noses large.
_PORTRAIT_FOV = math.radians(24.0)
# Head frame, metres: the middle of a head seen from the front, and the height that leaves room round it.
_FACE_CENTER = (0.0, -0.015, -0.02)
_PORTRAIT_HEIGHT = 0.40
_HEAD_ASPECT = 0.75  # width over height of a window that just holds a head as tall as that
_PROBE_PIXELS = 96


@dataclass(frozen=True)
class View:
    """A pinhole view with the principal point in the middle, whatever the size of the window.

    Args:
        viewmat: [4, 4] world to camera.
        fov: vertical field of view, radians.
    """

    viewmat: Tensor
    fov: float

    @staticmethod
    def of(
        wxyz: np.ndarray,  # [4] camera to world, OpenCV axes
        position: np.ndarray,  # [3] world
        fov: float,
    ) -> View:
        """A browser's camera."""
        rotation = torch.from_numpy(SO3(wxyz).as_matrix())
        to_world = rigid(rotation, torch.from_numpy(position))
        return View(rigid_inverse(to_world).float(), fov)

    def camera(self, width: int, height: int) -> Camera:
        """The camera (C = 1) for a window."""
        K = intrinsics(focal_from_fov(self.fov, height), width, height)
        return Camera(self.viewmat[None], K[None], width, height)

    def is_from(self, place: Place) -> bool:
        """Whether it looks from that place in that direction, as closely as a browser's float32 keeps it."""
        other = place.viewmat
        distance = (place.position - place.target).norm()
        moved = (rigid_inverse(self.viewmat)[:3, 3] - place.position).norm() / distance
        turned = (self.viewmat[:3, :3] - other[:3, :3]).norm()
        return bool(moved < 2e-3 and turned < 2e-3)


@dataclass(frozen=True)
class Place:
    """A place to look from; world coordinates, metres.

    Args:
        position: [3] where the camera is.
        target: [3] what it looks at and orbits round.
        up: [3] where the top of the picture points.
    """

    position: Tensor
    target: Tensor
    up: Tensor

    @property
    def viewmat(self) -> Tensor:
        """[4, 4] world to camera."""
        return look_at(self.position, self.target, self.up)


@dataclass(frozen=True)
class Viewpoints:
    """The places worth starting from.

    Args:
        front: before the face where it rests; the same as ``capture`` for what has no face.
        front_fov: vertical field of view there, radians.
        capture: where the avatar's own camera stands, looking along the middle of its image.
        camera: the avatar's own camera, whose principal point may be anywhere.
        cameras: where the cameras of the capture stand, where one is open.
        own_camera: which of them is the avatar's own.
    """

    front: Place
    front_fov: float
    capture: Place
    camera: Camera
    cameras: tuple[Place, ...] = ()
    own_camera: int = 0

    def with_cameras(self, cameras: Camera) -> Viewpoints:
        """The same with the cameras of a capture, each looking at where the avatar is as far away as for its own.

        A rig is looked at from the camera that sees the face most from the front.
        """
        depth = float((self.capture.position - self.capture.target).norm())
        places = tuple(_along_image_center(cameras[index], depth) for index in range(len(cameras)))
        own = int((cameras.viewmats - self.camera.viewmats[0]).abs().amax((1, 2)).argmin())
        if len(places) == 1 or self.front is self.capture:
            return replace(self, cameras=places, own_camera=own)
        facing = torch.nn.functional.normalize(self.front.position - self.front.target, dim=0)
        seen = [float(torch.nn.functional.cosine_similarity(p.position - self.front.target, facing, 0)) for p in places]
        own = max(range(len(places)), key=seen.__getitem__)
        return replace(self, capture=places[own], camera=cameras[own], cameras=places, own_camera=own)

    @staticmethod
    @torch.no_grad()
    def of(avatar: Avatar) -> Viewpoints:
        """Find the head by rendering the avatar once, small, from its own camera."""
        camera = avatar.camera[0]
        scale = _PROBE_PIXELS / max(camera.width, camera.height)
        small = camera.resized(max(round(camera.width * scale), 1), max(round(camera.height * scale), 1))
        depth = _typical_depth(avatar.render(small, avatar.codes).cpu())
        capture = _along_image_center(camera, depth)
        head = avatar.codes.head_to_world
        if len(avatar.space) == 0 or not _is_seen(camera, head[:3, 3], depth):
            return Viewpoints(capture, _fitted_fov(camera, 1.0), capture, camera)
        return Viewpoints(_before_face(head), _PORTRAIT_FOV, capture, camera)

    @property
    def orbit_limits(self) -> tuple[float, float]:
        """How near and how far from the avatar, metres, there is something to see."""
        distances = [float((place.position - place.target).norm()) for place in (self.front, self.capture)]
        return 0.1 * min(distances), 5.0 * max(distances)

    def before(self, codes: Codes) -> Place:
        """In front of the face where it is in a state."""
        return self.front if self.front is self.capture else _before_face(codes.head_to_world)

    def front_fov_in(self, aspect: float) -> float:
        """Vertical field of view of the front in a window (width / height): a narrow one still holds the whole head."""
        return 2 * math.atan(math.tan(self.front_fov / 2) * max(1.0, _HEAD_ASPECT / aspect))

    def capture_fov(self, aspect: float) -> float:
        """Vertical field of view at which a window (width / height) just holds the whole image of the own camera."""
        return _fitted_fov(self.camera, aspect)


def through(camera: Camera, aspect: float) -> View:
    """The view that just holds a camera's whole image (C = 1) in a window (width / height)."""
    return View(_along_image_center(camera, 1.0).viewmat, _fitted_fov(camera, aspect))


def _typical_depth(output: RenderOutput) -> float:
    seen = output.depth[output.alpha > 0.5]
    return float(seen.median()) if seen.numel() else 1.0


def _along_image_center(camera: Camera, depth: float) -> Place:
    """The camera's place; the target is what the middle of its image shows at a depth in metres."""
    center = torch.tensor([camera.width / 2, camera.height / 2, 1.0])
    ray = torch.linalg.solve(camera.Ks[0], center)
    to_world = rigid_inverse(camera.viewmats[0])
    return Place(to_world[:3, 3], to_world[:3, :3] @ (ray * depth) + to_world[:3, 3], -to_world[:3, 1])


def _is_seen(camera: Camera, point: Tensor, depth: float) -> bool:
    """Whether the own camera sees a point [3] of the world about as far away as it sees the avatar."""
    (position,), (point_depth,) = (value[0] for value in camera.project(point[None]))
    inside = 0 <= position[0] < camera.width and 0 <= position[1] < camera.height
    return bool(inside and 0.5 * depth < point_depth < 2.0 * depth)


def _before_face(head_to_world: Tensor) -> Place:
    rotation, origin = head_to_world[:3, :3], head_to_world[:3, 3]
    target = rotation @ torch.tensor(_FACE_CENTER) + origin
    distance = _PORTRAIT_HEIGHT / (2 * math.tan(_PORTRAIT_FOV / 2))
    return Place(target + distance * rotation[:, 2], target, rotation[:, 1])


def _fitted_fov(camera: Camera, aspect: float) -> float:
    height = max(float(camera.height), camera.width / aspect)
    return 2 * math.atan(height / (2 * float(camera.Ks[0, 1, 1])))
