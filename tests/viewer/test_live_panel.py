"""Live Link Face in the viewer: it may begin late and pause."""

from __future__ import annotations

import socket
import time

import pytest
import torch

from reenact.curves.livelink_udp import packets_of
from studio.codes import ARKIT52, Codes, CodeTrack
from tests.viewer.avatars import CardAvatar
from viewer.app import Viewer
from viewer.panels import live as live_module
from viewer.settings import ViewerConfig
from viewer.subject import Subject

JAW = ARKIT52.index("jawOpen")


def test_a_phone_that_comes_late_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "_LINK_SECONDS", 0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    codes = Codes.neutral(batch=(2,)).with_channels(jawOpen=torch.full((2,), 0.1))
    (packet, *_) = packets_of(CodeTrack(codes, 60.0, torch.ones(2, dtype=torch.bool)))
    avatar = CardAvatar()
    subject = Subject(avatar, driver=f"udp:{port}")
    with (
        Viewer(subject, None, ViewerConfig(port=0)) as viewer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        session = viewer._desk.session
        before = session.scene.codes
        time.sleep(0.5)  # longer than is listened for at once
        assert session.scene.codes is before
        end = time.monotonic() + 10
        while session.scene.codes is before:
            assert time.monotonic() < end, "the phone was not heard"
            phone.sendto(packet, ("127.0.0.1", port))
            time.sleep(0.02)
        assert float(session.scene.codes.expression[JAW]) <= 0.1
