"""The head of the person that a track is of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recon.bust import has_torso, with_bust
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.heads import load_head
from studio.heads.model import HeadModel
from studio.heads.personal import OFFSETS, with_offsets


def identity_of(track: CodeTrack, head: HeadModel) -> Tensor:
    """[I] identity parameters; zero where the track has none. Raises StudioError where they are of another head."""
    identity = torch.from_numpy(np.asarray(track.extras.get("identity", np.zeros(head.num_identity)))).float()
    if identity.shape != (head.num_identity,):
        raise StudioError(
            "this track was made with another head model",
            got=f"{identity.numel()} identity parameters",
            expected=f"{head.num_identity}",
            next="head=procedural | ict | flame: the one that it was tracked with",
        )
    return identity


def head_of(track: CodeTrack) -> HeadModel | None:
    """The head model that a track's identity belongs to: told by its number of parameters. None where none fits."""
    for name in ("auto", "procedural"):
        head = load_head(name)
        if head.num_identity == len(np.asarray(track.extras.get("identity", ()))):
            return head
    return None


def person_of(track: CodeTrack, head: HeadModel) -> HeadModel:
    """The head with the person's identity, and with shoulders: its own, or a bust's."""
    person = head.with_identity(identity_of(track, head))
    if OFFSETS in track.extras:
        person = with_offsets(person, torch.from_numpy(np.asarray(track.extras[OFFSETS])).float())
    return person if has_torso(person) else with_bust(person)
