"""Fixtures of the viewer's tests."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from studio.codes import Codes, CodeTrack
from studio.heads import load_head
from tests.viewer.avatars import CardAvatar, MeshAvatar, still


@pytest.fixture
def card() -> CardAvatar:
    return CardAvatar()


@pytest.fixture(scope="session")
def mesh_avatar() -> MeshAvatar:
    return MeshAvatar(load_head("procedural"))


@pytest.fixture
def talking() -> CodeTrack:
    """Two seconds at 25 frames/s; jawOpen rises from 0 to 1."""
    track = still(Codes.neutral(), frames=50)
    opening = torch.linspace(0.0, 1.0, 50)
    return replace(track, codes=track.codes.with_channels(jawOpen=opening))
