"""Training of a static radiance field from calibrated photos."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.sparse_points import SparsePoints, triangulate_points
from recon.avatars.hash_static import HashStatic
from recon.carving import carve
from recon.checkpoints import Checkpoint
from recon.exposures import Exposures
from recon.field_session import FieldSession
from recon.loop import OnStep, fit
from recon.radiance import FieldShape, RadianceField, pixel_rays
from recon.run_config import RunConfig
from recon.sightings import Sightings, sighting_loss
from studio.cameras import Camera
from studio.captures import Capture
from studio.kernels.march import OccupancyGrid, distortion_loss
from studio.logs import say


@dataclass(frozen=True)
class HashStaticConfig(RunConfig):
    """How a static radiance field is trained, besides what all training is told.

    Args:
        samples: learned from in a step, about: so many pixels are taken, from all photos, as see so many.
        steps: steps of the marching along the diagonal of the scene's box; four times as many where something is.
        margin: how much larger the box is than that of the triangulated points; without mattes it holds all cameras.
        cells: of the occupancy grid, a side.
        sighting_weight: of the light coming from where triangulated points are (Deng et al. 2022).
        distortion_weight: pull of what a ray sees into one place (Barron et al. 2022).
        field: sizes of the field.
    """

    iterations: int = 2000
    samples: int = 32_768
    steps: int = 256
    margin: float = 1.5
    cells: int = 64
    sighting_weight: float = 0.02
    distortion_weight: float = 1e-3
    field: FieldShape = field(default_factory=FieldShape)


_RATE, _DECAY = 1e-2, 0.03  # of all parameters, and what is left of it in the end (Müller et al. 2022)
_RAYS = 16_384  # of a step, at most
_FORGOTTEN = 0.95  # what is left, at each look, of what was seen before
_QUANTILES = (0.01, 0.99)  # of the triangulated points, along each axis
_SIGHTED = 0.2  # share of the rays that are sent to triangulated points
_ROUND = 1.05  # the box of an open scene holds cameras and points, and so much more


def train_hash_static(
    capture: Capture,
    config: HashStaticConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
) -> Path:
    """Train a radiance field on the photos of a split; see ``recon.loop.fit`` for the run folder and resuming.

    Args:
        capture: a static capture with calibrated cameras; with mattes only what they cover is learned.
        config: see ``HashStaticConfig``.
        run_folder: made by this function.
        on_step: called after every step.
        resume: continue, with the same result bit by bit.

    Returns:
        The avatar folder.

    Raises:
        StudioError: the photos do not match each other, or the run exists.
    """
    return fit(lambda: HashStaticSession(capture, config), capture, config, run_folder, on_step, resume)


class HashStaticSession(FieldSession):
    """What training holds between two steps; see ``recon.loop.Session``."""

    reading = (0, 0.0)  # the photos are read before the first step

    def __init__(self, capture: Capture, config: HashStaticConfig) -> None:
        super().__init__(config.iterations, config.samples, _RAYS, config.seed)
        self.config, indices = config, capture.split(config.split).cameras
        self.cameras = capture.cameras[indices]
        frames = [capture.frame(0, index) for index in indices]
        self.images = torch.from_numpy(np.stack([frame.image for frame in frames]))  # [C, H, W, 3] uint8
        mattes = [frame.alpha for frame in frames if frame.alpha is not None]
        self.mattes = torch.from_numpy(np.stack(mattes)) if len(mattes) == len(frames) else None
        sparse = triangulate_points(capture, indices)
        say(f"{len(sparse)} points triangulated from {len(indices)} photos")
        occupancy = _occupancy(self.cameras, sparse, config, alone=self.mattes is not None)
        carve(occupancy, self.cameras, sparse)
        sightings = Sightings.of(sparse, self.cameras)
        self.sightings = sightings if self.mattes is None else sightings.on(self.mattes)
        raw = config.field.initial(self.generator, sky=self.mattes is None)
        self.parameters = {name: torch.nn.Parameter(value) for name, value in raw.items()}
        step = float((occupancy.upper - occupancy.lower).norm()) / config.steps
        field = RadianceField(self.parameters, config.field, occupancy, step, config.kernels)
        self.avatar = HashStatic(field, self.cameras[0])
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=_RATE, betas=(0.9, 0.99), eps=1e-15, fused=True)
        self.exposures = Exposures(len(self.cameras))

    @property
    def occupancy(self) -> OccupancyGrid:
        return self.avatar.field.occupancy

    def step(self, step: int) -> float:
        """Some pixels of all photos."""
        self.look_for_what_is_empty(step, lambda: [self.avatar.field.opacity], _FORGOTTEN)
        for group in self.optimizer.param_groups:
            group["lr"] = _RATE * _DECAY ** (step / self.config.iterations)
        loss = self._loss()
        for learner in (self.optimizer, self.exposures):
            learner.zero_grad()
        loss.backward()
        for learner in (self.optimizer, self.exposures):
            learner.step()
        self.done = step + 1
        return float(loss.detach())

    def _loss(self) -> Tensor:
        rays, field = self.count, self.avatar.field
        known = self.sightings.draw(round(_SIGHTED * rays), self.generator)
        free = rays - len(known)
        pixels = torch.stack(
            [torch.randint(size, (free,), generator=self.generator) for size in self.images.shape[:3]], dim=1
        )
        pixels = torch.cat((pixels, known.pixels))
        origins, directions, _ = pixel_rays(self.cameras, pixels)
        jitter = torch.rand(rays, generator=self.generator)
        samples, looked = field.visible(origins, directions, field.march(origins, directions, jitter))
        self.adapt(len(samples.starts), looked)
        seen = field.shade(origins, directions, samples)
        background, target = self._background_and_target(pixels, directions)
        image = seen.rgb + (1.0 - seen.alpha[:, None]) * background
        image = self.exposures(image, pixels[:, 0])
        loss = torch.nn.functional.smooth_l1_loss(image, target, beta=0.1)
        loss = loss + self.config.sighting_weight * sighting_loss(seen, samples, known)
        shells = field.shells
        if shells is not None:
            samples = shells.measured(samples, origins, directions)
        extent = float((field.occupancy.upper - field.occupancy.lower).max())
        return loss + self.config.distortion_weight / extent * distortion_loss(seen.weights, samples).mean()

    def _background_and_target(self, pixels: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """What is behind the rays, and what they should see [R, 3]; with mattes a random colour is behind both."""
        target = self.images[tuple(pixels.unbind(1))].float() / 255
        sky = self.avatar.field.sky(directions)
        if sky is not None or self.mattes is None:
            return (torch.zeros_like(target) if sky is None else sky), target
        alpha = self.mattes[tuple(pixels.unbind(1))].float()[:, None] / 255
        behind = torch.rand(target.shape, generator=self.generator)
        return behind, alpha * target + (1.0 - alpha) * behind

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        state = super().state()
        return replace(state, tensors={**state.tensors, **self.exposures.tensors()})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""
        super().resume(checkpoint)
        self.exposures.restore(checkpoint.tensors)

    def result(self) -> tuple[HashStatic, dict[str, Any]]:
        """The trained scene."""
        parameters = {name: value.detach() for name, value in self.parameters.items()}
        return HashStatic(replace(self.avatar.field, parameters=parameters), self.avatar.camera), {}


def _occupancy(rig: Camera, sparse: SparsePoints, config: HashStaticConfig, alone: bool) -> OccupancyGrid:
    """A box round what the photos show in common; if there is more than that, round the cameras too."""
    lower, upper = np.quantile(sparse.points, _QUANTILES, axis=0)
    if not alone:
        centers = rig.centers.double().numpy()
        lower, upper = np.minimum(lower, centers.min(0)), np.maximum(upper, centers.max(0))
    center, half = (lower + upper) / 2, np.maximum((upper - lower) / 2, 0.1 * (upper - lower).max() / 2)
    lower, upper = (center + sign * (config.margin if alone else _ROUND) * half for sign in (-1.0, 1.0))
    return OccupancyGrid.full(torch.from_numpy(lower).float(), torch.from_numpy(upper).float(), config.cells)
