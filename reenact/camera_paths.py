"""Where a rendered video is seen from: the avatar's own camera, an orbit, or key cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from studio.cameras import Camera
from studio.captures import read_cameras
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid, rigid_inverse, slerp


@dataclass(frozen=True)
class CameraPathConfig:
    """A camera path.

    Args:
        kind: "fixed" (the avatar's own camera), "orbit" (swinging to and fro round the head) or "keys" (through the
            cameras of a file, evenly over the whole clip).
        swing: how far an orbit swings to either side, degrees.
        rise: how far it moves up and down, degrees.
        period: seconds of one swing there and back.
        keys: a cameras.json, as every capture has one.
    """

    kind: Literal["fixed", "orbit", "keys"] = "fixed"
    swing: float = 20.0
    rise: float = 6.0
    period: float = 6.0
    keys: Path | None = None

    def __post_init__(self) -> None:
        if (self.kind == "keys") != (self.keys is not None):
            raise StudioError(
                "key cameras and the kind of camera path do not fit",
                got=f"kind {self.kind}, keys {self.keys}",
                expected="kind=keys with a cameras.json",
            )
        if self.period <= 0:
            raise StudioError("impossible camera path", got=f"period {self.period} s", expected="above 0 s")


def camera_path(config: CameraPathConfig, start: Camera, target: Tensor, frames: int, fps: float) -> Camera:
    """One camera for each of ``frames`` frames; ``target`` [3] (world, metres) is what an orbit turns round.

    Raises:
        StudioError: the file of key cameras cannot be read.
    """
    if config.kind == "fixed":
        return repeated(start, frames)
    if config.keys is not None:
        keys = read_cameras(config.keys)
        return keyframed(keys, torch.linspace(0, max(frames - 1, 1) / fps, len(keys)), frames, fps)
    return swing(start, target, torch.arange(frames) / (fps * config.period), config)


def repeated(camera: Camera, frames: int) -> Camera:
    """The same camera (C = 1) for all frames."""
    viewmats, Ks = camera.viewmats.expand(frames, 4, 4), camera.Ks.expand(frames, 3, 3)
    return Camera(viewmats, Ks, camera.width, camera.height)


def swing(
    start: Camera,  # C = 1
    target: Tensor,  # [3] world, metres
    phase: Tensor,  # [T], 1 is one swing there and back
    config: CameraPathConfig,
) -> Camera:
    """Cameras [T] that turn round ``target``, beginning and ending each period at ``start`` itself.

    The turn is about the start camera's own up and right axes, so that the framing stays and any camera of any rig
    will do.
    """
    yaw = math.radians(config.swing) * torch.sin(2 * math.pi * phase)
    pitch = math.radians(config.rise) * torch.sin(4 * math.pi * phase)
    nothing = torch.zeros_like(yaw)
    rotation = axis_angle_to_matrix(torch.stack((nothing, yaw, nothing), -1)) @ axis_angle_to_matrix(
        torch.stack((pitch, nothing, nothing), -1)
    )
    viewmat = start.viewmats[0]
    pivot = viewmat[:3, :3] @ target + viewmat[:3, 3]  # in the camera's axes
    turn = rigid(rotation, pivot - rotation @ pivot)
    return Camera(turn @ viewmat, start.Ks.expand(len(phase), 3, 3), start.width, start.height)


def keyframed(
    keys: Camera,  # K cameras
    times: Tensor,  # [K] seconds, increasing
    frames: int,
    fps: float,
) -> Camera:
    """Cameras [T] that pass through key cameras at given times, at rest before the first and after the last.

    Centres and intrinsics are interpolated linearly, orientations along the shortest arc.

    Raises:
        StudioError: fewer times than cameras, or times that do not increase.
    """
    if len(times) != len(keys) or bool((times.diff() <= 0).any()):
        raise StudioError(
            "key cameras need increasing times", got=f"{len(keys)} cameras at {times.tolist()}", expected="one for each"
        )
    now = (torch.arange(frames) / fps).clamp(float(times[0]), float(times[-1]))
    after = torch.searchsorted(times, now, right=True).clamp(max=len(times) - 1)
    before = (after - 1).clamp(min=0)
    span = (times[after] - times[before]).clamp(min=1e-9)
    weight = (now - times[before]) / span
    poses = rigid_inverse(keys.viewmats)
    centers = torch.lerp(poses[before, :3, 3], poses[after, :3, 3], weight[:, None])
    rotation = slerp(poses[before, :3, :3], poses[after, :3, :3], weight)
    Ks = torch.lerp(keys.Ks[before], keys.Ks[after], weight[:, None, None])
    return Camera(rigid_inverse(rigid(rotation, centers)), Ks, keys.width, keys.height)


def fitted(camera: Camera, width: int, height: int) -> Camera:
    """The cameras with another image size: scaled evenly so as to fill it, the surplus cut evenly on both sides."""
    scale = max(width / camera.width, height / camera.height)
    wide, high = round(camera.width * scale), round(camera.height * scale)
    return camera.resized(wide, high).cropped((wide - width) // 2, (high - height) // 2, width, height)
