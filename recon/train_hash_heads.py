"""Training of radiance fields of moving heads: what ``hash_ensemble`` and ``hash_codes`` have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recon.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from recon.forecast import Outlook
from recon.head_field import HeadField, HeadFieldShape, Moments
from recon.head_losses import alpha_loss, depth_losses, distortion
from recon.pixels import Pixels, PixelStream
from recon.radiance import pixel_rays
from recon.selection import front_camera
from recon.session import StoredSession
from recon.states import named, under
from studio.captures import Capture
from studio.code_range import measure_range
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.kernels.march import Composite, OccupancyGrid, Samples
from studio.kernels.screw import ease_window


@dataclass(frozen=True)
class HashEnsembleConfig:
    """How a hash ensemble is trained; names of NeRSemble's code, shares of all steps where it counts steps.

    Args:
        iterations: steps.
        train_num_rays_per_batch: pixels of a step, at most.
        samples: learned from in a step, about: as many pixels are taken as see so many.
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
    samples: int = 49_152
    timesteps_per_batch: int = 4
    render_step_size: float = 0.0025
    alpha_thre: float = 1e-3
    early_stop_eps: float = 5e-3
    cells: int = 64
    min_views: int = 2
    window_deform_begin: float = 0.0
    window_deform_end: float = 0.067
    window_hash_encodings_begin: float = 0.3
    window_hash_encodings_end: float = 0.6
    lr_main: float = 1e-2
    lr_deformation_field: float = 5e-3
    lr_embeddings: float = 2e-2
    lr_drops: int = 15
    gamma_main: float = 0.8
    gamma_deformation_field: float = 0.8
    use_masked_rgb_loss: bool = False
    lambda_alpha_loss: float = 1e-2
    lambda_empty_loss: float = 1e-2
    lambda_near_loss: float = 1e-4
    lambda_depth_loss: float = 1e-4
    lambda_dist_loss: float = 3e-3
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
            mlp_layer_width=32,
            skip_connection=0,
            hidden=32,
        )
    )
    split: str = "train"
    kernels: str = "auto"
    seed: int = 0
    check_every: int = 500
    checkpoint_every: int = 1000


_OCCUPANCY_EVERY, _OCCUPANCY_WARM = 16, 256  # steps; all cells are looked at while it is warm
_LOOKED_AT, _FORGOTTEN = 2, 0.88  # timesteps in each update, and what is left of what was seen before
_FIRST_RAYS = 512
_GLANCE = 0.3  # what finding out that a sample is hidden or empty costs against learning from it
_BETAS, _EPS = (0.9, 0.99), 1e-15


class HeadSession(StoredSession):
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
        self.camera = capture.cameras[front_camera(capture, track, part.cameras)]
        trained = replace(track, codes=self.codes, valid=torch.ones(len(self.timesteps), dtype=torch.bool))
        self.known = measure_range(trained)
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
            **self.emphasis(),
        )
        self.count = min(_FIRST_RAYS, config.train_num_rays_per_batch)  # of a step; more once there is a surface
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

    def emphasis(self) -> dict[str, Any]:
        """Which pixels are drawn more often than others on the person; see ``PixelStream``."""
        return {}

    @abstractmethod
    def place(self, capture: Capture, cameras: tuple[int, ...]) -> OccupancyGrid:
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
        """At random timesteps: the grid keeps the most that was seen for a while, so it becomes that of all."""
        timesteps = torch.randint(len(self.timesteps), (_LOOKED_AT,), generator=self.generator)
        for index, timestep in enumerate(timesteps):
            prepared = self.field.prepare(self.moments(timestep[None], step))
            self.field.occupancy.update(
                partial(self.field.opacity, prepared),
                self.generator,
                everywhere=step < _OCCUPANCY_WARM,
                decay=1.0 if index else _FORGOTTEN,
            )

    def _loss(self, step: int) -> Tensor:
        config = self.config
        pixels = self.stream.draw(step, self.count, config.timesteps_per_batch)
        origins, directions, z = self.rays(pixels)
        prepared = self.field.prepare(self.moments(pixels.timesteps, step))
        jitter = torch.rand(len(z), generator=self.generator)
        marched = self.field.march(origins, directions, jitter)
        samples = self.field.visible(origins, directions, pixels.moments, prepared, marched)
        work = max(len(samples.starts) + _GLANCE * len(marched.starts), 1.0)
        wish = round(self.count * config.samples / work)
        self.count = min(max(wish, self.count // 2, 1), 2 * self.count, config.train_num_rays_per_batch)
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

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        occupancy = self.field.occupancy
        tensors = {
            **named("now", {**self.parameters, **self.embeddings()}),
            **optimizer_tensors(self.optimizer),
            "generator": self.generator.get_state(),
            "values": occupancy.values,
            "occupied": occupancy.occupied,
        }
        return Checkpoint(tensors, {"done": self.done, "count": self.count})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""
        tensors, occupancy = checkpoint.tensors, self.field.occupancy
        learned = {**self.parameters, **self.embeddings()}
        with torch.no_grad():
            for name, value in under("now", tensors).items():
                learned[name].copy_(value)
        restore_optimizer(self.optimizer, tensors)
        occupancy.values, occupancy.occupied = tensors["values"], tensors["occupied"]
        self.generator.set_state(tensors["generator"])
        self.done, self.count = int(checkpoint.numbers["done"]), int(checkpoint.numbers["count"])

    def learned_field(self) -> HeadField:
        """The field as learned, without gradients; what belongs to cameras is left out."""
        kept = {name: value.detach() for name, value in self.parameters.items() if name != "camera_colors"}
        if "appearance" in kept:  # of no camera
            kept["appearance"] = kept["appearance"].mean(0, keepdim=True)
        return replace(self.field, parameters=kept)


def _ramp(share: float, begin: float, end: float) -> float:
    return min(max((share - begin) / max(end - begin, 1e-9), 0.0), 1.0)
