"""A moving head as a radiance field with a code for each timestep it was filmed at (Kirschstein et al. 2023).

It can show what was filmed from anywhere, and nothing else: driving codes choose the timestep whose own codes are
nearest, and place that head where they want it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from recon.field_files import Groups, load_head, save_head
from recon.field_render import render_field
from recon.head_field import HeadField, Moments
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.code_range import CodeRange, head_motion
from studio.codes import SPACES, Codes, CodeSpace
from studio.folders import Manifest
from studio.rotations import rigid_inverse

KIND = "hash_ensemble"
_POSE = 0.1  # of a deviation for a radian or a decimetre of head motion: it decides between equal expressions


@dataclass(frozen=True)
class HashEnsemble:
    """A field, what each timestep looks like to it, and the codes that ask for a timestep.

    Args:
        field: in the world of the capture.
        weights: [T, H] of the tables.
        codes_deform: [T, D] what the deformation is told.
        window: [K] how much of each frequency the deformation sees.
        filmed: batch [T]: the codes of the timesteps.
        code_range: neutral state and range of them.
        camera: the camera it is seen from where nobody chooses another (C = 1).
    """

    field: HeadField
    weights: Tensor
    codes_deform: Tensor
    window: Tensor
    filmed: Codes
    code_range: CodeRange
    camera: Camera

    background: Tensor | None = None

    @property
    def space(self) -> CodeSpace:
        return self.filmed.space

    @property
    def codes(self) -> Codes:
        """The filmed state that is nearest to the neutral one."""
        return self.filmed[self.timestep(self.code_range.neutral)]

    def timestep(self, codes: Codes) -> int:
        """The timestep that looks most like a state (no batch), by whitened codes and then by the head's pose."""
        away = (self.filmed.vector() - codes.vector()) @ self.code_range.whitening
        turn, shift = head_motion(self.filmed.head_to_world, codes.head_to_world)
        pose = turn.square().sum(-1) + (10.0 * shift).square().sum(-1)
        return int((away.square().sum(-1) + _POSE**2 * pose).argmin())

    def moments(self, timestep: int) -> Moments:
        """What the field is told of a timestep."""
        chosen = slice(timestep, timestep + 1)
        codes = self.codes_deform[chosen] if self.field.shape.deformation else None
        return Moments(self.weights[chosen], codes, self.window)

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """Render the nearest filmed state from all cameras, with the head where the codes have it.

        Raises:
            StudioError: codes of another space.
        """
        self.space.require(codes.space, "this state")
        timestep = self.timestep(codes)
        moved = codes.head_to_world @ rigid_inverse(self.filmed.head_to_world[timestep])
        if not torch.equal(codes.head_to_world, self.filmed.head_to_world[timestep]):
            camera = replace(camera, viewmats=camera.viewmats @ moved)
        return render_field(self.field, self.moments(timestep), camera)

    def save(self, folder: Path, manifest: Manifest) -> None:
        """Write an avatar folder; ``manifest`` brings provenance. Raises StudioError if it exists and is not empty."""
        own = {"weights": self.weights, "codes_deform": self.codes_deform, "window": self.window}
        groups: Groups = {"moments": own, "filmed": self.filmed.tensors(), "range": self.code_range.tensors()}
        save_head(folder, manifest, KIND, self, self.field, groups, {"timesteps": len(self.weights)})


def load(folder: Path, kernels: str) -> HashEnsemble:
    """Open an avatar folder of this kind. Raises StudioError when it is missing, damaged or of an unknown space."""

    def make(manifest: Manifest, groups: Groups, field: HeadField, camera: Camera) -> HashEnsemble:
        space = SPACES[str(manifest.code_space)]
        filmed, known = Codes(space, **groups["filmed"]), CodeRange.from_tensors(space, groups["range"])
        return HashEnsemble(field, **groups["moments"], filmed=filmed, code_range=known, camera=camera)

    return load_head(folder, kernels, make)
