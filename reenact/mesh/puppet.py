"""What mesh formats share: the head's surface, texture, shapes, skeleton and motion, ready to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from recon.avatars.splats import SplatAvatar
from reenact.exporters import Subject
from reenact.mesh.person import whole_head
from reenact.mesh.skeleton import PARENTS, JointMotion, joint_motions, rest_places
from reenact.mesh.surface import Surface, surface_of, with_all_uvs
from reenact.mesh.texture import bake_texture
from studio.codes import CodeTrack
from studio.heads.model import JOINTS, HeadModel, vertex_normals


@dataclass(frozen=True)
class Puppet:
    """A textured, rigged head in the head frame at rest.

    Args:
        name: of the avatar.
        head: without identity parameters, every triangle with uvs of its own.
        texture: [S, S, 3] uint8 sRGB.
        track: its motion, or None.
        note: that it is synthetic, consent, licence.
    """

    name: str
    head: HeadModel
    texture: np.ndarray
    track: CodeTrack | None
    note: Mapping[str, str]

    @cached_property
    def surface(self) -> Surface:
        return surface_of(self.head)

    @cached_property
    def positions(self) -> np.ndarray:
        """[W, 3] float32 metres."""
        return self._at(self.head.template)

    @cached_property
    def normals(self) -> np.ndarray:
        """[W, 3] float32, unit."""
        normals = vertex_normals(self.head.template, self.head.faces)
        lost = normals.norm(dim=-1, keepdim=True) < 0.5  # vertices of no triangle
        return self._at(torch.where(lost, torch.tensor([0.0, 0.0, 1.0]), normals))

    def shape(self, channel: int) -> np.ndarray:
        """[W, 3] float32 what a channel at 1 adds to the positions."""
        return self._at(self.head.expression_basis[channel])

    @property
    def channels(self) -> tuple[str, ...]:
        return self.head.space.channels

    @cached_property
    def skin(self) -> np.ndarray:
        """[W, 5] float32 weights of the joints in the order of ``PARENTS``; rows sum to one."""
        order = [JOINTS.index(name) for name in PARENTS]
        weights = self._at(self.head.skin_weights[:, order])
        return weights / weights.sum(axis=1, keepdims=True)

    @cached_property
    def joints(self) -> dict[str, np.ndarray]:
        """Where each joint sits [3] at rest, metres."""
        return {name: place.numpy().astype(np.float64) for name, place in rest_places(self.head).items()}

    def motion(self) -> dict[str, JointMotion] | None:
        """The joints over the track."""
        return None if self.track is None else joint_motions(self.head, self.track.codes)

    def texture_file(self, ending: str) -> bytes:
        """The texture as .png or .jpg."""
        options = [cv2.IMWRITE_JPEG_QUALITY, 92] if ending == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 6]
        _, data = cv2.imencode(ending, cv2.cvtColor(self.texture, cv2.COLOR_RGB2BGR), options)
        return data.tobytes()

    def _at(self, values: torch.Tensor) -> np.ndarray:
        return np.ascontiguousarray(values.detach().numpy()[self.surface.vertices], dtype=np.float32)


def puppet_of(subject: Subject, texture: int, format: str) -> Puppet:
    """The puppet of an avatar, its texture ``texture`` texels wide and high.

    Raises:
        StudioError: as ``whole_head``, or a track of another space.
    """
    head = with_all_uvs(whole_head(subject))
    track = None if subject.track is None else subject.motion(format)
    assert isinstance(subject.avatar, SplatAvatar)  # or it would have no whole head
    return Puppet(subject.name, head, bake_texture(subject.avatar, head, texture), track, subject.note)
