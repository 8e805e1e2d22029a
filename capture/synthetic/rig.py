"""Rigs of cameras round a head, and what real cameras do to the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from studio.cameras import Camera, intrinsics, orbit

_DISTANCE_METRES = 1.0
_SEEN_METRES = 0.38  # height of what a camera shows at the head's distance: the head down to the collar
_TARGET = (0.0, -0.02, -0.04)
_REACH_RADIANS = 1.35  # the outermost cameras see the face from a little more than three quarters
_HEIGHTS = (0.42, -0.22, 0.05)  # elevations of neighbouring cameras, radians
_HELD_OUT_HEIGHT = 0.08  # cameras kept for testing stand between the others, not beyond them
# NeRSemble holds these four of its sixteen cameras out.
_NERSEMBLE_HELD_OUT = (3, 6, 11, 15)


def make_rig(count: int, size: int) -> Camera:
    """``count`` cameras on the frontal hemisphere, looking at the head; a single one looks straight at the face."""
    K = intrinsics(size * _DISTANCE_METRES / _SEEN_METRES, size, size)
    azimuths = np.linspace(-_REACH_RADIANS, _REACH_RADIANS, count) if count > 1 else np.zeros(1)
    if count == 16:  # so that the camera numbered 15 is not at the edge
        azimuths[[13, 15]] = azimuths[[15, 13]]
    held_out = held_out_cameras(count)
    elevations = np.full(count, _HELD_OUT_HEIGHT if count > 1 else 0.0)
    others = [index for index in np.argsort(azimuths) if index not in held_out]
    if count > 1:
        elevations[others] = np.resize(_HEIGHTS, len(others))
    around = (torch.from_numpy(azimuths).float(), torch.from_numpy(elevations).float())
    rig = orbit(torch.tensor(_TARGET), _DISTANCE_METRES, *around, K, size, size)
    return Camera(rig.viewmats, rig.Ks, size, size, tuple(f"{index:02d}" for index in range(count)))


def held_out_cameras(count: int) -> tuple[int, ...]:
    """Cameras kept for testing: NeRSemble's four of sixteen, else about every fourth, never the outermost."""
    if count == 16:
        return _NERSEMBLE_HELD_OUT
    chosen = count // 4
    return tuple(int((index + 0.5) * count / chosen) for index in range(chosen)) if count >= 4 else ()


@dataclass(frozen=True)
class Flaws:
    """What is wrong with a rig; everything zero is a perfect one.

    Args:
        noise: standard deviation of sensor noise, in units of the full range.
        exposure: standard deviation between cameras, in stops.
        colour: standard deviation of the gain of each channel between cameras.
        blur: standard deviation of the lens blur in pixels.
        calibration: standard deviation of the calibrated directions in degrees, and of positions in centimetres.
    """

    noise: float = 0.0
    exposure: float = 0.0
    colour: float = 0.0
    blur: float = 0.0
    calibration: float = 0.0


class FlawedCameras:
    """Draws each camera's flaws once, then applies them to images."""

    def __init__(self, flaws: Flaws, count: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self.flaws, self.seed = flaws, seed
        stops = flaws.exposure * rng.normal(size=(count, 1))
        self.gains = 2.0**stops * (1 + flaws.colour * rng.normal(size=(count, 3))).clip(0.2, 5.0)
        self._turns = Rotation.from_rotvec(np.radians(flaws.calibration) * rng.normal(size=(count, 3))).as_matrix()
        self._shifts = 0.01 * flaws.calibration * rng.normal(size=(count, 3))

    def expose(
        self,
        image: np.ndarray,  # [H, W, 3] sRGB-encoded, 0..1
        camera_index: int,
        timestep_index: int,  # -1 for the empty scene
    ) -> np.ndarray:
        """The image [H, W, 3] that this camera would have recorded at this time."""
        if self.flaws.blur > 0:
            image = gaussian_filter(image, (self.flaws.blur, self.flaws.blur, 0))
        if self.flaws.exposure > 0 or self.flaws.colour > 0:
            # Gains act on light; 2.2 is near enough to sRGB's curve for a flaw.
            image = image * self.gains[camera_index] ** (1 / 2.2)
        if self.flaws.noise > 0:
            rng = np.random.default_rng([self.seed, 3, camera_index, timestep_index + 1])
            image = image + self.flaws.noise * rng.normal(size=image.shape)
        return image.clip(0, 1)

    def miscalibrated(self, rig: Camera) -> Camera:
        """What a calibration of the rig would have said."""
        if self.flaws.calibration == 0:
            return rig
        viewmats = rig.viewmats.clone()
        turns, shifts = torch.from_numpy(self._turns).float(), torch.from_numpy(self._shifts).float()
        viewmats[:, :3, :3] = turns @ viewmats[:, :3, :3]
        viewmats[:, :3, 3] = (turns @ viewmats[:, :3, 3:])[..., 0] + shifts
        return Camera(viewmats, rig.Ks, rig.width, rig.height, rig.ids)
