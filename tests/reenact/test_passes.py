"""Folders for compositing: EXR in linear light, depth and alpha as images of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from reenact.drivers import Driving
from reenact.render import render
from reenact.render_config import RenderConfig
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.media.depth import read_depth
from studio.media.images import read_image
from studio.media.passes import linear, write_exr
from studio.media.video_reader import read_timecode


def _read_exr(path: Path) -> np.ndarray:
    """[H, W, 4] or [H, W] float32 of an EXR as FFmpeg decodes it."""
    decoder: Any = av.CodecContext.create("exr", "r")
    frame = [*decoder.decode(av.Packet(path.read_bytes())), *decoder.decode(None)][0]
    shape = (frame.height, frame.width)
    planes = [np.frombuffer(plane, np.float32).reshape(shape[0], -1)[:, : shape[1]] for plane in frame.planes]
    return planes[0] if len(planes) == 1 else np.stack([planes[i] for i in (2, 0, 1, 3)], axis=-1)


def _driving(avatar: Any, **more: Any) -> Driving:
    codes = Codes.neutral(batch=(2,)).with_channels(jawOpen=torch.tensor([0.0, 0.5]))
    return Driving(CodeTrack(codes, 25.0, torch.ones(2, dtype=torch.bool)), **more)


def test_linear_light_by_hand() -> None:
    # IEC 61966-2-1: 0.04045 / 12.92 at the seam, ((0.5 + 0.055) / 1.055) ** 2.4 in the middle.
    np.testing.assert_allclose(linear(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.00313080, 0.21404114, 1], atol=1e-7)


def test_exr_comes_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    alpha = random.random((7, 13, 1)).astype(np.float32)
    straight = random.random((7, 13, 3)).astype(np.float32)
    write_exr(tmp_path / "a.exr", np.concatenate((straight * alpha, alpha), -1))
    wanted = np.concatenate((linear(straight) * alpha, alpha), -1)
    np.testing.assert_allclose(_read_exr(tmp_path / "a.exr"), wanted, atol=1e-5)
    write_exr(tmp_path / "b.exr", 2.5 * alpha[..., 0])
    np.testing.assert_array_equal(_read_exr(tmp_path / "b.exr"), 2.5 * alpha[..., 0])


@pytest.mark.parametrize("images", ["png", "exr"])
def test_passes_lie_beside_the_pictures(avatar: Any, tmp_path: Path, images: Any) -> None:
    config = RenderConfig(size=(48, 40), alpha=True, images=images, passes=("depth", "alpha"))
    render(avatar, _driving(avatar), tmp_path / "frames", config)
    truth = avatar.render(avatar.camera.resized(48, 40), Codes.neutral().with_channels(jawOpen=0.5))
    names = {path.relative_to(tmp_path / "frames").as_posix() for path in (tmp_path / "frames").rglob(f"*.{images}")}
    assert names == {f"{folder}{i:06d}.{images}" for folder in ("", "depth/", "alpha/") for i in range(2)}
    path = tmp_path / "frames/depth" / f"000001.{images}"
    depth = read_depth(path) if images == "png" else _read_exr(path)
    shown = avatar.render(avatar.camera, avatar.codes).depth
    assert depth.shape == (40, 48)
    assert abs(depth[depth > 0].mean() - float(shown[shown > 0].mean())) < 0.05
    path = tmp_path / "frames/alpha" / f"000001.{images}"
    alpha = read_image(path, gray=True) / 255 if images == "png" else _read_exr(path)
    assert abs(alpha.mean() - float(truth.alpha.mean())) < 0.2
    if images == "exr":
        picture = _read_exr(tmp_path / "frames/000001.exr")
        np.testing.assert_allclose(picture[..., 3], alpha, atol=1e-6)
        assert (picture[..., :3] <= alpha[..., None] + 1e-5).all()  # premultiplied


def test_videos_keep_alpha_and_timecode(avatar: Any, tmp_path: Path) -> None:
    config = RenderConfig(size=(48, 40), alpha=True)
    render(avatar, _driving(avatar, timecode="01:00:00:00"), tmp_path / "a.mov", config)
    assert read_timecode(tmp_path / "a.mov") == "01:00:00:00"
    with av.open(str(tmp_path / "a.mov")) as container:
        frame = next(container.decode(video=0))
        alpha = frame.reformat(format="rgba").to_ndarray()[..., 3]
    assert alpha.min() < 10 < 245 < alpha.max()
    with pytest.raises(StudioError, match="cannot hold alpha"):
        render(avatar, _driving(avatar), tmp_path / "a.mp4", config)
    with pytest.raises(StudioError, match="passes need a folder"):
        render(avatar, _driving(avatar), tmp_path / "b.mp4", RenderConfig(passes=("depth",)))
    # Without the library of C2PA a signed note lies beside the video.
    assert {path.name for path in tmp_path.iterdir()} - {"a.mov.provenance.json"} == {"a.json", "a.mov"}
