"""Render jobs: what is in the files, and what happens when they are stopped."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
import torch

from reenact.backgrounds import background
from reenact.camera_paths import CameraPathConfig, repeated
from reenact.drivers import Driving
from reenact.pictures import watermarked
from reenact.render import render, render_frames
from reenact.render_config import RenderConfig
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest
from studio.kernels.workers import worker_count
from studio.media.audio import Audio
from studio.media.images import read_image, to_uint8, write_image
from studio.provenance.seal import verify

FRAMES = 6


def _speech(frames: int = FRAMES, fps: float = 25.0, sound: bool = True) -> Driving:
    """A mouth that opens, with a tone."""
    codes = Codes.neutral(batch=(frames,)).with_channels(jawOpen=torch.linspace(0, 0.8, frames))
    track = CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), {"expression": "made up"})
    tone = np.sin(np.arange(int(48_000 * frames / fps)) * 0.06)[:, None].astype(np.float32)
    return Driving(track, Audio(tone, 48_000) if sound else None, {"source": "0123"})


def _frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_video_has_every_frame_the_sound_and_its_provenance(tmp_path: Path, avatar: Any) -> None:
    out = render(avatar, _speech(), tmp_path / "v.mp4", RenderConfig(background="green", quality="near_lossless"))
    frames = _frames(out)
    assert len(frames) == FRAMES
    expected = avatar.render(avatar.camera, _speech().track.codes[4]).over(background("green", avatar, 96, 96))[0]
    assert np.abs(frames[4].astype(int) - to_uint8(expected.numpy())).mean() < 1.0
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == 25
        assert len(container.streams.audio) == 1
        assert "Synthetic media" in container.metadata["comment"]
    note = json.loads((tmp_path / "v.json").read_text())
    assert note["synthetic"] is True
    assert note["parents"] == {"source": "0123"}
    assert (note["body"]["frames"], note["body"]["fps"]) == (FRAMES, 25.0)
    # Without the library of C2PA a signed note lies beside the video.
    assert {path.name for path in tmp_path.iterdir()} - {"v.mp4.provenance.json"} == {"v.json", "v.mp4"}


def test_another_rate_and_size(tmp_path: Path, avatar: Any) -> None:
    config = RenderConfig(size=(64, 48), fps=50.0, camera=CameraPathConfig("orbit"))
    out = render(avatar, _speech(), tmp_path / "v.mp4", config)
    frames = _frames(out)
    assert len(frames) == 2 * FRAMES
    assert frames[0].shape == (48, 64, 3)


def test_images_with_alpha_composite_to_the_video(tmp_path: Path, avatar: Any) -> None:
    out = render(avatar, _speech(2), tmp_path / "png", RenderConfig(alpha=True))
    expected_names = ["000000.png", "000001.png", "audio.wav", "manifest.json", "manifest.json.provenance.json"]
    assert sorted(path.name for path in out.iterdir()) == expected_names
    assert b"Synthetic media" in (out / "000000.png").read_bytes()
    assert verify(out).state == "intact"
    import cv2

    rgba = cv2.cvtColor(cv2.imread(str(out / "000001.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA) / 255.0
    over_white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
    expected = avatar.render(avatar.camera, _speech(2).track.codes[1]).over(torch.ones(3))[0].numpy()
    assert np.abs(over_white - expected).max() < 0.012
    assert rgba[0, 0, 3] == 0


def test_licence_and_consent_travel_with_the_video(tmp_path: Path, avatar: Any) -> None:
    origin = Manifest("avatar", licence="CC BY 4.0", consent="given for research")
    out = render(avatar, _speech(2), tmp_path / "v.mp4", RenderConfig(size=(48, 48)), origin=origin)
    found = verify(out)
    assert found.state == "intact"
    assert found.claim is not None
    assert (found.claim.consent, found.claim.licence) == ("given for research", "CC BY 4.0")
    assert found.claim.driven_by == {"source": "0123"}


def test_a_watermark_is_seen_where_it_is_and_nowhere_else() -> None:
    image = np.full((120, 160, 3), 128, np.uint8)
    marked = watermarked(image, "synthetic")
    changed = np.argwhere((marked != image).any(-1))
    assert len(changed) > 40
    assert changed[:, 0].min() > 100
    assert changed[:, 1].max() < 80
    assert (image == 128).all()


class _Interrupting:
    """The avatar, and someone who presses Ctrl-C at the third picture."""

    def __init__(self, avatar: Any) -> None:
        self.avatar, self.asked = avatar, list[float]()  # pictures are drawn on several threads, in no certain order
        self.stops = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.avatar, name)

    def render(self, camera: Camera, codes: Codes) -> Any:
        opened = float(codes.expression[ARKIT52.index("jawOpen")])
        self.asked.append(opened)
        if self.stops and opened == float(_speech().track.codes.expression[2, ARKIT52.index("jawOpen")]):
            raise KeyboardInterrupt
        return self.avatar.render(camera, codes)


def test_frames_in_flight_come_in_order_and_no_more_than_needed(avatar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Late frames are finished first here; who stops listening leaves at most a frame for each core to be drawn."""
    monkeypatch.setenv("STUDIO_THREADS", "3")
    codes, cameras = _speech(12).track.codes, repeated(avatar.camera, 12)
    drawn, workers = [], []

    class Slow:
        def render(self, camera: Camera, state: Codes) -> RenderOutput:
            number = round(float(state.expression.max()) * 11 / 0.8)
            time.sleep(0.03 * (number % 3 == 0))
            drawn.append(number)
            workers.append(worker_count())
            return RenderOutput(
                torch.full((1, 4, 4, 3), number / 255), torch.ones(1, 4, 4), lambda: torch.ones(1, 4, 4)
            )

    def pictures() -> Any:
        return render_frames(cast(Any, Slow()), codes, cameras, lambda frame: frame.pixels(torch.zeros(3))[0])

    assert [int(image[0, 0, 0]) for image in pictures()] == list(range(12))
    assert set(workers) == {1}
    drawn.clear()
    some = pictures()
    next(some)
    some.close()
    assert len(drawn) <= 4


def test_interrupted_video_leaves_nothing(tmp_path: Path, avatar: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        render(_Interrupting(avatar), _speech(), tmp_path / "v.mp4")
    assert not list(tmp_path.iterdir())


def test_interrupted_images_go_on_where_they_stopped(tmp_path: Path, avatar: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        render(_Interrupting(avatar), _speech(), tmp_path / "png")
    assert len(list((tmp_path / "png").glob("*.png"))) == 2
    with pytest.raises(StudioError, match="resume=true"):
        render(avatar, _speech(), tmp_path / "png")
    with pytest.raises(StudioError, match=r"another job; got other .*frames"):
        render(avatar, _speech(3), tmp_path / "png", resume=True)
    counting = _Interrupting(avatar)
    counting.stops = False
    render(counting, _speech(), tmp_path / "png", resume=True)
    assert len(counting.asked) == FRAMES - 2
    whole = render(avatar, _speech(), tmp_path / "whole")
    for index in range(FRAMES):
        name = f"{index:06d}.png"
        assert np.array_equal(read_image(tmp_path / "png" / name), read_image(whole / name))


def test_existing_output_is_not_touched(tmp_path: Path, avatar: Any) -> None:
    (tmp_path / "v.mp4").write_bytes(b"mine")
    (tmp_path / "png").mkdir()
    (tmp_path / "png" / "note.txt").write_text("mine")
    for name in ("v.mp4", "png"):
        for resume in (False, True):
            with pytest.raises(StudioError, match="exists already"):
                render(avatar, _speech(), tmp_path / name, resume=resume)
    (tmp_path / "w.json").write_text("mine")
    with pytest.raises(StudioError, match=r"w\.json exists already"):
        render(avatar, _speech(), tmp_path / "w.mp4")
    assert (tmp_path / "v.mp4").read_bytes() == b"mine"
    assert [path.name for path in (tmp_path / "png").iterdir()] == ["note.txt"]


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path, avatar: Any) -> None:
    other = CodeSpace("flame2023/100", tuple(f"expression_{i}" for i in range(100)), -3.0, 3.0)
    track = CodeTrack(Codes.neutral(other, (2,)), 25.0, torch.ones(2, dtype=torch.bool))
    out = tmp_path / "v.mp4"
    with pytest.raises(StudioError, match="a retargeter flame2023/100 -> arkit52 is needed"):
        render(avatar, Driving(track), out)
    with pytest.raises(StudioError, match="cannot hold alpha"):
        render(avatar, _speech(), out, RenderConfig(alpha=True))
    two = Camera(avatar.camera.viewmats.repeat(2, 1, 1), avatar.camera.Ks.repeat(2, 1, 1), 96, 96)
    with pytest.raises(StudioError, match=r"2 cameras; expected 1, or one for each of 6"):
        render(avatar, _speech(), out, cameras=two)
    with pytest.raises(StudioError, match="no such background: purpel"):
        render(avatar, _speech(), out, RenderConfig(background="purpel"))
    with pytest.raises(StudioError, match="impossible image size"):
        RenderConfig(size=(0, 64))
    assert not list(tmp_path.iterdir())


def test_backgrounds(tmp_path: Path, avatar: Any) -> None:
    assert torch.equal(background("avatar", avatar, 4, 3), torch.ones(3, 4, 3))
    assert torch.allclose(background("#ff8000", avatar, 2, 2)[0, 0], torch.tensor([1.0, 128 / 255, 0.0]))
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = 200  # the middle square
    write_image(tmp_path / "p.png", picture)
    square = background(str(tmp_path / "p.png"), avatar, 20, 20)
    assert torch.allclose(square, torch.full((20, 20, 3), 200 / 255))
    own = replace(avatar, background=torch.rand(96, 96, 3))
    assert torch.equal(background("avatar", own, 96, 96), own.background)
