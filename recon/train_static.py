"""Training of a static scene of Gaussians from calibrated photos."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from capture.sparse_points import triangulate_points
from recon.avatars.static_splats import StaticSplats, initial_parameters
from recon.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from recon.densify import McmcConfig, explore, relocate
from recon.exposures import Exposures
from recon.forecast import Outlook, step_work
from recon.loop import OnStep, fit
from recon.run_config import RunConfig
from recon.session import StoredSession
from recon.states import named, under
from studio.cameras import Camera
from studio.captures import Capture
from studio.kernels.photometric import photometric_loss
from studio.logs import say


@dataclass(frozen=True)
class StaticConfig(RunConfig):
    """How a static scene is trained, besides what all training is told; a step sees one photo.

    Args:
        sh_degree: 0..3; higher degrees need many views.
        random_points: Gaussians started at random depths, for what no feature was found on.
        levels: (share of the steps, image scale): small images first, since most of the cost is pixels.
        opacity_weight: pull towards transparency, which frees Gaussians for other places (Kheradmand et al. 2024).
        scale_weight: pull towards small ones, per unit of the scene's extent.
        mcmc: budget and relocation.
    """

    sh_degree: int = 0
    random_points: int = 15_000
    levels: tuple[tuple[float, float], ...] = ((0.3, 0.25), (0.6, 0.5), (1.0, 1.0))
    opacity_weight: float = 0.01
    scale_weight: float = 0.01
    mcmc: McmcConfig = field(default_factory=McmcConfig)


# Twice those of Kerbl et al. 2023, for a schedule of a few thousand steps instead of 30,000; the rate of the means is
# per unit of the scene's extent. All fall: late large steps only learn single photos by heart.
_RATES = {"means": 3.2e-4, "quats": 2e-3, "log_scales": 1e-2, "opacity_logits": 5e-2, "sh0": 5e-3, "shN": 2.5e-4}
_DECAY = {"means": 0.01, "quats": 0.1, "log_scales": 0.1, "opacity_logits": 0.1, "sh0": 0.1, "shN": 0.1}
_FARTHEST = 6.0  # random points reach this many times as far as the triangulated ones


class _Photos:
    """The photos of the split at one scale, decoded once."""

    def __init__(self, capture: Capture, cameras: tuple[int, ...], scale: float) -> None:
        self.scale = scale
        width, height = round(capture.cameras.width * scale), round(capture.cameras.height * scale)
        self.cameras = capture.cameras[cameras].resized(width, height)
        images = [capture.frame(0, index).image for index in cameras]
        if scale != 1:
            images = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
        self.images = torch.from_numpy(np.stack(images))

    def __getitem__(self, index: int) -> tuple[Camera, Tensor]:
        return self.cameras[index], self.images[index : index + 1].float() / 255


def train_static(
    capture: Capture,
    config: StaticConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
) -> Path:
    """Train Gaussians on the photos of a split; see ``recon.loop.fit`` for the run folder and resuming.

    Args:
        capture: a static capture with calibrated cameras.
        config: see ``StaticConfig``.
        run_folder: made by this function.
        on_step: called after every step.
        resume: continue, with the same result bit by bit.

    Returns:
        The avatar folder.

    Raises:
        StudioError: the photos do not match each other, or the run exists.
    """
    return fit(lambda: StaticSession(capture, config), capture, config, run_folder, on_step, resume)


class StaticSession(StoredSession):
    """What training holds between two steps; see ``recon.loop.Session``."""

    finished = False  # the densification is scheduled over all steps: stopping early would leave it half done

    def __init__(self, capture: Capture, config: StaticConfig) -> None:
        self.capture, self.config = capture, config
        self.indices = capture.split(config.split).cameras
        self.extent = _extent(capture.cameras[self.indices])
        self.generator = torch.Generator().manual_seed(config.seed)
        points, colors = _initial_points(capture, self.indices, config, self.generator)
        self.avatar = StaticSplats({}, capture.cameras[self.indices[0]], config.kernels)
        self._use(initial_parameters(points, colors, config.sh_degree))
        self.order: list[int] = []
        self.photos: _Photos | None = None
        self.exposures = Exposures(len(self.indices))

    def _use(self, values: dict[str, Tensor]) -> None:
        self.avatar.parameters.update({name: torch.nn.Parameter(value) for name, value in values.items()})
        groups = [{"params": [self.avatar.parameters[name]], "name": name} for name in _RATES]
        self.optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)

    def step(self, step: int) -> float:
        """One photo."""
        share, mcmc = step / self.config.iterations, self.config.mcmc
        index = self._next_photo(share)
        rates = {name: rate * _DECAY[name] ** share for name, rate in _RATES.items()}
        rates["means"] *= self.extent
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["name"]]
        loss = self._loss(index)
        for learner in (self.optimizer, self.exposures):
            learner.zero_grad()
        loss.backward()
        for learner in (self.optimizer, self.exposures):
            learner.step()
        if self._relocates(step):
            relocate(self.avatar.parameters, self.optimizer, mcmc, self.generator)
        explore(self.avatar.parameters, rates["means"], mcmc, self.generator)
        return float(loss.detach())

    def _relocates(self, step: int) -> bool:
        mcmc = self.config.mcmc
        return mcmc.start <= step / self.config.iterations < mcmc.stop and step % mcmc.every == 0

    def _scale(self, share: float) -> float:
        """The scale of the photos after a share of the steps."""
        return next(scale for until, scale in self.config.levels if share < until)

    def _next_photo(self, share: float) -> int:
        """Every photo once, in random order, at the size of the current level: its number."""
        scale = self._scale(share)
        if self.photos is None or self.photos.scale != scale:
            self.photos = _Photos(self.capture, self.indices, scale)
        self.order = self.order or torch.randperm(len(self.indices), generator=self.generator).tolist()
        return self.order.pop()

    def _loss(self, index: int) -> Tensor:
        assert self.photos is not None
        camera, target = self.photos[index]
        render = self.avatar.render(camera, self.avatar.codes)
        opacities = self.avatar.parameters["opacity_logits"].sigmoid()
        scales = self.avatar.parameters["log_scales"].exp()
        return (
            photometric_loss(self.exposures(render.rgb, index), target, ssim_weight=0.2)
            + self.config.opacity_weight * opacities.mean()
            + self.config.scale_weight / self.extent * scales.mean()
        )

    def validate(self, step: int) -> dict[str, float]:
        """Nothing is held back from the training photos; the count shows how the budget fills."""
        return {"gaussians": float(len(self.avatar.parameters["means"]))}

    reading = (0, 0.0)  # photos are read at the first step of a level, before steps are timed

    def outlook(self, done: int) -> Outlook:
        """What is left after a number of steps."""
        config, cameras = self.config, self.capture.cameras
        pixels, count = cameras.width * cameras.height, len(self.avatar.parameters["means"])
        unit, work = step_work(count, pixels * self._scale(done / config.iterations) ** 2), 0.0
        for step in range(done, config.iterations):
            share = step / config.iterations
            if self._relocates(step):
                count = min(config.mcmc.budget, int(config.mcmc.growth * count))
            work += step_work(count, pixels * self._scale(share) ** 2) / unit
        held = (3 * pixels * len(self.indices)) if self._scale(done / config.iterations) < 1 else 0
        return Outlook(work, 0, held)

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        tensors = {
            **named("now", self.avatar.parameters),
            **optimizer_tensors(self.optimizer),
            **self.exposures.tensors(),
            "generator": self.generator.get_state(),
        }
        return Checkpoint(tensors, {"order": self.order})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""
        tensors = checkpoint.tensors
        self._use(under("now", tensors))
        restore_optimizer(self.optimizer, tensors)
        self.exposures.restore(tensors)
        self.generator.set_state(tensors["generator"])
        self.order = list(checkpoint.numbers["order"])

    def result(self) -> tuple[StaticSplats, dict[str, Any]]:
        """The trained scene."""
        parameters = {name: value.detach() for name, value in self.avatar.parameters.items()}
        return StaticSplats(parameters, self.avatar.camera, self.config.kernels), {}


def _extent(cameras: Camera) -> float:
    """Radius of the rig: what lengths are measured against."""
    centers = cameras.centers
    return float((centers - centers.mean(0)).norm(dim=1).max()) * 1.1


def _initial_points(
    capture: Capture, cameras: tuple[int, ...], config: StaticConfig, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Triangulated points, and pixels of the photos pushed to random depths behind what was found."""
    sparse = triangulate_points(capture, cameras)
    points, colors = sparse.points, sparse.colors
    say(f"{len(points)} points triangulated from {len(cameras)} photos")
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    kept = rng.permutation(len(points))[: config.mcmc.budget // 2]
    per_photo = max(1, config.random_points // len(cameras))
    extra = [_random_points(capture, index, points, per_photo, rng) for index in cameras]
    fill, fill_colors = (np.concatenate(item) for item in zip(*extra))
    free = ~_blocks_a_view(fill, points, capture.cameras[cameras])
    return np.concatenate([points[kept], fill[free]]), np.concatenate([colors[kept], fill_colors[free]])


def _random_points(
    capture: Capture, index: int, points: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of one photo at random depths, from the triangulated points outwards."""
    frame = capture.frame(0, index)
    viewmat, K = frame.camera.viewmats[0].double().numpy(), frame.camera.Ks[0].double().numpy()
    depths = (points @ viewmat[2, :3]) + viewmat[2, 3]
    depth = np.median(depths[depths > 0]) * np.exp(rng.uniform(0.0, np.log(_FARTHEST), count))
    height, width = frame.image.shape[:2]
    x, y = rng.integers(width, size=count), rng.integers(height, size=count)
    rays = np.stack(((x + 0.5 - K[0, 2]) / K[0, 0], (y + 0.5 - K[1, 2]) / K[1, 1], np.ones(count)), axis=1)
    world = (rays * depth[:, None] - viewmat[:3, 3]) @ viewmat[:3, :3]
    return world, frame.image[y, x] / 255.0


def _blocks_a_view(
    candidates: np.ndarray,  # [M, 3] world
    points: np.ndarray,  # [N, 3] world, on surfaces
    cameras: Camera,
) -> np.ndarray:
    """[M] bool: candidates that some camera sees in front of what it looks at."""
    xy, depth = (value.numpy() for value in cameras.project(torch.from_numpy(candidates).float()))
    _, surface = cameras.project(torch.from_numpy(points).float())
    nearest = np.array([np.quantile(row[row > 0], 0.05) for row in surface.numpy()])[:, None]
    seen = (depth > 0) & (xy >= 0).all(-1) & (xy[..., 0] < cameras.width) & (xy[..., 1] < cameras.height)
    return np.asarray((seen & (depth < nearest)).any(0))
