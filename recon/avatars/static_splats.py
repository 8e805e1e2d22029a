"""A static scene of 3D Gaussians (Kerbl et al. 2023), for calibrated photos of something that holds still.

It is seen through the same protocol as a drivable avatar; its code space has no channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.spatial import cKDTree
from torch import Tensor

from recon.storage import load_weights, reading_avatar
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange, measure_range
from studio.codes import Codes, CodeSpace, CodeTrack
from studio.folders import Manifest, read_manifest, write_folder
from studio.kernels.splat import rasterize_splats
from studio.media.images import to_uint8, write_image
from studio.splats import Splats

KIND = "static_splats"
STATIC = CodeSpace("static", ())
SH_C0 = 0.28209479177387814  # the constant of the zeroth band
_SPACING = 0.3  # initial standard deviation, in distances to the nearest points: small, so that none hides much
_WEIGHTS, _PREVIEW = "weights.safetensors", "preview.png"


@dataclass
class StaticSplats:
    """Raw parameters of N Gaussians and the camera they are seen from.

    Args:
        parameters: means [N, 3] world, quats [N, 4] wxyz, log_scales [N, 3], opacity_logits [N], sh0 [N, 1, 3],
            shN [N, K - 1, 3].
        camera: the default view (C = 1).
        kernels: "auto", "cuda" or "cpu".
    """

    parameters: dict[str, Tensor]
    camera: Camera
    kernels: str = "auto"

    space = STATIC
    background: Tensor | None = None

    @property
    def codes(self) -> Codes:
        return Codes.neutral(STATIC)

    @property
    def code_range(self) -> CodeRange:
        return measure_range(CodeTrack(Codes.neutral(STATIC, (1,)), 1.0, torch.ones(1, dtype=torch.bool)))

    def gaussians(self, codes: Codes) -> Splats:
        """The Gaussians in world space; codes change nothing. Raises StudioError for codes of another space."""
        STATIC.require(codes.space, "this state")
        raw = self.parameters
        return Splats(
            raw["means"],
            raw["quats"],
            raw["log_scales"].exp(),
            raw["opacity_logits"].sigmoid(),
            torch.cat((raw["sh0"], raw["shN"]), dim=1),
        )

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """Render from all cameras, differentiably where the parameters are; see ``gaussians`` for the codes."""
        splats = self.gaussians(codes)
        draw = partial(
            rasterize_splats,
            splats.means,
            splats.quats,
            splats.scales,
            splats.opacities,
            splats.sh,
            camera,
            sh_degree=math.isqrt(splats.sh.shape[1]) - 1,
            kernels=self.kernels,
        )
        image = draw(with_depth=False)
        return RenderOutput(image.rgb, image.alpha, lambda: draw().depth)

    def save(self, folder: Path, manifest: Manifest) -> None:
        """Write an avatar folder; ``manifest`` brings provenance. Raises StudioError if it exists and is not empty."""
        tensors = {name: value.detach().contiguous() for name, value in self.parameters.items()}
        tensors |= {"camera/viewmats": self.camera.viewmats, "camera/Ks": self.camera.Ks}
        shown = {"width": self.camera.width, "height": self.camera.height, "ids": list(self.camera.ids)}
        body = {**manifest.body, "kind": KIND, "gaussians": len(tensors["means"]), "camera": shown}
        with torch.no_grad():
            preview = self.render(self.camera, self.codes).rgb[0].numpy()
        manifest = replace(manifest, kind="avatar", code_space=STATIC.name, synthetic=True, body=body)
        with write_folder(folder, manifest) as temporary:
            save_file(tensors, temporary / _WEIGHTS)
            write_image(temporary / _PREVIEW, to_uint8(preview))


def load(folder: Path, kernels: str) -> StaticSplats:
    """Open an avatar folder of this kind. Raises StudioError when it is missing or damaged."""
    body = read_manifest(folder, kind="avatar").body
    with reading_avatar(folder):
        tensors = load_weights(folder / _WEIGHTS)
        shown = body["camera"]
        pose = tensors.pop("camera/viewmats"), tensors.pop("camera/Ks")
        camera = Camera(*pose, width=shown["width"], height=shown["height"], ids=tuple(shown["ids"]))
    return StaticSplats(tensors, camera, kernels)


def initial_parameters(
    points: np.ndarray,  # [N, 3] world
    colors: np.ndarray,  # [N, 3] sRGB-encoded 0..1
    sh_degree: int,
) -> dict[str, Tensor]:
    """Round Gaussians at points, sized by the distance to the nearest others (Kerbl et al. 2023, section 5.1)."""
    distances, _ = cKDTree(points).query(points, k=4)
    spacing = np.maximum(np.sqrt((distances[:, 1:] ** 2).mean(1)), 1e-6)
    count = len(points)
    return {
        "means": torch.from_numpy(points).float(),
        "quats": torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        "log_scales": torch.from_numpy(np.log(_SPACING * spacing)).float()[:, None].repeat(1, 3),
        "opacity_logits": torch.zeros(count),
        "sh0": (torch.from_numpy(colors).float()[:, None] - 0.5) / SH_C0,
        "shN": torch.zeros(count, (sh_degree + 1) ** 2 - 1, 3),
    }
