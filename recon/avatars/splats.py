"""The drivable splat avatar: a person's head mesh, posed by codes, carrying Gaussians with learned corrections."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from recon.binding import Binding, Rig
from recon.corrections import CodeStatistics
from recon.field import FieldConfig, Gaussians, SplatField
from recon.storage import grouped, load_weights, packed, reading_avatar, unpacked
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange
from studio.codes import SPACES, Codes, CodeSpace
from studio.folders import Manifest, read_manifest, write_folder
from studio.heads.model import HeadModel
from studio.kernels.backends import device_of
from studio.kernels.splat import rasterize_splats
from studio.media.images import to_uint8, write_image
from studio.rotations import matrix_to_quat, quat_multiply, transform_points
from studio.splats import Splats

KIND = "splats"
WEIGHTS, PREVIEW = "weights.safetensors", "preview.png"
_LEVEL = "level_"  # groups of weights: level_<number of Gaussians>
_SH0 = 0.28209479177387814  # value of the constant spherical harmonic


@dataclass(frozen=True)
class SplatAvatar:
    """Gaussians on a posed head mesh. Made by ``recon.train``; opened by ``recon.avatars.load_avatar``.

    What is learned may be on a GPU, and images then come from there; all else, cameras and codes stay on the CPU.

    Args:
        head: the person's head without identity parameters, only the triangles that carry Gaussians.
        head_hash: of the whole head model that the codes were tracked with.
        binding: where the Gaussians hang.
        learned: what was learned.
        statistics: distribution of the training codes.
        code_range: neutral state and range of the training codes.
        camera: the camera it is seen from where nobody chooses another (C = 1).
        background: [H, W, 3] what that camera sees behind the person, or None.
        kernels: "auto", "cuda" or "cpu".
        levels: sparser versions, see ``recon.detail``: number of Gaussians -> their own parameters by name [n, …].
        shape: [V, 3] the person's whole head at rest, all vertices of the head model with shoulders; for meshes only.
            None in avatars from before it was kept.
    """

    head: HeadModel
    head_hash: str
    binding: Binding
    learned: SplatField
    statistics: CodeStatistics
    code_range: CodeRange
    camera: Camera
    background: Tensor | None = None
    kernels: str = "auto"
    levels: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    shape: Tensor | None = None

    @cached_property
    def rig(self) -> Rig:
        return Rig(self.head, self.binding, self.device)

    @cached_property
    def _parts(self) -> Tensor:
        return self.binding.parts.to(self.device)

    @property
    def device(self) -> torch.device:
        """Where what is learned lives and images are drawn."""
        return self.learned.offsets.device

    def to(self, device: torch.device | str) -> SplatAvatar:
        """The same avatar drawn elsewhere; itself where it is there already."""
        if self.device == torch.device(device):
            return self
        return replace(self, learned=deepcopy(self.learned).to(device))

    @property
    def space(self) -> CodeSpace:
        return self.head.space

    @property
    def codes(self) -> Codes:
        return self.code_range.neutral

    def head_gaussians(
        self,
        codes: Codes,  # batch [...]
        jitter: Tensor | float = 0.0,  # [..., D] added to the code components, while training
    ) -> Gaussians:
        """The Gaussians of states in the head frame, differentiable to what is learned; [..., N, …] for a batch."""
        self.space.require(codes.space, "this state")
        return self.learned(self.rig.pose(codes), self.statistics.components(codes) + jitter, self._parts)

    def render_gaussians(
        self,
        camera: Camera,
        gaussians: Gaussians,
        head_to_world: Tensor,  # [4, 4], or [C, 4, 4] with Gaussians of C states, one for each camera
    ) -> RenderOutput:
        """Rasterise Gaussians of the head frame; the cameras move to the head instead of the head to the cameras."""
        moved = replace(camera, viewmats=camera.viewmats @ head_to_world.to(camera.viewmats.device))
        draw = partial(
            rasterize_splats,
            gaussians.means,
            gaussians.quats,
            gaussians.scales,
            gaussians.opacities,
            gaussians.colors,
            moved,
            paired=gaussians.means.ndim > 2,
            kernels=self.kernels,
        )
        image = draw(with_depth=False)
        return RenderOutput(image.rgb, image.alpha, lambda: draw().depth)

    @torch.no_grad()
    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """Render one state (codes without batch dimension) from all cameras, without the background.

        Raises:
            StudioError: codes of another space.
        """
        return self.render_gaussians(camera, self.head_gaussians(codes), codes.head_to_world)

    @torch.no_grad()
    def gaussians(self, codes: Codes) -> Splats:
        """The Gaussians of one state in the world, on the CPU."""
        gaussians, pose = self.head_gaussians(codes), codes.head_to_world
        local = Gaussians(*(getattr(gaussians, item.name).cpu() for item in fields(Gaussians)))
        turn = matrix_to_quat(pose[:3, :3])
        means = transform_points(pose, local.means)
        quats = quat_multiply(turn.expand_as(local.quats), local.quats)
        sh0 = (local.colors - 0.5) / _SH0
        return Splats(means, quats, local.scales, local.opacities, sh0[:, None, :])

    def regions(self) -> tuple[Tensor, tuple[str, ...]]:
        """The part of the head [N] on which each Gaussian hangs, and the names of the parts."""
        return self.head.face_region[self.binding.faces], self.head.region_names

    def save(self, folder: Path, manifest: Manifest, bits: int = 32) -> None:
        """Write an avatar folder; ``manifest`` brings provenance (parents, seed, licence, consent).

        ``bits`` of each weight: 32, or 16 or 8 for smaller files, see ``recon.storage``.

        Raises:
            StudioError: the folder exists and is not empty.
        """
        groups: dict[str, dict[str, Tensor]] = {
            "head": self.head.tensors(),
            "binding": {name: getattr(self.binding, name) for name in self.binding.__dataclass_fields__},
            "learned": dict(self.learned.state_dict()),
            "statistics": self.statistics.tensors(),
            "range": self.code_range.tensors(),
            "camera": {"viewmats": self.camera.viewmats, "Ks": self.camera.Ks},
        }
        if self.background is not None:
            groups["background"] = {"image": torch.from_numpy(to_uint8(self.background.cpu().numpy()))}
        if self.shape is not None:
            groups["person"] = {"shape": self.shape}
        groups |= {f"{_LEVEL}{count}": dict(values) for count, values in self.levels.items()}
        tensors = {
            f"{g}/{n}": v.detach().cpu().clone().contiguous() for g, group in groups.items() for n, v in group.items()
        }
        manifest = replace(
            manifest,
            kind="avatar",
            code_space=self.space.name,
            head_hash=self.head_hash,
            synthetic=True,
            body={
                **manifest.body,
                "kind": KIND,
                "code_space_hash": self.space.hash,
                "gaussians": len(self.learned),
                "field": asdict(self.learned.config),
                "bits": bits,
                "unit": self.learned.unit,
                "head": self.head.labels(),
                "camera": {"width": self.camera.width, "height": self.camera.height, "ids": list(self.camera.ids)},
            },
        )
        with write_folder(folder, manifest) as temporary:
            save_file(packed(tensors, bits), temporary / WEIGHTS)
            write_image(temporary / PREVIEW, self.preview())

    def preview(self) -> Any:
        """The resting state over its background (white where there is none), [H, W, 3] uint8."""
        background = torch.ones(3) if self.background is None else self.background
        return self.render(self.camera, self.codes).pixels(background)[0]


def load(folder: Path, kernels: str) -> SplatAvatar:
    """Open an avatar folder of this kind. Raises StudioError when it is missing, damaged or of an unknown space."""
    manifest = read_manifest(folder, kind="avatar")
    body = manifest.body
    with reading_avatar(folder):
        space = SPACES[str(manifest.code_space)]
        groups = grouped(unpacked(load_weights(folder / WEIGHTS)))
        binding = Binding(**groups["binding"])
        statistics = CodeStatistics(**groups["statistics"])
        generator = torch.Generator().manual_seed(0)
        config = FieldConfig(**body["field"])
        learned = SplatField(binding, float(body["unit"]), statistics.sizes.tolist(), config, generator)
        learned.load_state_dict(groups["learned"])
        shown = body["camera"]
        camera = Camera(**groups["camera"], width=shown["width"], height=shown["height"], ids=tuple(shown["ids"]))
        background = groups["background"]["image"].float() / 255 if "background" in groups else None
        avatar = SplatAvatar(
            HeadModel.from_parts(space, body["head"], groups["head"]),
            str(manifest.head_hash),
            binding,
            learned.requires_grad_(False),
            statistics,
            CodeRange.from_tensors(space, groups["range"]),
            camera,
            background,
            kernels,
            {int(name.removeprefix(_LEVEL)): own for name, own in groups.items() if name.startswith(_LEVEL)},
            groups.get("person", {}).get("shape"),
        )
    return avatar.to(device_of(kernels))
