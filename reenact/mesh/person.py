"""The whole head of the person that an avatar shows: an avatar itself keeps only the triangles it needs."""

from __future__ import annotations

import torch

from recon.avatars.splats import SplatAvatar
from recon.bust import has_torso, with_bust
from reenact.exporters import Subject
from studio.errors import StudioError
from studio.heads.model import HeadModel

_CLOSE = 1e-5  # metres that the solved person may differ at the landmarks


def whole_head(subject: Subject) -> HeadModel:
    """The head model in the avatar's identity, with shoulders, without identity parameters.

    The identity is solved by least squares from the corners of the 478 landmarks' triangles, which an avatar keeps.

    Raises:
        StudioError: the avatar has no mesh, or was made with another head model than the one that is here.
    """
    avatar = subject.avatar
    if not isinstance(avatar, SplatAvatar) or subject.load_head is None:
        raise StudioError(
            "this avatar has no mesh", got=type(avatar).__name__, expected="an avatar trained with avatar=splats"
        )
    model = subject.load_head()
    if model.hash != avatar.head_hash:
        raise StudioError(
            "the avatar was made with another head model", got=model.name, expected=avatar.head.name, next="give head=…"
        )
    theirs = avatar.head.faces[avatar.head.landmark_faces].flatten()
    ours = model.faces[model.landmark_faces].flatten()
    wanted = (avatar.head.template[theirs] - model.template[ours]).double().flatten()
    basis = model.identity_basis[:, ours].double().flatten(1).T
    identity = torch.linalg.lstsq(basis, wanted, driver="gelsd").solution
    off = float((basis @ identity - wanted).abs().max())
    if off > _CLOSE:
        raise StudioError("the avatar's mesh is none of this head model's", got=f"{1000 * off:.2f} mm off")
    person = model.with_identity(identity.float())
    return person if has_torso(person) else with_bust(person)
