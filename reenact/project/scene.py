"""Several avatars in one picture, and where it is seen from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from reenact.project.schema import CameraKey, Place
from studio.avatar import Avatar, RenderOutput
from studio.cameras import Camera
from studio.codes import Codes
from studio.rotations import axis_angle_to_matrix, rigid, rigid_inverse, transform_points

HEAD_CENTER = (0.0, -0.02, -0.08)  # head frame: what a camera turns round
_APART = 0.42  # metres between the heads of a scene in which nobody said where they are
_ROOM = 0.30  # metres that a head needs to either side


@dataclass(frozen=True)
class Actor:
    """A character on the stage.

    Args:
        avatar: who.
        codes: [T] in the avatar's own world.
        stage: [4, 4] takes the avatar's world to that of the scene.
    """

    avatar: Avatar
    codes: Codes
    stage: Tensor

    def state(self, frame: int) -> Codes:
        """The codes of a frame in the world of the scene."""
        codes = self.codes[frame]
        return replace(codes, head_to_world=self.stage @ codes.head_to_world)


def staged(avatars: Mapping[str, Avatar], places: Mapping[str, Place]) -> dict[str, Tensor]:
    """[4, 4] for each avatar: from its own world to the scene, which is that of the first one.

    Characters without a place stand side by side, turned a little towards each other.
    """
    first = next(iter(avatars.values())).codes.head_to_world
    given = any(place != Place() for place in places.values())
    stages = {}
    for index, (name, avatar) in enumerate(avatars.items()):
        place = places[name]
        if not given and len(avatars) > 1:
            side = index - 0.5 * (len(avatars) - 1)
            place = Place(right=_APART * side, turn=-16.0 * side)
        if len(avatars) == 1:
            stages[name] = torch.eye(4)
            continue
        # Right in the picture is the subject's left.
        turn = axis_angle_to_matrix(torch.tensor([0.0, math.radians(place.turn), 0.0]))
        stand = rigid(turn, torch.tensor([place.right, place.up, place.near]))
        stages[name] = first @ stand @ rigid_inverse(avatar.codes.head_to_world)
    return stages


def scene_camera(avatars: Sequence[Avatar], stages: Sequence[Tensor]) -> tuple[Camera, Tensor]:
    """The first avatar's camera, moved back until all heads are in the picture, and what it looks at [3]."""
    start = avatars[0].camera
    centers = torch.stack(
        [
            transform_points(stage @ avatar.codes.head_to_world, torch.tensor([HEAD_CENTER]))[0]
            for avatar, stage in zip(avatars, stages)
        ]
    )
    target = centers.mean(0)
    if len(avatars) == 1:
        return start, target
    to_camera = start.viewmats[0]
    seen = transform_points(to_camera, centers)
    middle = 0.5 * (seen.amin(0) + seen.amax(0))
    wide = 0.5 * float(seen[:, 0].amax() - seen[:, 0].amin()) + _ROOM
    distance = max(wide * float(start.Ks[0, 0, 0]) / (0.5 * start.width), float(middle[2]))
    before = transform_points(to_camera, centers[:1])[0]
    shift = torch.tensor([-float(middle[0]), 0.0, distance - float(middle[2])])
    # Heads stay as high in the picture as the first one was, though they are farther away now.
    shift[1] = float(before[1]) * (distance / float(before[2]) - 1) * 0.5
    moved = rigid(torch.eye(3), shift) @ to_camera
    Ks = start.Ks.clone()
    Ks[:, 0, 2] = 0.5 * start.width
    return Camera(moved[None], Ks, start.width, start.height), target


def keyed_cameras(keys: Sequence[CameraKey], start: Camera, target: Tensor, frames: int, fps: float) -> Camera:
    """Cameras [T] through camera keys: at rest in each, smooth in between, about ``target`` [3]."""
    ordered = sorted(keys, key=lambda key: key.at)
    times = torch.arange(frames) / fps
    values = torch.stack([_between(ordered, times, name) for name in ("yaw", "pitch", "zoom", "distance")], dim=-1)
    yaw, pitch, zoom, distance = values.unbind(-1)
    nothing = torch.zeros_like(yaw)
    turn = axis_angle_to_matrix(torch.stack((nothing, torch.deg2rad(yaw), nothing), -1))
    turn = axis_angle_to_matrix(torch.stack((torch.deg2rad(pitch), nothing, nothing), -1)) @ turn
    viewmat = start.viewmats[0]
    pivot = viewmat[:3, :3] @ target + viewmat[:3, 3]
    away = torch.stack((nothing, nothing, (distance - 1) * pivot[2]), -1)
    moved = rigid(turn, pivot - turn @ pivot + away) @ viewmat
    Ks = start.Ks.expand(frames, 3, 3).clone()
    Ks[:, 0, 0] *= zoom
    Ks[:, 1, 1] *= zoom
    # Zooming keeps what the camera turns round where it was in the picture.
    seen = start.Ks[0, :2, :2] @ (pivot[:2] / pivot[2])
    Ks[:, :2, 2] += (1 - zoom)[:, None] * seen
    return Camera(moved, Ks, start.width, start.height)


def _between(keys: Sequence[CameraKey], times: Tensor, name: str) -> Tensor:
    """[T] a value of the keys: held before the first and after the last, eased in between."""
    result = torch.full_like(times, float(getattr(keys[0], name)))
    for before, after in pairwise(keys):
        t = ((times - before.at) / max(after.at - before.at, 1e-6)).clamp(0, 1)
        eased = t * t * (3 - 2 * t)
        result = result + (float(getattr(after, name)) - float(getattr(before, name))) * eased
    return result


def render_scene(actors: Sequence[Actor], camera: Camera, frame: int) -> RenderOutput:
    """All actors in one picture, the nearer in front of the farther, pixel by pixel."""
    images = [actor.avatar.render(camera, actor.state(frame)) for actor in actors]
    if len(images) == 1:
        return images[0]
    images = [image.cpu() for image in images]
    depths = torch.stack([torch.where(image.alpha > 0.02, image.depth, torch.inf) for image in images])
    order = depths.argsort(0)
    colors, alphas = torch.stack([image.rgb for image in images]), torch.stack([image.alpha for image in images])
    rgb, alpha = torch.zeros_like(colors[0]), torch.zeros_like(alphas[0])
    for layer in range(len(images)):
        chosen = order[layer]
        color = colors.gather(0, chosen[None, ..., None].expand(1, *colors.shape[1:]))[0]
        cover = alphas.gather(0, chosen[None])[0]
        rgb = rgb + (1 - alpha)[..., None] * color
        alpha = alpha + (1 - alpha) * cover
    nearest = depths.amin(0)
    return RenderOutput(rgb, alpha, lambda: torch.where(torch.isinf(nearest), 0.0, nearest))
