"""Training of radiance fields of moving heads: ``hash_ensemble`` (Kirschstein et al. 2023)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recon.avatars.hash_ensemble import HashEnsemble
from recon.checkpoints import Checkpoint, load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from recon.forecast import Outlook
from recon.head_field import HeadField, HeadFieldShape, Moments, faded_weights
from recon.head_losses import alpha_loss, depth_losses, distortion
from recon.hull import hull_grid
from recon.loop import OnStep, fit
from recon.pixels import Pixels, PixelStream
from recon.radiance import pixel_rays
from studio.cameras import Camera
from studio.captures import Capture
from studio.code_range import measure_range
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.kernels.march import Composite, Samples
from studio.kernels.screw import ease_window


@dataclass(frozen=True)
class HashEnsembleConfig:
    """How a hash ensemble is trained; names of NeRSemble's code, shares of all steps where it counts steps.

    Args:
        iterations: steps.
        train_num_rays_per_batch: pixels of a step.
        timesteps_per_batch: timesteps that they come from.
        render_step_size: step of the marching, metres.
        alpha_thre: steps less opaque than this are not looked at closely.
        early_stop_eps: nor what less of the light than this reaches.
        cells: of the occupancy grid, a side.
        min_views: cameras that must see a cell [frustum culling].
        window_deform_begin: share of the steps at which the deformation begins to see frequencies.
        window_deform_end: at which it sees all.
        window_hash_encodings_begin: share of the steps until which there is one table.
        window_hash_encodings_end: from which there are all.
        lr_main: Adam's rate of tables and networks.
        lr_deformation_field: of the deformation.
        lr_embeddings: of the codes of timesteps.
        lr_drops: how often rates drop, evenly over all steps.
        gamma_main: what is left of them each time.
        gamma_deformation_field: the same for the deformation.
        use_masked_rgb_loss: colours count on the person only; otherwise everywhere, over random backgrounds.
        lambda_alpha_loss: weight of coverage.
        lambda_empty_loss: of what stands before a known depth.
        lambda_near_loss: of how light gathers about it.
        lambda_depth_loss: of the mean depth.
        lambda_dist_loss: pull of what a ray sees into one place.
        camera_colors: learn an affine change of colour for each camera.
        foreground: share of the pixels that are drawn on or near the person.
        cache_megabytes: of images held in memory.
        renew_every: steps after which one timestep in memory gives its place to another.
        field: sizes.
        split: what to train on.
        kernels: "auto", "cuda" or "cpu".
        seed: of everything random.
        check_every: steps between entries in metrics.jsonl.
        checkpoint_every: steps between checkpoints.
    """

    iterations: int = 4000
    train_num_rays_per_batch: int = 4096
    timesteps_per_batch: int = 2
    render_step_size: float = 0.0025
    alpha_thre: float = 1e-3
    early_stop_eps: float = 1e-3
    cells: int = 64
    min_views: int = 2
    window_deform_begin: float = 0.0
    window_deform_end: float = 0.067
    window_hash_encodings_begin: float = 0.133
    window_hash_encodings_end: float = 0.267
    lr_main: float = 1e-2
    lr_deformation_field: float = 1e-3
    lr_embeddings: float = 5e-3
    lr_drops: int = 15
    gamma_main: float = 0.8
    gamma_deformation_field: float = 0.8
    use_masked_rgb_loss: bool = False
    lambda_alpha_loss: float = 1e-2
    lambda_empty_loss: float = 1e-2
    lambda_near_loss: float = 1e-4
    lambda_depth_loss: float = 1e-4
    lambda_dist_loss: float = 1e-4
    camera_colors: bool = False
    foreground: float = 0.9
    cache_megabytes: int = 512
    renew_every: int = 20
    field: HeadFieldShape = field(
        default_factory=lambda: HeadFieldShape(
            n_hash_encodings=16,
            n_levels=8,
            log2_hashmap_size=15,
            per_level_scale=1.45,
            latent_dim_time_deform=16,
            n_freq_pos=4,
            mlp_num_layers=2,
            mlp_layer_width=64,
            skip_connection=0,
        )
    )
    split: str = "train"
    kernels: str = "auto"
    seed: int = 0
    check_every: int = 500
    checkpoint_every: int = 1000


_OCCUPANCY_EVERY, _OCCUPANCY_WARM = 16, 256  # steps; all cells are looked at while it is warm
_CODE = 0.01  # deviation of codes at first, over the root of their number
_BETAS, _EPS = (0.9, 0.99), 1e-15


def train_hash_ensemble(
    capture: Capture,
    track: CodeTrack,
    config: HashEnsembleConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
) -> Path:
    """Train a field with a code for every timestep; see ``recon.loop.fit`` for the run folder and resuming.

    Args:
        capture: a matted rig of cameras.
        track: only how timesteps are asked for afterwards: nothing is learned from it.
        config: see ``HashEnsembleConfig``.
        run_folder: made by this function.
        on_step: called after every step.
        resume: continue, with the same result bit by bit.

    Returns:
        The avatar folder.

    Raises:
        StudioError: no mattes, too few cameras, or the run exists.
    """

    def make() -> HashEnsembleSession:
        return HashEnsembleSession(capture, track, config)

    return fit(make, capture, config, run_folder, on_step, resume, {"track": track.hash})


class HeadSession(ABC):
    """What training the field of a moving head holds between two steps; see ``recon.loop.Session``."""

    finished = False
    optimizer: torch.optim.Optimizer

    def __init__(self, capture: Capture, track: CodeTrack, config: HashEnsembleConfig) -> None:
        part = capture.split(config.split)
        self.config, self.done = config, 0
        self.timesteps = tuple(t for t in part.timesteps if bool(track.valid[t]))
        if not self.timesteps:
            raise StudioError(f"the split {config.split} has no tracked frame", expected="frames that show a face")
        self.codes = track.codes[list(self.timesteps)]
        self.rig = capture.cameras[list(part.cameras)]
        weights = (config.lambda_empty_loss, config.lambda_near_loss, config.lambda_depth_loss)
        self.with_depth = max(weights) > 0 and capture.depth(self.timesteps[0], part.cameras[0]) is not None
        self.stream = PixelStream(
            capture,
            self.timesteps,
            part.cameras,
            max_bytes=config.cache_megabytes << 20,
            renew_every=config.renew_every,
            foreground=config.foreground,
            with_depth=self.with_depth,
            seed=config.seed,
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        raw = config.field.initial(self.generator)
        cameras, shown = len(part.cameras), config.field.appearance
        raw |= {"appearance": torch.zeros(cameras, shown)} if shown else {}
        raw |= {"camera_colors": torch.zeros(cameras, 4, 3)} if config.camera_colors else {}
        self.parameters = {name: torch.nn.Parameter(value) for name, value in raw.items()}
        self.field = HeadField(
            self.parameters,
            config.field,
            self.place(capture, part.cameras),
            config.render_step_size,
            config.alpha_thre,
            config.early_stop_eps,
            config.kernels,
        )

    @abstractmethod
    def place(self, capture: Capture, cameras: tuple[int, ...]) -> Any:
        """The box of the field, and what of it can hold something."""

    @abstractmethod
    def moments(self, timesteps: Tensor, step: int) -> Moments:
        """What the field is told of timesteps (places in the list of those trained on)."""

    @property
    @abstractmethod
    def avatar(self) -> Any:
        """The head as it is now."""

    @abstractmethod
    def embeddings(self) -> dict[str, torch.nn.Parameter]:
        """What is learned besides the field, by name."""

    def rays(self, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Origins and directions [R, 3] in the field's frame, and camera z per distance [R]."""
        chosen = torch.cat((pixels.cameras[:, None], pixels.places), dim=1)
        return pixel_rays(self.rig, chosen)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adam, in groups of NeRSemble's rates."""
        config, deformation = self.config, self.config.field.deformation
        fields = [value for name, value in self.parameters.items() if name not in deformation]
        groups: list[dict[str, Any]] = [
            {"params": fields, "rate": config.lr_main, "gamma": config.gamma_main},
            {"params": list(self.embeddings().values()), "rate": config.lr_embeddings, "gamma": config.gamma_main},
        ]
        if deformation:
            own = {"rate": config.lr_deformation_field, "gamma": config.gamma_deformation_field}
            groups.append({"params": [self.parameters[name] for name in deformation], **own})
        return torch.optim.Adam(groups, lr=config.lr_main, betas=_BETAS, eps=_EPS, fused=True)

    @property
    def reading(self) -> tuple[int, float]:
        """Images are read as training goes on, a timestep every few steps: part of what a step takes."""
        return 0, 0.0

    def step(self, step: int) -> float:
        """Some pixels of some timesteps."""
        share = step / self.config.iterations
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * group["gamma"] ** int(share * self.config.lr_drops)
        if step % _OCCUPANCY_EVERY == 0:
            self._look_for_what_is_empty(step)
        loss = self._loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.done = step + 1
        return float(loss.detach())

    @torch.no_grad()
    def _look_for_what_is_empty(self, step: int) -> None:
        """At a random timestep: the grid keeps the most that was seen, so it becomes that of all."""
        timestep = torch.randint(len(self.timesteps), (1,), generator=self.generator)
        prepared = self.field.prepare(self.moments(timestep, step))
        self.field.occupancy.update(
            lambda points: self.field.opacity(prepared, points), self.generator, everywhere=step < _OCCUPANCY_WARM
        )

    def _loss(self, step: int) -> Tensor:
        config = self.config
        pixels = self.stream.draw(step, config.train_num_rays_per_batch, config.timesteps_per_batch)
        origins, directions, z = self.rays(pixels)
        prepared = self.field.prepare(self.moments(pixels.timesteps, step))
        jitter = torch.rand(len(z), generator=self.generator)
        samples = self.field.visible(origins, directions, pixels.moments, prepared, jitter)
        shown = self.parameters["appearance"][pixels.cameras] if "appearance" in self.parameters else None
        seen = self.field.shade(origins, directions, pixels.moments, prepared, samples, shown)
        loss = self._color_loss(seen, pixels) + config.lambda_alpha_loss * alpha_loss(seen, pixels.alpha)
        if config.lambda_dist_loss:
            loss = loss + config.lambda_dist_loss * distortion(seen, samples)
        return loss + self._depth_loss(seen, samples, pixels, z)

    def _color_loss(self, seen: Composite, pixels: Pixels) -> Tensor:
        rgb, coverage = seen.rgb, seen.alpha[:, None]
        if "camera_colors" in self.parameters:  # all cameras together keep the colours of the person
            own = self.parameters["camera_colors"]
            change = (own - own.mean(0))[pixels.cameras]
            rgb = rgb + (torch.cat((rgb, coverage), dim=1)[:, None] @ change)[:, 0]
        if self.config.use_masked_rgb_loss:
            person = (pixels.alpha > 0.5)[:, None]
            return ((rgb - pixels.rgb).square() * person).sum() / (3 * person.sum()).clamp(min=1)
        behind = torch.rand(rgb.shape, generator=self.generator)
        return (rgb - pixels.rgb + (pixels.alpha[:, None] - coverage) * behind).square().mean()

    def _depth_loss(self, seen: Composite, samples: Samples, pixels: Pixels, z: Tensor) -> Tensor:
        if pixels.depth is None:
            return seen.rgb.new_zeros(())
        empty, near, depth = depth_losses(seen, samples, pixels.depth / z)
        config = self.config
        return config.lambda_empty_loss * empty + config.lambda_near_loss * near + config.lambda_depth_loss * depth

    def hash_reach(self, step: int) -> float:
        """How many tables are there at a step."""
        begin, end = self.config.window_hash_encodings_begin, self.config.window_hash_encodings_end
        return 1.0 + _ramp(step / self.config.iterations, begin, end) * (self.config.field.n_hash_encodings - 1)

    def frequency_window(self, step: int) -> Tensor:
        """What the deformation sees of each frequency at a step."""
        bands = self.config.field.n_freq_pos
        begin, end = self.config.window_deform_begin, self.config.window_deform_end
        return ease_window(_ramp(step / self.config.iterations, begin, end) * bands, bands)

    def validate(self, step: int) -> dict[str, float]:
        """Nothing is held back; the share of the box that is not empty shows the progress."""
        return {"occupied": float(self.field.occupancy.occupied.float().mean())}

    def outlook(self, done: int) -> Outlook:
        """As much for every step."""
        return Outlook(float(self.config.iterations - done), 0, 0)

    def store(self, folder: Path, step: int) -> None:
        """Write a checkpoint."""
        occupancy = self.field.occupancy
        learned = {**self.parameters, **self.embeddings()}
        tensors: dict[str, Tensor] = {f"now/{name}": value for name, value in learned.items()}
        tensors |= {"generator": self.generator.get_state()}
        tensors |= {"values": occupancy.values, "occupied": occupancy.occupied}
        save_checkpoint(folder, step, Checkpoint(tensors | optimizer_tensors(self.optimizer), {}))

    def restore(self, folder: Path) -> int:
        """Continue from the newest checkpoint, if there is one; returns the steps done."""
        checkpoint = load_checkpoint(folder)
        if checkpoint is None:
            return 0
        tensors, occupancy = checkpoint.tensors, self.field.occupancy
        with torch.no_grad():
            for name, value in {**self.parameters, **self.embeddings()}.items():
                value.copy_(tensors[f"now/{name}"])
        restore_optimizer(self.optimizer, tensors)
        occupancy.values, occupancy.occupied = tensors["values"], tensors["occupied"]
        self.generator.set_state(tensors["generator"])
        self.done = int(checkpoint.numbers["step"])
        return self.done

    def learned_field(self) -> HeadField:
        """The field as learned, without gradients; what belongs to cameras is left out."""
        kept = {name: value.detach() for name, value in self.parameters.items() if name != "camera_colors"}
        if "appearance" in kept:  # of no camera
            kept["appearance"] = kept["appearance"].mean(0, keepdim=True)
        return replace(self.field, parameters=kept)


class HashEnsembleSession(HeadSession):
    """A code for every timestep."""

    def __init__(self, capture: Capture, track: CodeTrack, config: HashEnsembleConfig) -> None:
        super().__init__(capture, track, config)
        count, tables, told = len(self.timesteps), config.field.n_hash_encodings, config.field.latent_dim_time_deform
        time = self._codes(count, tables)
        time[:, 0] = 1.0  # as the first table's weight was: a short schedule sees no jump
        self.time = torch.nn.Parameter(time)
        self.time_deform = torch.nn.Parameter(self._codes(count, told))
        self.optimizer = self.make_optimizer()
        valid = torch.ones(count, dtype=torch.bool)
        self.known = measure_range(replace(track, codes=self.codes, valid=valid))

    def _codes(self, count: int, size: int) -> Tensor:
        return _CODE / max(size, 1) ** 0.5 * torch.randn(count, size, generator=self.generator)

    def place(self, capture: Capture, cameras: tuple[int, ...]) -> Any:
        """In the world: what all cameras agree on at some timestep."""
        still = torch.eye(4).expand(len(capture), 4, 4)
        config = self.config
        return hull_grid(
            capture,
            self.timesteps,
            cameras,
            still,
            config.cells,
            agreeing=0.999,
            at_once=True,
            min_views=config.min_views,
        )

    def moments(self, timesteps: Tensor, step: int) -> Moments:
        codes = self.time_deform[timesteps] if self.config.field.deformation else None
        return Moments(faded_weights(self.time[timesteps], self.hash_reach(step)), codes, self.frequency_window(step))

    def embeddings(self) -> dict[str, torch.nn.Parameter]:
        return {"time": self.time, "time_deform": self.time_deform}

    @property
    def avatar(self) -> HashEnsemble:
        weights = faded_weights(self.time.detach(), self.hash_reach(self.done))
        window, codes = self.frequency_window(self.done), self.time_deform.detach()
        return HashEnsemble(self.learned_field(), weights, codes, window, self.codes, self.known, _middle(self.rig))

    def result(self) -> tuple[HashEnsemble, dict[str, Any]]:
        """The trained head."""
        return self.avatar, {}


def _ramp(share: float, begin: float, end: float) -> float:
    return min(max((share - begin) / max(end - begin, 1e-9), 0.0), 1.0)


def _middle(rig: Camera) -> Camera:
    """The camera in the middle of a rig: the one nearest to the others."""
    centers = rig.centers
    return rig[int(torch.cdist(centers, centers).sum(1).argmin())]
