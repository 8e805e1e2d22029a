"""The radiance field of a moving head: deformation field, hash ensemble, small networks (Kirschstein et al. 2023).

A point is moved by a screw motion into one space for all moments, where blended hash tables say what is there. How the
tables are blended and what the deformation is told depends on the moment; where these numbers come from is the model's
business: a code for each timestep, or a network that reads the driving codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recon.radiance import LATENT, densities
from studio.kernels.hash_ensemble import blend_tables
from studio.kernels.hash_grid import HashGridLayout, hash_encode
from studio.kernels.march import Composite, OccupancyGrid, Samples, composite, keep_visible, march_rays
from studio.kernels.mlp import MlpLayout, mlp
from studio.kernels.screw import ease_window, encode_frequencies, move_points
from studio.kernels.spherical_harmonics import sh_basis
from studio.kernels.unwarp import Warps, unwarp_points

_SH_DEGREE, _SH_BASES = 3, 16
_FIRST_STEPS = 10.0  # that let 1/e of the light through at first: inside of the hull nearly all is somebody
_GAIN = 10.0  # of the density's logarithm, so that surfaces form within hundreds of steps
_STILL = 1e-5  # last layer of the deformation at first: nothing moves
_FEATURES = 2


@dataclass(frozen=True)
class HeadFieldShape:
    """Sizes of the field; names and defaults of NeRSemble's code.

    Args:
        n_hash_encodings: H, tables that are blended.
        n_levels: levels of each.
        log2_hashmap_size: at most two to this power rows in each level.
        base_resolution: cells a side of the coarsest.
        per_level_scale: the next level's cells over this one's.
        latent_dim_time_deform: numbers that tell the deformation of the moment; 0 for no deformation.
        n_freq_pos: K, frequencies that it sees a point in.
        mlp_num_layers: layers of its network.
        mlp_layer_width: their width.
        skip_connection: the layer that sees the input again; 0 for none.
        hidden: width of the networks of density and colour.
        appearance: numbers that tell the colour of the camera; 0 for none.
    """

    n_hash_encodings: int = 32
    n_levels: int = 16
    log2_hashmap_size: int = 19
    base_resolution: int = 16
    per_level_scale: float = 1.4472692012786865
    latent_dim_time_deform: int = 128
    n_freq_pos: int = 7
    mlp_num_layers: int = 6
    mlp_layer_width: int = 128
    skip_connection: int = 4
    hidden: int = 64
    appearance: int = 0

    @cached_property
    def grid(self) -> HashGridLayout:
        sizes = (self.n_levels, _FEATURES, self.log2_hashmap_size, self.base_resolution, self.per_level_scale)
        return HashGridLayout(*sizes)

    @cached_property
    def density(self) -> MlpLayout:
        return MlpLayout(self.grid.width, LATENT, self.hidden, hidden_layers=1)

    @cached_property
    def color(self) -> MlpLayout:
        return MlpLayout(LATENT + _SH_BASES + self.appearance, 3, self.hidden, hidden_layers=2)

    @cached_property
    def deformation(self) -> dict[str, MlpLayout]:
        """The deformation's network, in two parts where the input comes in again."""
        if not self.latent_dim_time_deform:
            return {}
        seen = -(-(3 + 6 * self.n_freq_pos + self.latent_dim_time_deform) // 16) * 16
        width, layers, skip = self.mlp_layer_width, self.mlp_num_layers, self.skip_connection
        if not 0 < skip < layers:
            return {"deform": MlpLayout(seen, 6, width, layers, bias=True)}
        first = MlpLayout(seen, width, width, skip - 1, bias=True)
        return {"deform_stem": first, "deform": MlpLayout(width + seen, 6, width, layers - skip, bias=True)}

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters by name: tables [rows, H, 2], density, color and those of the deformation."""
        rows = self.grid.offsets[-1]
        tables = torch.empty(rows, self.n_hash_encodings, _FEATURES).uniform_(-1e-4, 1e-4, generator=generator)
        layouts = {"density": self.density, "color": self.color, **self.deformation}
        networks = {name: layout.initial(generator) for name, layout in layouts.items()}
        if "deform" in networks:
            last = self.deformation["deform"].unpack(networks["deform"])[0][-1]
            last.uniform_(-_STILL, _STILL, generator=generator)
        return {"tables": tables, **networks}


@dataclass(frozen=True)
class Moments:
    """What C moments look like to the field.

    Args:
        weights: [C, H] of the tables.
        codes: [C, D] what the deformation is told, or None where there is none.
        window: [K] how much of each frequency it sees.
        warps: what the head model does to the resting head, in boxes, or None.
    """

    weights: Tensor
    codes: Tensor | None
    window: Tensor
    warps: Warps | None = None


@dataclass(frozen=True)
class Prepared:
    """Moments, and their blended tables [P] each."""

    moments: Moments
    tables: list[Tensor]


def faded_weights(
    codes: Tensor,  # [C, H]
    reach: float,  # 1: the first table only; H: all
) -> Tensor:
    """[C, H] weights while tables are let in one after the other.

    As long as only the first is there its weight is 1; while the second comes in this becomes the first code.
    """
    first = torch.zeros_like(codes)
    first[:, 0] = 1.0
    own = min(max(reach - 1.0, 0.0), 1.0)
    return (own * codes + (1.0 - own) * first) * ease_window(reach, codes.shape[1]).to(codes)


@dataclass(frozen=True)
class HeadField:
    """A field's parameters and where it is.

    Args:
        parameters: see ``HeadFieldShape.initial``.
        shape: sizes.
        occupancy: its box, metres, and what is worth looking into at any moment.
        step: length of a step of the marching, metres.
        least_alpha: steps that are less opaque are not looked at closely [alpha_thre].
        least_reached: nor what less of the light reaches [early_stop_eps].
        kernels: "auto", "cuda" or "cpu".
    """

    parameters: Mapping[str, Tensor]
    shape: HeadFieldShape
    occupancy: OccupancyGrid
    step: float
    least_alpha: float = 1e-3
    least_reached: float = 1e-3
    kernels: str = "auto"

    @property
    def size(self) -> float:
        """Longest side of the box, metres."""
        return float((self.occupancy.upper - self.occupancy.lower).max())

    def prepare(self, moments: Moments) -> Prepared:
        """Blend the tables of each moment."""
        tables = self.parameters["tables"]
        if tables.shape[1] == 1:
            return Prepared(moments, [tables[:, 0].reshape(-1) * weight for weight in moments.weights[:, 0]])
        return Prepared(moments, [blend_tables(tables, weights) for weights in moments.weights])

    def latent(
        self,
        points: Tensor,  # [S, 3] metres, sorted by moment
        index: Tensor,  # [S] int64: which moment
        prepared: Prepared,
    ) -> tuple[Tensor, Tensor]:
        """Densities [S] per metre, and what the colour network wants to know [S, 16]."""
        box, moments = self.occupancy, prepared.moments
        inside = (points - box.lower) / (box.upper - box.lower)
        there: Tensor | None = None
        if moments.warps is not None:
            inside, there = unwarp_points(inside, index, moments.warps, kernels=self.kernels)
        if moments.codes is not None:
            inside = self._deformed(inside, index, moments)
        ends = torch.searchsorted(index, torch.arange(len(prepared.tables), device=index.device), right=True)
        parts = inside.tensor_split(ends[:-1].cpu())
        grid = self.shape.grid
        encoded = [
            hash_encode(part, table, grid, kernels=self.kernels)
            for part, table in zip(parts, prepared.tables)
            if len(part)
        ]
        empty = points.new_zeros(0, grid.width)
        features = encoded[0] if len(encoded) == 1 else torch.cat([empty, *encoded])
        latent = mlp(features, self.parameters["density"], self.shape.density, kernels=self.kernels)
        found = densities(latent, _FIRST_STEPS * self.step, _GAIN)
        return found if there is None else found * there, latent

    def _deformed(self, inside: Tensor, index: Tensor, moments: Moments) -> Tensor:
        """Points of the box, as shares of its sides, in the space of all moments."""
        assert moments.codes is not None
        stretch = 2.0 * (self.occupancy.upper - self.occupancy.lower) / self.size
        centered = (inside - 0.5) * stretch  # a cube's shape, so that turns are turns
        layouts, kernels = self.shape.deformation, self.kernels
        width = next(iter(layouts.values())).inputs
        seen = encode_frequencies(centered, moments.codes, index, moments.window, width, kernels=kernels)
        hidden = seen
        if "deform_stem" in layouts:
            stem = mlp(seen, self.parameters["deform_stem"], layouts["deform_stem"], kernels=kernels)
            hidden = torch.cat((stem.relu(), seen), dim=1)
        screws = mlp(hidden, self.parameters["deform"], layouts["deform"], kernels=kernels)
        return move_points(centered, screws, kernels=kernels) / stretch + 0.5

    def opacity(self, prepared: Prepared, points: Tensor) -> Tensor:
        """[S] α of one step at the first moment."""
        index = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        return 1.0 - torch.exp(-self.latent(points, index, prepared)[0] * self.step)

    def march(self, origins: Tensor, directions: Tensor, jitter: Tensor | None = None) -> Samples:
        """Steps along rays [R] through what is not known to be empty."""
        return march_rays(origins, directions, self.occupancy, self.step, jitter=jitter, kernels=self.kernels)

    @torch.no_grad()
    def visible(
        self, origins: Tensor, directions: Tensor, index: Tensor, prepared: Prepared, samples: Samples
    ) -> tuple[Samples, int]:
        """Those of the samples that are worth shading, not nearly empty nor hidden; and how many were looked at."""
        fixed = Prepared(prepared.moments, [table.detach() for table in prepared.tables])

        def look(which: Tensor) -> Tensor:
            return self.latent(samples.points(origins, directions, which), index[samples.rays[which]], fixed)[0]

        kept = keep_visible(samples, look, least_alpha=self.least_alpha, least_reached=self.least_reached)
        return kept.samples, kept.looked

    def shade(
        self,
        origins: Tensor,  # [R, 3] metres
        directions: Tensor,  # [R, 3] unit
        index: Tensor,  # [R] int64, sorted: the moment of each ray
        prepared: Prepared,
        samples: Samples,
        appearance: Tensor | None = None,  # [R, A] of the rays' cameras
    ) -> Composite:
        """What the rays see at the samples."""
        found, latent = self.latent(samples.points(origins, directions), index[samples.rays], prepared)
        seen = sh_basis(directions, _SH_DEGREE)
        seen = seen if appearance is None else torch.cat((seen, appearance), dim=1)
        told = torch.cat((latent, seen[samples.rays]), dim=1)
        raw = mlp(told, self.parameters["color"], self.shape.color, kernels=self.kernels)
        return composite(found, raw.sigmoid(), samples, kernels=self.kernels)


def finest_cell(shape: HeadFieldShape, side: float) -> float:
    """Length of the finest level's cells in a box of this side."""
    return side / (shape.base_resolution * shape.per_level_scale ** (shape.n_levels - 1))


def growth_up_to(finest: float, levels: int, base: int) -> float:
    """The ``per_level_scale`` whose finest level has ``finest`` cells a side."""
    return math.exp(math.log(finest / base) / max(levels - 1, 1))
