"""A static scene as a radiance field on a hash grid (Müller et al. 2022), for calibrated photos of one moment.

It is seen through the same protocol as a drivable avatar; its code space has no channels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recon.avatars.static_splats import STATIC
from recon.radiance import FieldShape, RadianceField, pixel_rays
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange, measure_range
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, read_manifest, write_folder
from studio.kernels.march import OccupancyGrid, Samples
from studio.media.images import to_uint8, write_image

KIND = "hash_static"
_RAYS = 16_384  # marched at a time
_SAMPLES = 2**18  # shaded at a time: about 300 bytes each
_WEIGHTS, _PREVIEW = "weights.safetensors", "preview.png"


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
        """Render from all cameras, without gradients; memory does not grow with the number of samples.

        Raises:
            StudioError: codes of another space.
        """
        STATIC.require(codes.space, "this state")
        size = (len(camera), camera.height, camera.width)
        pixels = torch.cartesian_prod(*(torch.arange(length) for length in size))
        with torch.no_grad():
            parts = [self._rays(*pixel_rays(camera, chunk)) for chunk in pixels.split(_RAYS)]
        seen = torch.cat(parts).reshape(*size, 5)
        return RenderOutput(seen[..., :3], seen[..., 3], lambda: seen[..., 4])

    def _rays(self, origins: Tensor, directions: Tensor, z: Tensor) -> Tensor:
        """[R, 5] premultiplied rgb, alpha and camera z of rays."""
        field, sky = self.field, self.field.sky(directions)
        samples = field.march(origins, directions)
        parts = []
        for first, last in _portions(samples.offsets):
            own = _some_rays(samples, first, last)
            own = field.visible(origins[first:last], directions[first:last], own)
            seen = field.shade(origins[first:last], directions[first:last], own)
            parts.append(torch.cat((seen.rgb, seen.alpha[:, None], (seen.depth * z[first:last])[:, None]), dim=1))
        result = torch.cat(parts)
        result[:, :4] = result[:, :4].clamp(0.0, 1.0)
        if sky is not None:
            result[:, :3] += (1.0 - result[:, 3:4]) * sky
            result[:, 3] = 1.0
        return result

    def save(self, folder: Path, manifest: Manifest) -> None:
        """Write an avatar folder; ``manifest`` brings provenance. Raises StudioError if it exists and is not empty."""
        occupancy = self.field.occupancy
        tensors = {f"field/{name}": value.detach().contiguous() for name, value in self.field.parameters.items()}
        tensors |= {"box": torch.stack((occupancy.lower, occupancy.upper)), "occupied": occupancy.occupied}
        tensors |= {"camera/viewmats": self.camera.viewmats, "camera/Ks": self.camera.Ks}
        shown = {"width": self.camera.width, "height": self.camera.height, "ids": list(self.camera.ids)}
        body = {**manifest.body, "kind": KIND, "shape": asdict(self.field.shape), "step": self.field.step}
        manifest = replace(
            manifest, kind="avatar", code_space=STATIC.name, synthetic=True, body={**body, "camera": shown}
        )
        preview = self.render(self.camera, self.codes).rgb[0].numpy()
        with write_folder(folder, manifest) as temporary:
            save_file(tensors, temporary / _WEIGHTS)
            write_image(temporary / _PREVIEW, to_uint8(preview))


def load(folder: Path, kernels: str) -> HashStatic:
    """Open an avatar folder of this kind. Raises StudioError when it is missing or damaged."""
    body = read_manifest(folder, kind="avatar").body
    try:
        tensors = load_file(folder / _WEIGHTS)
        shown, (lower, upper), occupied = body["camera"], tensors["box"], tensors["occupied"]
        pose = tensors["camera/viewmats"], tensors["camera/Ks"]
        camera = Camera(*pose, width=shown["width"], height=shown["height"], ids=tuple(shown["ids"]))
        parameters = {name.removeprefix("field/"): tensors[name] for name in tensors if name.startswith("field/")}
        occupancy = OccupancyGrid(lower, upper, occupied.float(), occupied)
        field = RadianceField(parameters, FieldShape(**body["shape"]), occupancy, body["step"], kernels)
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise StudioError(
            f"damaged avatar: {folder}",
            got=repr(error),
            expected="files as written by studio train",
            next="restore or retrain it",
        ) from error
    return HashStatic(field, camera)


def _portions(offsets: Tensor) -> list[tuple[int, int]]:
    """Ranges of rays with at most so many samples together as are shaded at a time, or of a single ray."""
    portions, first = [], 0
    while first < len(offsets) - 1:
        last = int(torch.searchsorted(offsets, offsets[first] + _SAMPLES, right=True)) - 1
        portions.append((first, max(last, first + 1)))
        first = portions[-1][1]
    return portions


def _some_rays(samples: Samples, first: int, last: int) -> Samples:
    begin, end = int(samples.offsets[first]), int(samples.offsets[last])
    offsets = samples.offsets[first : last + 1] - begin
    return Samples(samples.starts[begin:end], samples.ends[begin:end], samples.rays[begin:end] - first, offsets)
