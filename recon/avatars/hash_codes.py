"""A head as a radiance field that driving codes move: NeRSemble's ensemble, with codes instead of timesteps.

The field lives in the head frame of the resting head model. A point of a posed head goes back there with the model's
own motion (jaw, lids, lips, neck); what that misses, a deformation and blended tables add, both told by a network that
sees the codes no further than training did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from recon.code_network import CodeNetwork
from recon.corrections import CodeStatistics
from recon.field_files import Groups, load_head, save_head
from recon.field_render import render_field
from recon.head_field import HeadField, Moments, faded_weights
from recon.mesh_warp import MeshWarp
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange
from studio.codes import SPACES, Codes, CodeSpace
from studio.folders import Manifest
from studio.heads.model import HeadModel

KIND = "hash_codes"


@dataclass(frozen=True)
class HashCodes:
    """A field in the head frame, and what makes moments of codes.

    Args:
        field: the field.
        head: the person's head without identity parameters.
        head_hash: of the whole head model that the codes were tracked with.
        statistics: what the network sees of the codes.
        network: the network.
        residual: how many numbers of a timestep's own it sees while training; zeros here.
        reach: how many tables are there.
        window: [K] how much of each frequency the deformation sees.
        code_range: neutral state and range of the training codes.
        camera: the camera it is seen from where nobody chooses another (C = 1).
    """

    field: HeadField
    head: HeadModel
    head_hash: str
    statistics: CodeStatistics
    network: CodeNetwork
    residual: int
    reach: float
    window: Tensor
    code_range: CodeRange
    camera: Camera

    background: Tensor | None = None

    @property
    def space(self) -> CodeSpace:
        return self.head.space

    @property
    def codes(self) -> Codes:
        return self.code_range.neutral

    @cached_property
    def warp(self) -> MeshWarp:
        return MeshWarp(self.head, self.field.occupancy.lower, self.field.occupancy.upper)

    @torch.no_grad()
    def moment(self, codes: Codes) -> Moments:
        """What the field is told of a state (no batch)."""
        weights, told = self.network(self.statistics.components(codes)[None], torch.zeros(1, self.residual))
        one = Codes(codes.space, **{name: value[None] for name, value in codes.tensors().items()})
        known = told if self.field.shape.deformation else None
        return Moments(faded_weights(weights, self.reach), known, self.window, self.warp.volumes(one))

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """Render one state (codes without batch dimension) from all cameras, without the background.

        Raises:
            StudioError: codes of another space.
        """
        self.space.require(codes.space, "this state")
        seen = replace(camera, viewmats=camera.viewmats @ codes.head_to_world)
        return render_field(self.field, self.moment(codes), seen)

    def save(self, folder: Path, manifest: Manifest) -> None:
        """Write an avatar folder; ``manifest`` brings provenance. Raises StudioError if it exists and is not empty."""
        groups: Groups = {
            "head": self.head.tensors(),
            "statistics": self.statistics.tensors(),
            "network": dict(self.network.state_dict()),
            "range": self.code_range.tensors(),
            "moments": {"window": self.window},
        }
        body = {"head": self.head.labels(), "residual": self.residual, "reach": self.reach}
        save_head(folder, replace(manifest, head_hash=self.head_hash), KIND, self, self.field, groups, body)


def load(folder: Path, kernels: str) -> HashCodes:
    """Open an avatar folder of this kind. Raises StudioError when it is missing, damaged or of an unknown space."""

    def make(manifest: Manifest, groups: Groups, field: HeadField, camera: Camera) -> HashCodes:
        space, body, learned = SPACES[str(manifest.code_space)], manifest.body, groups["network"]
        seen, given = learned["layers.0.weight"], learned["layers.4.weight"]
        residual, tables = int(body["residual"]), field.shape.n_hash_encodings
        network = CodeNetwork(seen.shape[1] - residual, residual, len(seen), tables, len(given) - tables)
        network.load_state_dict(learned)
        return HashCodes(
            field,
            HeadModel.from_parts(space, body["head"], groups["head"]),
            str(manifest.head_hash),
            CodeStatistics(**groups["statistics"]),
            network.requires_grad_(False),
            residual,
            float(body["reach"]),
            groups["moments"]["window"],
            CodeRange.from_tensors(space, groups["range"]),
            camera,
        )

    return load_head(folder, kernels, make)
