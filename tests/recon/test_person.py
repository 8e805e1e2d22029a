"""Which head a track belongs to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon.person import head_of, identity_of
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.heads import load_head
from tests.viewer.avatars import still


def _track(parameters: int) -> CodeTrack:
    return replace(still(Codes.neutral(), frames=2), extras={"identity": np.zeros(parameters, np.float32)})


def test_a_track_finds_its_head_by_its_identity() -> None:
    procedural = load_head("procedural")
    found = head_of(_track(procedural.num_identity))
    assert found is not None
    assert found.hash == procedural.hash
    assert head_of(_track(procedural.num_identity + 1000)) is None


def test_another_heads_identity_is_refused() -> None:
    head = load_head("procedural")
    with pytest.raises(StudioError, match="another head model"):
        identity_of(_track(head.num_identity + 1), head)
    assert identity_of(still(Codes.neutral(), frames=2), head).shape == (head.num_identity,)
