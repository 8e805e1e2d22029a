"""A static scene as a radiance field on a hash grid (Müller et al. 2022), for calibrated photos of one moment.

It is seen through the same protocol as a drivable avatar; its code space has no channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from recon.avatars.static_splats import STATIC
from recon.field_files import Groups, load_field, save_field
from recon.field_render import render_rays, shown_pixels
from recon.radiance import FieldShape, RadianceField
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange, measure_range
from studio.codes import Codes, CodeTrack
from studio.folders import Manifest
from studio.kernels.march import OccupancyGrid

KIND = "hash_static"


@dataclass
class HashStatic:
    """A radiance field and the camera it is seen from.

    Args:
        field: the field; without gradients when it was loaded.
        camera: the default view (C = 1).
    """

    field: RadianceField
    camera: Camera

    space = STATIC
    background: Tensor | None = None

    @property
    def codes(self) -> Codes:
        return Codes.neutral(STATIC)

    @property
    def code_range(self) -> CodeRange:
        return measure_range(CodeTrack(Codes.neutral(STATIC, (1,)), 1.0, torch.ones(1, dtype=torch.bool)))

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """Render from all cameras, without gradients; memory does not grow with the size of the images.

        Raises:
            StudioError: codes of another space.
        """
        STATIC.require(codes.space, "this state")
        return render_rays(camera, self._rays)

    def _rays(self, origins: Tensor, directions: Tensor, z: Tensor) -> Tensor:
        """[R, 5] premultiplied rgb, alpha and camera z of rays."""
        field = self.field
        samples, _ = field.visible(origins, directions, field.march(origins, directions))
        return shown_pixels(field.shade(origins, directions, samples), z, field.sky(directions))

    def save(self, folder: Path, manifest: Manifest) -> None:
        """Write an avatar folder; ``manifest`` brings provenance. Raises StudioError if it exists and is not empty."""
        save_field(folder, manifest, KIND, self, self.field, {}, {})


def load(folder: Path, kernels: str) -> HashStatic:
    """Open an avatar folder of this kind. Raises StudioError when it is missing or damaged."""

    def make(manifest: Manifest, groups: Groups, occupancy: OccupancyGrid, camera: Camera) -> HashStatic:
        shape, step = FieldShape(**manifest.body["shape"]), float(manifest.body["step"])
        return HashStatic(RadianceField(groups["field"], shape, occupancy, step, kernels), camera)

    return load_field(folder, make)
