"""A person's own shape: what the landmarks of a clip say of a face beyond the identity parameters of a head model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from studio.heads.mediapipe_points import CONTOUR, EYE_CORNERS, LIDS_LEFT, LIDS_RIGHT, LIPS
from studio.heads.model import JOINTS, HeadModel

OFFSETS = "landmark_offsets"  # [478, 3] metres: the extra of a track that holds them, zero where unknown
_REACH = 0.12  # inter-ocular distances over which an offset fades
# Of a landmark's offset against how far neighbours' offsets usually differ. Rims of lids and lips must still meet.
_NOISE, _RIM_NOISE = 0.3, 0.05
_STIFF = {"teeth_upper", "teeth_lower", "gums", "tongue"}  # bone and what hangs on it; no landmark lies on them
_EYES = {"eye_left": LIDS_LEFT, "eye_right": LIDS_RIGHT}


def with_offsets(
    head: HeadModel,  # without identity parameters
    offsets: Tensor,  # [478, 3] metres, head frame: where the landmarks lie relative to the model's
) -> HeadModel:
    """The head with its skin moved so that its landmarks lie where they were seen.

    Between landmarks the offsets are interpolated (Gaussian process regression), far from all of them nothing moves.
    Each eyeball moves as a whole, by the mean of its lids; teeth and tongue stay. Landmarks of the outline are left
    out: they slide over the skin as the head turns. Zero offsets and landmarks that the head lacks say nothing.
    """
    valid = head.landmark_valid & (offsets.abs().sum(1) > 0)
    valid[list(CONTOUR)] = False  # they slide along the outline as the head turns
    if not bool(valid.any()):
        return head
    known, moves = head.landmarks(head.template)[valid].double(), offsets[valid].double()
    reach = _REACH * float((_corner(head, 0) - _corner(head, 1)).norm())

    def alike(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-0.5 * (torch.cdist(a, b) / reach).square())

    rims = torch.isin(torch.nonzero(valid)[:, 0], torch.tensor((*LIPS, *LIDS_LEFT, *LIDS_RIGHT)))
    noise = torch.where(rims, _RIM_NOISE, _NOISE).double().square()
    solved = torch.linalg.solve(alike(known, known) + torch.diag(noise), moves)
    shift = (alike(head.template.double(), known) @ solved).float()
    joints = head.joint_positions.clone()
    shift[_corners_of(head, *_STIFF)] = 0.0
    for eye, lids in _EYES.items():
        seen = [index for index in lids if bool(valid[index])]
        if seen:
            mean = offsets[seen].mean(0)
            shift[_corners_of(head, eye)] = mean
            joints[JOINTS.index(eye)] += mean
    return replace(head, template=head.template + shift, joint_positions=joints)


def _corner(head: HeadModel, which: int) -> Tensor:
    """[3] an outer corner of the eyes at rest."""
    return head.landmarks(head.template)[EYE_CORNERS[which]]


def _corners_of(head: HeadModel, *regions: str) -> Tensor:
    """Vertices [n] of the named regions."""
    return torch.unique(head.faces[head.region_faces(*regions)])
