"""Volume rendering of a density field: an occupancy grid, marching through what it says is not empty, compositing.

The conventions are nerfacc's, which runs on CUDA; the CPU has kernels of its own, and both are tested against the
references at the end of this module.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import march_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.tensors import flat

_TINY = 1e-10
_FIRST_LOOK = 24  # samples of a ray that are looked at first; twice as many each time after


@dataclass
class OccupancyGrid:
    """Which cells of a box are worth looking into (Müller et al. 2022, appendix C).

    Args:
        lower: [3] the box's corner with the smallest coordinates, world.
        upper: [3] the opposite corner.
        values: [X, Y, Z] the largest α a step in the cell has had, decayed.
        occupied: [X, Y, Z] bool.
        possible: [X, Y, Z] bool: cells that may ever be occupied, or None for all.
    """

    lower: Tensor
    upper: Tensor
    values: Tensor
    occupied: Tensor
    possible: Tensor | None = None

    @classmethod
    def full(cls, lower: Tensor, upper: Tensor, cells: int) -> OccupancyGrid:
        """cells³ cells, all occupied: nothing is known yet. Raises StudioError for an empty box."""
        if not bool((upper > lower).all()) or cells < 1:
            raise StudioError(
                "occupancy grid",
                got=f"{lower.tolist()} to {upper.tolist()}, {cells} cells",
                expected="a box with cells",
            )
        shape = (cells, cells, cells)
        values = torch.zeros(shape, device=lower.device)
        return cls(lower, upper, values, torch.ones(shape, dtype=torch.bool, device=lower.device))

    def update(
        self,
        opacity: Callable[[Tensor], Tensor],  # points [N, 3], world, to α of one step [N]
        generator: torch.Generator,
        *,
        everywhere: bool,
        decay: float = 0.95,
        threshold: float = 0.01,
    ) -> None:
        """Look at a random point of some cells: value = max(decay · value, α); occupied above min(threshold, mean / 2).

        Half of the mean, so that fog that is still the same everywhere stays: nerfacc's mean itself would give up half
        of the cells by chance, which are then never looked into.

        ``everywhere`` takes all cells, for the first updates; otherwise a quarter of them at random and as many
        of the occupied ones.
        """
        cells = self._all_cells() if everywhere else self._some_cells(generator)
        shape = torch.tensor(self.values.shape, device=cells.device)
        index = torch.stack(torch.unravel_index(cells, self.values.shape), dim=1)
        place = (index + torch.rand(index.shape, generator=generator).to(index.device)) / shape
        with torch.no_grad():
            alpha = opacity(self.lower + place * (self.upper - self.lower))
        values = self.values.reshape(-1)
        values[cells] = torch.maximum(values[cells] * decay, alpha.to(values))
        known = self.values if self.possible is None else self.values[self.possible]
        self.occupied = self.values > (0.5 * known.mean()).clamp(max=threshold)

    def _all_cells(self) -> Tensor:
        if self.possible is not None:
            return self.possible.reshape(-1).nonzero()[:, 0]
        return torch.arange(self.values.numel(), device=self.values.device)

    def _some_cells(self, generator: torch.Generator) -> Tensor:
        cells = self._all_cells()
        quarter = max(len(cells) // 4, 1)
        chosen = cells[torch.randint(len(cells), (quarter,), generator=generator).to(cells.device)]
        occupied = self.occupied.reshape(-1).nonzero()[:, 0]
        if len(occupied) > quarter:
            occupied = occupied[torch.randint(len(occupied), (quarter,), generator=generator).to(occupied.device)]
        return torch.cat((chosen, occupied)).unique()


@dataclass(frozen=True)
class Samples:
    """Intervals along R rays, S in all, sorted by ray and then by distance.

    Args:
        starts: [S] distances along the ray.
        ends: [S].
        rays: [S] int64, the ray of each.
        offsets: [R + 1] int64: ray r has samples offsets[r] to offsets[r + 1].
    """

    starts: Tensor
    ends: Tensor
    rays: Tensor
    offsets: Tensor

    @property
    def middles(self) -> Tensor:
        """[S] distance of the middle of each interval."""
        return 0.5 * (self.starts + self.ends)

    def points(self, origins: Tensor, directions: Tensor, which: Tensor | None = None) -> Tensor:
        """[K, 3] the middles in the world of all samples or of some (int64 [K]).

        Origins and directions [R, 3] are those that were marched along.
        """
        if which is None:
            return torch.addcmul(origins[self.rays], directions[self.rays], self.middles[:, None])
        rays, middles = self.rays[which], 0.5 * (self.starts[which] + self.ends[which])
        return torch.addcmul(origins[rays], directions[rays], middles[:, None])


@dataclass(frozen=True)
class Kept:
    """What is left of samples.

    Args:
        samples: those that are worth more than a look.
        depths: [S] their optical depths, -log(1 - α).
        looked: how many were looked at to find out.
    """

    samples: Samples
    depths: Tensor
    looked: int


@dataclass(frozen=True)
class Composite:
    """What R rays see.

    Args:
        rgb: [R, 3] premultiplied by alpha.
        alpha: [R].
        depth: [R] mean distance along the ray, Σ w t / Σ w; 0 where nothing is.
        weights: [S] of the samples; they sum to alpha.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    weights: Tensor


def march_rays(
    origins: Tensor,  # [R, 3] world
    directions: Tensor,  # [R, 3] unit
    grid: OccupancyGrid,
    step: float,
    *,
    near: float = 0.0,
    far: float = 1e10,
    jitter: Tensor | None = None,  # [R] 0..1
    kernels: str = "auto",
) -> Samples:
    """Intervals of length ``step`` whose middles are in occupied cells.

    A ray is cut at near + (k + jitter) · step for k = 0, 1, …, so that a random jitter spreads the samples of many rays
    evenly (stratified sampling). Without gradients.

    Raises:
        StudioError: shapes do not fit, the step is not positive, or ``kernels`` is not available.
    """
    if origins.ndim != 2 or origins.shape[1] != 3 or directions.shape != origins.shape or not step > 0:
        got = f"{tuple(origins.shape)}, {tuple(directions.shape)}, step {step}"
        raise StudioError("rays", got=got, expected="origins and directions [R, 3] and a positive step")
    jitter = origins.new_zeros(len(origins)) if jitter is None else jitter
    origins, directions, jitter = origins.detach(), directions.detach(), jitter.detach()
    if choose_kernels(kernels, origins.device) == "cuda":
        from studio.kernels.march_cuda import march_nerfacc

        return march_nerfacc(origins, directions, grid, step, near, far, jitter)
    box = march_cpu.Box(
        occupied=flat(grid.occupied),
        cells=np.array(grid.occupied.shape, np.int64),
        lower=grid.lower.double().numpy(),
        upper=grid.upper.double().numpy(),
        step=float(step),
        near=float(near),
        far=float(far),
    )
    offsets, numbers = march_cpu.march(flat(origins.float()), flat(directions.float()), flat(jitter.float()), box)
    counts = torch.from_numpy(np.diff(offsets))
    rays = torch.repeat_interleave(torch.arange(len(origins)), counts)
    begin = near + (torch.from_numpy(numbers).double() + jitter.double()[rays]) * step
    return Samples(begin.float(), (begin + step).float(), rays, torch.from_numpy(offsets))


@torch.no_grad()
def keep_visible(
    samples: Samples,
    look: Callable[[Tensor], Tensor],  # which samples [K] int64, ascending, to their densities [K] ≥ 0
    *,
    least_alpha: float,
    least_reached: float,
) -> Kept:
    """The samples with an α of at least ``least_alpha`` that at least this share of the light reaches; no gradients.

    Rays are followed from front to back, some samples at a time, so that what is hidden is hardly ever looked at.
    """
    lengths, ends = samples.ends - samples.starts, samples.offsets[1:]
    darkest = -math.log(least_reached) if least_reached > 0 else math.inf
    thinnest = -math.log1p(-least_alpha)
    kept = torch.zeros(len(lengths), dtype=torch.bool, device=lengths.device)
    found = torch.zeros_like(lengths)
    passed = lengths.new_zeros(len(ends))  # optical depth before the next sample
    first, count = samples.offsets[:-1].clone(), _FIRST_LOOK
    rays, looked = (first < ends).nonzero()[:, 0], 0
    while len(rays):
        place = first[rays, None] + torch.arange(count, device=rays.device)
        inside = place < ends[rays, None]
        which = place[inside]
        looked += len(which)
        depths = lengths.new_zeros(place.shape)
        depths[inside] = look(which) * lengths[which]
        after = passed[rays, None] + depths.cumsum(1)
        found[which] = depths[inside]
        kept[which] = ((after - depths <= darkest) & (depths >= thinnest))[inside]
        passed[rays] = after[:, -1]
        first[rays] += count
        rays = rays[(after[:, -1] <= darkest) & (first[rays] < ends[rays])]
        count *= 2
    offsets = torch.nn.functional.pad(kept.cumsum(0), (1, 0))[samples.offsets]
    return Kept(Samples(samples.starts[kept], samples.ends[kept], samples.rays[kept], offsets), found[kept], looked)


def split_samples(
    samples: Samples,
    dense: Tensor,  # [S] bool
    pieces: int,
) -> Samples:
    """The samples, the dense ones cut into so many equal pieces: detail where there is something to see."""
    counts = torch.where(dense, pieces, 1)
    ends = counts.cumsum(0)
    whole = torch.repeat_interleave(counts)
    number = torch.arange(len(whole), device=whole.device) - (ends - counts)[whole]
    length = ((samples.ends - samples.starts) / counts)[whole]
    starts = samples.starts[whole] + number * length
    offsets = torch.nn.functional.pad(ends, (1, 0))[samples.offsets]
    return Samples(starts, starts + length, samples.rays[whole], offsets)


def composite(
    densities: Tensor,  # [S] ≥ 0, per unit of length
    rgb: Tensor,  # [S, 3]
    samples: Samples,
    *,
    kernels: str = "auto",
) -> Composite:
    """Volume rendering: α = 1 - exp(-density · length), w = α · Π (1 - α of the samples before).

    Gradients flow from all four results, so also from a loss on the weights, to densities and rgb, and repeat bit by
    bit on the CPU.

    Raises:
        StudioError: shapes or dtypes do not fit, or ``kernels`` is not available.
    """
    if densities.shape != samples.starts.shape or rgb.shape != (*densities.shape, 3):
        raise StudioError(
            "samples do not fit together",
            got=f"densities {tuple(densities.shape)}, rgb {tuple(rgb.shape)}, {len(samples.starts)} samples",
            expected="densities [S] and rgb [S, 3]",
        )
    if densities.dtype != torch.float32 or rgb.dtype != torch.float32:
        raise StudioError("samples", got=f"{densities.dtype} and {rgb.dtype}", expected="float32")
    if choose_kernels(kernels, densities.device) == "cuda":
        from studio.kernels.march_cuda import composite_nerfacc

        return composite_nerfacc(densities, rgb, samples)
    color, alpha, distance, weights = _Render.apply(densities, rgb, samples)
    return Composite(color, alpha, mean_distance(distance, alpha), weights)


def distortion_loss(
    weights: Tensor,  # [S]
    samples: Samples,
) -> Tensor:
    """[R] Σᵢⱼ wᵢ wⱼ |tᵢ - tⱼ| + ⅓ Σ wᵢ² (length of i): small if what a ray sees is in one place (Barron et al. 2022).

    Samples are sorted, so that running sums suffice; they are taken in float64, over all rays at once.
    """
    middles, lengths = samples.middles.double(), (samples.ends - samples.starts).double()
    given = weights.double()
    before, before_far = (_sum_before(value, samples) for value in (given, given * middles))
    per_sample = 2.0 * given * (middles * before - before_far) + given.square() * lengths / 3.0
    return weights.new_zeros(len(samples.offsets) - 1).index_add(0, samples.rays, per_sample.to(weights.dtype))


def _sum_before(values: Tensor, samples: Samples) -> Tensor:
    """[S] sum of the values of the samples before, on the same ray."""
    total = values.cumsum(0) - values
    first = samples.offsets[:-1].clamp(max=max(len(values) - 1, 0))
    return total - total[first][samples.rays]


def mean_distance(distance: Tensor, alpha: Tensor) -> Tensor:
    """[R] Σ w t / Σ w; where nothing is seen, 0 without a gradient, which would be without bounds."""
    seen = alpha > _TINY
    return torch.where(seen, distance, 0.0) / torch.where(seen, alpha, 1.0)


class _Render(torch.autograd.Function):
    """CPU kernels as one differentiable operation: rgb, alpha, Σ w t, weights."""

    @staticmethod
    def forward(ctx: Any, densities: Tensor, rgb: Tensor, samples: Samples) -> tuple[Tensor, ...]:
        rays, count = len(samples.offsets) - 1, len(densities)
        rendered = march_cpu.Rendered(
            *(borrow(f"march_{name}", size) for name, size in zip(
                march_cpu.Rendered._fields, (3 * rays, rays, rays, count, count)
            ))
        )  # fmt: skip
        march_cpu.render(_volume(densities, rgb, samples), rendered)
        ctx.samples, ctx.rendered = samples, rendered
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(densities, rgb)
        color = torch.from_numpy(rendered.rgb).reshape(rays, 3)
        return color, *(torch.from_numpy(value) for value in rendered[1:4])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        densities, rgb = ctx.saved_tensors
        rays = len(ctx.samples.offsets) - 1
        empty = [(rays, 3), (rays,), (rays,), (0,)]
        cotangents = [torch.zeros(size) if value is None else value for value, size in zip(given, empty)]
        by_densities = torch.from_numpy(borrow("march_by_densities", tuple(densities.shape)))
        by_rgb = torch.from_numpy(borrow("march_by_rgb", tuple(rgb.shape)))
        march_cpu.render_backward(
            _volume(densities, rgb, ctx.samples),
            ctx.rendered,
            march_cpu.Cotangents(*(flat(value) for value in cotangents)),
            flat(by_densities),
            flat(by_rgb),
        )
        return by_densities, by_rgb, None


def _volume(densities: Tensor, rgb: Tensor, samples: Samples) -> march_cpu.Volume:
    parts = (samples.offsets, samples.starts, samples.ends, densities, rgb)
    return march_cpu.Volume(*(flat(part) for part in parts))


# ------------------------------------------------------------------------------------------------------- references


def march_reference(
    origins: Tensor,  # [R, 3]
    directions: Tensor,  # [R, 3]
    grid: OccupancyGrid,
    step: float,
    *,
    near: float = 0.0,
    far: float,
    jitter: Tensor | None = None,  # [R]
) -> Tensor:
    """[R, K] bool: which of the first (far - near) / step intervals are taken, by looking at every one in float64."""
    lower, upper = grid.lower.double(), grid.upper.double()
    shift = torch.zeros(len(origins)) if jitter is None else jitter
    middles = near + (torch.arange(math.ceil((far - near) / step)) + shift.double()[:, None] + 0.5) * step
    points = origins.double()[:, None] + directions.double()[:, None] * middles[..., None]
    cells = torch.tensor(grid.occupied.shape)
    index = ((points - lower) / (upper - lower) * cells).floor().long()
    inside = ((points >= lower) & (points < upper)).all(-1) & (middles < far)
    x, y, z = index.clamp(min=0).minimum(cells - 1).unbind(-1)
    return inside & grid.occupied[x, y, z]


def composite_reference(
    densities: Tensor,  # [S]
    rgb: Tensor,  # [S, 3]
    samples: Samples,
) -> Composite:
    """``composite`` ray by ray in plain torch, of any float type."""
    results, weights = [], []
    middles = samples.middles.to(densities)
    depths = densities * (samples.ends - samples.starts).to(densities)
    for begin, end in zip(samples.offsets[:-1].tolist(), samples.offsets[1:].tolist()):
        optical = depths[begin:end]
        reached = torch.exp(-(optical.cumsum(0) - optical))
        weight = reached * (1 - torch.exp(-optical))
        results.append(torch.cat((weight @ rgb[begin:end], torch.stack((weight.sum(), weight @ middles[begin:end])))))
        weights.append(weight)
    seen = torch.stack(results)
    return Composite(seen[:, :3], seen[:, 3], mean_distance(seen[:, 4], seen[:, 3]), torch.cat(weights))
