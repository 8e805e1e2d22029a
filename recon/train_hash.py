"""Training of a static radiance field from calibrated photos."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.sparse_points import triangulate_points
from recon.avatars.hash_static import HashStatic
from recon.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from recon.exposures import Exposures
from recon.forecast import Outlook
from recon.loop import OnStep, fit
from recon.radiance import FieldShape, RadianceField, pixel_rays
from recon.session import StoredSession
from recon.states import named, under
from studio.captures import Capture
from studio.kernels.march import OccupancyGrid, distortion_loss
from studio.logs import say


@dataclass(frozen=True)
class HashStaticConfig:
    """How a static radiance field is trained.

    Args:
        iterations: steps.
        samples: learned from in a step, about: so many pixels are taken, from all photos, as see so many.
        steps: steps of the marching along the diagonal of the scene's box.
        margin: how much larger the box is than that of the triangulated points.
        cells: of the occupancy grid, a side.
        distortion_weight: pull of what a ray sees into one place (Barron et al. 2022).
        field: sizes of the field.
        split: what to train on.
        kernels: "auto", "cuda" or "cpu".
        seed: of everything random.
        check_every: steps between entries in metrics.jsonl.
        checkpoint_every: steps between checkpoints.
    """

    iterations: int = 4000
    samples: int = 65_536
    steps: int = 768
    margin: float = 1.5
    cells: int = 96
    distortion_weight: float = 1e-3
    field: FieldShape = field(default_factory=FieldShape)
    split: str = "train"
    kernels: str = "auto"
    seed: int = 0
    check_every: int = 500
    checkpoint_every: int = 1000


_RATE, _DECAY = 1e-2, 0.03  # of all parameters, and what is left of it in the end (Müller et al. 2022)
_OCCUPANCY_EVERY, _OCCUPANCY_WARM = 16, 256  # steps; all cells are looked at while it is warm
_RAYS, _MOST = 16_384, 2  # rays of a step, at most, and times those of the step before
_GLANCE = 0.25  # what finding out that a sample is hidden or empty costs against learning from it
_QUANTILES = (0.01, 0.99)  # of the triangulated points, along each axis


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


class HashStaticSession(StoredSession):
    """What training holds between two steps; see ``recon.loop.Session``."""

    finished = False
    reading = (0, 0.0)  # the photos are read before the first step

    def __init__(self, capture: Capture, config: HashStaticConfig) -> None:
        self.config, indices = config, capture.split(config.split).cameras
        self.cameras = capture.cameras[indices]
        frames = [capture.frame(0, index) for index in indices]
        self.images = torch.from_numpy(np.stack([frame.image for frame in frames]))  # [C, H, W, 3] uint8
        mattes = [frame.alpha for frame in frames if frame.alpha is not None]
        self.mattes = torch.from_numpy(np.stack(mattes)) if len(mattes) == len(frames) else None
        self.generator = torch.Generator().manual_seed(config.seed)
        occupancy = _occupancy(capture, indices, config)
        raw = config.field.initial(self.generator, sky=self.mattes is None)
        self.parameters = {name: torch.nn.Parameter(value) for name, value in raw.items()}
        step = float((occupancy.upper - occupancy.lower).norm()) / config.steps
        field = RadianceField(self.parameters, config.field, occupancy, step, config.kernels)
        self.avatar = HashStatic(field, self.cameras[0])
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=_RATE, betas=(0.9, 0.99), eps=1e-15, fused=True)
        self.rays = max(config.samples // config.steps, 1)  # of a step; more as the box empties
        self.exposures = Exposures(len(self.cameras))

    def step(self, step: int) -> float:
        """Some pixels of all photos."""
        field = self.avatar.field
        if step % _OCCUPANCY_EVERY == 0:
            everywhere = step < _OCCUPANCY_WARM
            field.occupancy.update(field.opacity, self.generator, everywhere=everywhere)
        for group in self.optimizer.param_groups:
            group["lr"] = _RATE * _DECAY ** (step / self.config.iterations)
        loss = self._loss()
        for learner in (self.optimizer, self.exposures):
            learner.zero_grad()
        loss.backward()
        for learner in (self.optimizer, self.exposures):
            learner.step()
        return float(loss.detach())

    def _loss(self) -> Tensor:
        rays, field = self.rays, self.avatar.field
        pixels = torch.stack(
            [torch.randint(size, (rays,), generator=self.generator) for size in self.images.shape[:3]], dim=1
        )
        origins, directions, _ = pixel_rays(self.cameras, pixels)
        jitter = torch.rand(rays, generator=self.generator)
        marched = field.march(origins, directions, jitter)
        samples = field.visible(origins, directions, marched)
        work = max(len(samples.starts) + _GLANCE * len(marched.starts), 1.0)
        self.rays = min(max(round(rays * self.config.samples / work), 1), _MOST * rays, _RAYS)
        seen = field.shade(origins, directions, samples)
        background, target = self._background_and_target(pixels, directions)
        image = seen.rgb + (1.0 - seen.alpha[:, None]) * background
        image = self.exposures(image, pixels[:, 0])
        loss = torch.nn.functional.smooth_l1_loss(image, target, beta=0.1)
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

    def validate(self, step: int) -> dict[str, float]:
        """Nothing is held back from the training photos; the share of the box that is not empty shows the progress."""
        return {"occupied": float(self.avatar.field.occupancy.occupied.float().mean())}

    def outlook(self, done: int) -> Outlook:
        """As much for every step: they look at as many samples."""
        return Outlook(float(self.config.iterations - done), 0, 0)

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        occupancy = self.avatar.field.occupancy
        tensors = {
            **named("now", self.parameters),
            **optimizer_tensors(self.optimizer),
            **self.exposures.tensors(),
            "generator": self.generator.get_state(),
            "values": occupancy.values,
            "occupied": occupancy.occupied,
        }
        return Checkpoint(tensors, {"rays": self.rays})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""
        tensors = checkpoint.tensors
        with torch.no_grad():
            for name, value in under("now", tensors).items():
                self.parameters[name].copy_(value)
        restore_optimizer(self.optimizer, tensors)
        self.exposures.restore(tensors)
        occupancy = self.avatar.field.occupancy
        occupancy.values, occupancy.occupied = tensors["values"], tensors["occupied"]
        self.generator.set_state(tensors["generator"])
        self.rays = int(checkpoint.numbers["rays"])

    def result(self) -> tuple[HashStatic, dict[str, Any]]:
        """The trained scene."""
        parameters = {name: value.detach() for name, value in self.parameters.items()}
        return HashStatic(replace(self.avatar.field, parameters=parameters), self.avatar.camera), {}


def _occupancy(capture: Capture, cameras: tuple[int, ...], config: HashStaticConfig) -> OccupancyGrid:
    """A box round what the photos show in common."""
    points, _ = triangulate_points(capture, cameras)
    lower, upper = np.quantile(points, _QUANTILES, axis=0)
    say(f"{len(points)} points triangulated from {len(cameras)} photos")
    center, half = (lower + upper) / 2, np.maximum((upper - lower) / 2, 0.1 * (upper - lower).max() / 2)
    lower, upper = (center + sign * config.margin * half for sign in (-1.0, 1.0))
    return OccupancyGrid.full(torch.from_numpy(lower).float(), torch.from_numpy(upper).float(), config.cells)
