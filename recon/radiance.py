"""A radiance field: hash grid, a small network for density, another for colour (Müller et al. 2022, section 5.4).

A scene without mattes goes on outside of its box (``recon.unbounded``); behind all is a colour for each direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recon.unbounded import Shells
from studio.cameras import Camera
from studio.kernels.hash_grid import HashGridLayout, hash_encode
from studio.kernels.march import Composite, OccupancyGrid, Samples, composite, keep_visible, march_rays, split_samples
from studio.kernels.mlp import MlpLayout, mlp
from studio.kernels.spherical_harmonics import sh_basis
from studio.rotations import rigid_inverse

_SH_DEGREE, _SH_BASES = 3, 16
LATENT = 16  # numbers that a density network hands to the colour network; the first tells the density
_LARGEST = 12.0  # of its logarithm
_FIRST_SHARE = 0.67  # of the box's diagonal, which lets 1/e of the light through at first: thin air, not fog
_GAIN = 10.0  # of the logarithm of the density, so that surfaces form within hundreds of steps
_DENSE, _PIECES = 0.1, 4  # optical depth of a step from which it is cut into pieces
_LEAST_ALPHA, _LEAST_REACHED = 1e-3, 1e-3  # of a step, and of the light, for it to be shaded


@dataclass(frozen=True)
class FieldShape:
    """Sizes of a radiance field.

    Args:
        levels: levels of the hash grid, of two features each.
        log2_size: at most 2**log2_size rows in each.
        base_resolution: cells a side of the coarsest level.
        finest: cells a side of the finest.
        hidden: width of the networks.
        beyond: samples of each ray outside of the box, where a scene has no mattes.
    """

    levels: int = 11
    log2_size: int = 17
    base_resolution: int = 16
    finest: int = 2048
    hidden: int = 32
    beyond: int = 24

    @cached_property
    def grid(self) -> HashGridLayout:
        return HashGridLayout.up_to(
            self.finest, levels=self.levels, base_resolution=self.base_resolution, log2_size=self.log2_size
        )

    @cached_property
    def density(self) -> MlpLayout:
        return MlpLayout(self.grid.width, LATENT, self.hidden, hidden_layers=1)

    @cached_property
    def color(self) -> MlpLayout:
        return MlpLayout(LATENT + _SH_BASES, 3, self.hidden, hidden_layers=2)

    @cached_property
    def sky(self) -> MlpLayout:
        return MlpLayout(_SH_BASES, 3, 32, hidden_layers=1)

    def initial(self, generator: torch.Generator, sky: bool) -> dict[str, Tensor]:
        """Parameters by name: table, density, color and, with ``sky``, sky."""
        layouts = {"density": self.density, "color": self.color, **({"sky": self.sky} if sky else {})}
        networks = {name: layout.initial(generator) for name, layout in layouts.items()}
        return {"table": self.grid.initial_table(generator), **networks}


@dataclass(frozen=True)
class RadianceField:
    """A field's parameters and where it is.

    Args:
        parameters: see ``FieldShape.initial``.
        shape: sizes.
        occupancy: its box, world, and what is worth looking into.
        step: length of a step of the marching, world.
        kernels: "auto", "cuda" or "cpu".
    """

    parameters: Mapping[str, Tensor]
    shape: FieldShape
    occupancy: OccupancyGrid
    step: float
    kernels: str = "auto"

    @property
    def shells(self) -> Shells | None:
        """What goes on outside of the box, if anything does."""
        box = self.occupancy
        return Shells(box.lower, box.upper, self.shape.beyond) if "sky" in self.parameters else None

    def latent(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Densities [S] and what the colour network wants to know [S, 16], of points [S, 3] in the world."""
        lower, upper, shells = self.occupancy.lower, self.occupancy.upper, self.shells
        thinner: Tensor | float = 1.0
        if shells is None:
            inside = (points - lower) / (upper - lower)
        else:
            inside, thinner = shells.shrink(points)
        features = hash_encode(inside, self.parameters["table"], self.shape.grid, kernels=self.kernels)
        latent = mlp(features, self.parameters["density"], self.shape.density, kernels=self.kernels)
        return densities(latent, _FIRST_SHARE * float((upper - lower).norm()), _GAIN) * thinner, latent

    def opacity(self, points: Tensor) -> Tensor:
        """[S] α of one step."""
        return 1.0 - torch.exp(-self.latent(points)[0] * self.step)

    def march(
        self,
        origins: Tensor,  # [R, 3] world
        directions: Tensor,  # [R, 3] unit
        jitter: Tensor | None = None,  # [R]
    ) -> Samples:
        """Where to look along rays."""
        inside = march_rays(origins, directions, self.occupancy, self.step, jitter=jitter, kernels=self.kernels)
        shells = self.shells
        return inside if shells is None else shells.extend(inside, origins, directions, jitter)

    @torch.no_grad()
    def visible(self, origins: Tensor, directions: Tensor, samples: Samples) -> tuple[Samples, int]:
        """Those of the samples that are worth shading, not nearly empty nor hidden, finer where it is dense.

        Also how many were looked at to find out.
        """

        def look(which: Tensor) -> Tensor:
            return self.latent(samples.points(origins, directions, which))[0]

        kept = keep_visible(samples, look, least_alpha=_LEAST_ALPHA, least_reached=_LEAST_REACHED)
        return split_samples(kept.samples, kept.depths > _DENSE, _PIECES), kept.looked

    def shade(self, origins: Tensor, directions: Tensor, samples: Samples) -> Composite:
        """What the rays see at the samples, without the sky."""
        found, latent = self.latent(samples.points(origins, directions))
        toward = sh_basis(directions, _SH_DEGREE)[samples.rays]
        raw = mlp(torch.cat((latent, toward), dim=1), self.parameters["color"], self.shape.color, kernels=self.kernels)
        return composite(found, raw.sigmoid(), samples, kernels=self.kernels)

    def sky(self, directions: Tensor) -> Tensor | None:
        """[R, 3] colours of what is behind everything, or None."""
        if "sky" not in self.parameters:
            return None
        toward = sh_basis(directions, _SH_DEGREE)
        return mlp(toward, self.parameters["sky"], self.shape.sky, kernels=self.kernels).sigmoid()


def densities(
    latent: Tensor,  # [S, LATENT]
    length: float,  # that lets 1/e of the light through at first, so that densities do not depend on the world's unit
    gain: float = 1.0,  # of the number that the network gives: the larger, the sooner surfaces form
) -> Tensor:
    """[S] densities per unit of length."""
    return (gain * latent[:, 0]).clamp(max=_LARGEST).exp() / length


def pixel_rays(
    camera: Camera,  # C views
    pixels: Tensor,  # [N, 3] int64: view, row, column
) -> tuple[Tensor, Tensor, Tensor]:
    """Origins and unit directions [N, 3] in the world through the centres of pixels, and camera z per distance [N]."""
    view, row, column = pixels.unbind(-1)
    centers = torch.stack((column + 0.5, row + 0.5, torch.ones_like(row)), dim=-1).to(camera.Ks)
    in_camera = (torch.linalg.inv(camera.Ks)[view] @ centers[..., None])[..., 0]
    length = in_camera.norm(dim=-1)
    to_world = rigid_inverse(camera.viewmats)[view]
    directions = (to_world[:, :3, :3] @ (in_camera / length[:, None])[..., None])[..., 0]
    return to_world[:, :3, 3], directions, 1.0 / length
