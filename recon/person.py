"""The head of the person that a track is of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recon.bust import has_torso, with_bust
from studio.codes import CodeTrack
from studio.heads.model import HeadModel
from studio.heads.personal import OFFSETS, with_offsets


def identity_of(track: CodeTrack, head: HeadModel) -> Tensor:
    """[I] identity parameters; zero where the track has none."""
    return torch.from_numpy(np.asarray(track.extras.get("identity", np.zeros(head.num_identity)))).float()


def person_of(track: CodeTrack, head: HeadModel) -> HeadModel:
    """The head with the person's identity, and with shoulders: its own, or a bust's."""
    person = head.with_identity(identity_of(track, head))
    if OFFSETS in track.extras:
        person = with_offsets(person, torch.from_numpy(np.asarray(track.extras[OFFSETS])).float())
    return person if has_torso(person) else with_bust(person)
