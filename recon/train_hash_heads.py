"""Training of radiance fields of moving heads: what ``hash_ensemble`` and ``hash_codes`` have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recon.field_session import FieldSession
from recon.hash_config import HashEnsembleConfig
from recon.head_field import HeadField, Moments, Prepared
from recon.head_losses import alpha_loss, depth_losses, distortion
from recon.hull import Hull
from recon.pixels import Pixels, PixelStream
from recon.radiance import pixel_rays
from recon.selection import front_camera
from studio.captures import Capture
from studio.code_range import measure_range
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.kernels.march import Composite, OccupancyGrid, Samples
from studio.kernels.screw import ease_window

_LOOKED_AT, _FORGOTTEN = 2, 0.88  # timesteps in each update, and what is left of what was seen before
_DOUBTS = 512  # points that are pulled towards emptiness in a step
_DROPS, _KEPT = 15, 0.8  # how often rates drop, and what is left of most of them each time
_BETAS, _EPS = (0.9, 0.99), 1e-15


class HeadSession(FieldSession):
    """What training the field of a moving head holds between two steps; see ``recon.loop.Session``."""

    def __init__(self, capture: Capture, track: CodeTrack, config: HashEnsembleConfig) -> None:
        super().__init__(config.iterations, config.samples, config.train_num_rays_per_batch, config.seed)
        part, self.config = capture.split(config.split), config
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
        raw = config.field.initial(self.generator)
        cameras, shown = len(part.cameras), config.field.appearance
        raw |= {"appearance": torch.zeros(cameras, shown)} if shown else {}
        raw |= {"camera_colors": torch.zeros(cameras, 4, 3)} if config.camera_colors else {}
        self.parameters = {name: torch.nn.Parameter(value) for name, value in raw.items()}
        self.hull = self.place(capture, part.cameras)
        self.field = HeadField(
            self.parameters,
            config.field,
            self.hull.grid,
            config.render_step_size,
            config.alpha_thre,
            config.early_stop_eps,
            config.kernels,
        )

    def emphasis(self) -> dict[str, Any]:
        """Which pixels are drawn more often than others on the person; see ``PixelStream``."""
        return {}

    @abstractmethod
    def place(self, capture: Capture, cameras: tuple[int, ...]) -> Hull:
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

    @property
    def occupancy(self) -> OccupancyGrid:
        return self.field.occupancy

    def learned(self) -> dict[str, torch.nn.Parameter]:
        return {**self.parameters, **self.embeddings()}

    def rays(self, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """Origins and directions [R, 3] in the field's frame, and camera z per distance [R]."""
        chosen = torch.cat((pixels.cameras[:, None], pixels.places), dim=1)
        return pixel_rays(self.rig, chosen)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Adam, in groups of NeRSemble's rates."""
        config, deformation = self.config, self.config.field.deformation
        fields = [value for name, value in self.parameters.items() if name not in deformation]
        groups: list[dict[str, Any]] = [
            {"params": fields, "rate": config.lr_main, "gamma": _KEPT},
            {"params": list(self.embeddings().values()), "rate": config.lr_embeddings, "gamma": _KEPT},
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
            group["lr"] = group["rate"] * group["gamma"] ** int(share * _DROPS)
        self.look_for_what_is_empty(step, partial(self._opacities, step), _FORGOTTEN)
        loss = self._loss(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.share_gradients()
        self.optimizer.step()
        self.done = step + 1
        return float(loss.detach())

    def _opacities(self, step: int) -> list[Callable[[Tensor], Tensor]]:
        """At random timesteps: the grid keeps the most that was seen for a while, so it becomes that of all."""
        timesteps = torch.randint(len(self.timesteps), (_LOOKED_AT,), generator=self.generator)
        return [partial(self.field.opacity, self.field.prepare(self.moments(t[None], step))) for t in timesteps]

    def _loss(self, step: int) -> Tensor:
        config = self.config
        number = step * self.processes.size + self.processes.rank
        pixels = self.stream.draw(number, self.count, config.timesteps_per_batch)
        origins, directions, z = self.rays(pixels)
        prepared = self.field.prepare(self.moments(pixels.timesteps, step))
        jitter = torch.rand(len(z), generator=self.generator)
        marched = self.field.march(origins, directions, jitter)
        samples, looked = self.field.visible(origins, directions, pixels.moments, prepared, marched)
        self.adapt(len(samples.starts), looked)
        shown = self.parameters["appearance"][pixels.cameras] if "appearance" in self.parameters else None
        seen = self.field.shade(origins, directions, pixels.moments, prepared, samples, shown)
        loss = self._color_loss(seen, pixels) + config.lambda_alpha_loss * alpha_loss(seen, pixels.alpha)
        if config.lambda_dist_loss:
            loss = loss + config.lambda_dist_loss * distortion(seen, samples)
        if config.lambda_doubt_loss and len(self.hull.doubtful):
            loss = loss + config.lambda_doubt_loss * self._doubt_loss(prepared)
        return loss + self._depth_loss(seen, samples, pixels, z)

    def _doubt_loss(self, prepared: Prepared) -> Tensor:
        """How opaque it is, at the first of the moments, where few cameras see what they show."""
        grid, doubtful = self.occupancy, self.hull.doubtful
        cells = doubtful[torch.randint(len(doubtful), (_DOUBTS,), generator=self.generator)]
        index = torch.stack(torch.unravel_index(cells, grid.values.shape), dim=1)
        shares = (index + torch.rand(index.shape, generator=self.generator)) / torch.tensor(grid.values.shape)
        return self.field.opacity(prepared, grid.lower + shares * (grid.upper - grid.lower)).mean()

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
        return ease_window(_ramp(step / self.config.iterations, 0.0, self.config.window_deform_end) * bands, bands)

    def learned_field(self) -> HeadField:
        """The field as learned, without gradients; what belongs to cameras is left out."""
        kept = {name: value.detach() for name, value in self.parameters.items() if name != "camera_colors"}
        if "appearance" in kept:  # of no camera
            kept["appearance"] = kept["appearance"].mean(0, keepdim=True)
        return replace(self.field, parameters=kept)


def _ramp(share: float, begin: float, end: float) -> float:
    return min(max((share - begin) / max(end - begin, 1e-9), 0.0), 1.0)
