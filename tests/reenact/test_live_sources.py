"""Live drivers end in codes for the avatar: from pictures, Live Link Face and a voice."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import capture.live as capture_live
import reenact.live as live_module
import reenact.live_sources as sources_module
from capture.landmarker import POINTS, Face
from capture.synthetic.phones import schedule
from capture.synthetic.speech import synthesise
from reenact.audio.features import RATE
from reenact.curves.livelink_udp import packets_of
from reenact.live_sources import live_codes, spoken_codes
from studio.codes import ARKIT52, FLAME100, Codes, CodeTrack
from studio.errors import StudioError

JAW = ARKIT52.index("jawOpen")


class _Follower:
    def __init__(self, bundle: object = None) -> None: ...

    def __call__(self, picture: np.ndarray) -> Face:
        scores = np.zeros(52, np.float32)
        scores[JAW] = picture[0, 0, 0] / 255
        return Face(np.zeros((POINTS, 3), np.float32), scores)

    def close(self) -> None: ...


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_camera_drives_from_its_first_picture(monkeypatch: pytest.MonkeyPatch, avatar: Any) -> None:
    asked: list[object] = []

    def camera(which: object, fps: float) -> Iterator[tuple[int, np.ndarray]]:
        asked.append(which)
        for number in range(12):
            time.sleep(0.02)
            yield 2 * number, np.full((8, 8, 3), 10 * number, np.uint8)

    monkeypatch.setattr(live_module, "FaceFollower", _Follower)
    monkeypatch.setattr(capture_live, "from_camera", camera)
    found = list(live_codes("camera:1", avatar, fps=20.0, head="procedural"))
    list(live_codes("rtsp://here/1", avatar, head="procedural"))
    assert asked == [1, "rtsp://here/1"]
    assert len(found) >= 2  # on a busy machine older pictures give way to newer ones
    assert [item.seconds for item in found] == sorted(item.seconds for item in found)
    last = found[-1]
    assert last.seconds == pytest.approx(22 / 20.0)
    assert not last.settled
    assert float(last.codes.expression[JAW]) > float(found[0].codes.expression[JAW])
    assert torch.equal(last.codes.head_to_world, avatar.code_range.neutral.head_to_world)


def test_live_link_drives_relative_to_its_own_rest(monkeypatch: pytest.MonkeyPatch, avatar: Any) -> None:
    """A driver who always smiles: once known, the avatar does not."""
    monkeypatch.setattr(sources_module, "_LEARNED", 0.15)
    frames = 60
    jaw = 0.3 * (torch.arange(frames) % 10 > 4).float()
    codes = Codes.neutral(batch=(frames,)).with_channels(jawOpen=jaw, mouthSmileLeft=torch.full((frames,), 0.5))
    packets = packets_of(CodeTrack(codes, 60.0, torch.ones(frames, dtype=torch.bool)))
    port = _free_port()

    def send() -> None:
        time.sleep(0.1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for packet in packets:
                sender.sendto(b"nonsense", ("127.0.0.1", port))
                sender.sendto(packet, ("127.0.0.1", port))
                time.sleep(0.005)

    thread = threading.Thread(target=send)
    thread.start()
    found = list(live_codes(f"udp:{port}", avatar, patience=0.5))
    thread.join()
    assert len(found) == frames
    assert not found[0].settled
    assert found[-1].settled
    smile = ARKIT52.index("mouthSmileLeft")
    settled = torch.stack([item.codes.expression for item in found if item.settled])
    assert float(found[0].codes.expression[smile]) > 0.1
    assert float(settled[:, smile].max()) < 0.05
    assert float(settled[:, JAW].max()) > 0.1


def test_a_voice_drives_while_it_speaks(avatar: Any) -> None:
    phones = schedule("SIL M AA P AA SIL", 0.0, 1.5)
    samples = synthesise(phones, 1.5).resampled(RATE).samples[:, 0]
    blocks = np.array_split(np.concatenate((samples, np.zeros(RATE // 2, np.float32))), 40)
    found = list(spoken_codes(blocks, avatar, fps=25.0))
    assert 40 <= len(found) <= 50  # two seconds, less what is still in the air
    jaw = [float(item.codes.expression[JAW]) for item in found]
    assert max(jaw) > 0.1
    assert jaw[0] < 0.02
    assert all(torch.isfinite(item.codes.expression).all() for item in found)


def test_what_cannot_drive_is_one_line(tmp_path: Path, avatar: Any) -> None:
    for source in ("microwave", str(tmp_path / "none.mp4"), "camera:x", "udp:x"):
        with pytest.raises(StudioError, match="no such live driver"):
            live_codes(source, avatar)
    with pytest.raises(StudioError, match="cannot open the stream"):
        list(live_codes("file:///nowhere.mp4", avatar, head="procedural"))
    with pytest.raises(StudioError, match="no camera"):
        list(live_codes("camera:93", avatar, head="procedural"))

    class Other:
        space = FLAME100
        code_range = avatar.code_range

    with pytest.raises(StudioError):
        live_codes("camera", Other())
