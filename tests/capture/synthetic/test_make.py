"""Synthetic capture folders: whole, exact, and flawed only as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from capture.synthetic import Flaws, SyntheticConfig, make_synthetic_capture
from capture.synthetic.make import make_subject
from capture.synthetic.rig import FlawedCameras, held_out_cameras, make_rig
from studio.captures import Capture, open_capture, read_cameras
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.kernels.mesh_render import render_mesh
from studio.media.audio import read_wav
from studio.media.depth import encode_depth, read_depth
from studio.media.images import read_image, write_image

SMALL = SyntheticConfig(subject=3, cameras=5, frames=30, fps=10.0, size=64, seed=2)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Capture:
    return open_capture(make_synthetic_capture(tmp_path_factory.mktemp("synthetic") / "a person" / "talk", SMALL))


def test_the_folder_is_whole_and_says_that_it_is_synthetic(capture: Capture) -> None:
    manifest = read_manifest(capture.folder, kind="capture", verify=True)
    assert manifest.synthetic
    assert manifest.code_space == "arkit52"
    assert (len(capture), len(capture.cameras), capture.fps) == (30, 5, 10.0)
    assert capture.audio is not None
    assert read_wav(capture.audio).duration == pytest.approx(3.0, abs=0.01)
    train, views = capture.split("train"), capture.split("novel_view")
    expressions, both = capture.split("novel_expression"), capture.split("novel_view_expression")
    assert set(train.timesteps) == set(views.timesteps)
    assert not set(train.timesteps) & set(expressions.timesteps)
    assert not set(train.cameras) & set(views.cameras)
    assert (both.timesteps, both.cameras) == (expressions.timesteps, views.cameras)
    assert min(map(len, (train.timesteps, views.cameras, expressions.timesteps))) > 0


def test_the_stored_codes_draw_the_stored_images(capture: Capture) -> None:
    track = capture.track("truth")
    head, identity = make_subject(SMALL.head, SMALL.subject)
    assert np.allclose(track.extras["identity"], identity.numpy())
    frame = capture.frame(17, 2)
    vertices = head.vertices(torch.from_numpy(track.extras["identity"]), track.codes[17])
    output = render_mesh(vertices, head, frame.camera)
    background = capture.background(2)
    assert background is not None
    image = output.over(torch.from_numpy(background / 255.0).float())[0].numpy()
    assert np.abs(image - frame.image / 255.0).max() < 0.012
    assert frame.alpha is not None
    assert np.abs(output.alpha[0].numpy() - frame.alpha / 255.0).max() < 0.005
    depth = read_depth(capture.folder / "depth" / "02" / "00017.png")
    assert np.abs(depth - output.depth[0].numpy()).max() < 1e-4
    assert 0.2 < (frame.alpha > 128).mean() < 0.8


def test_depth_survives_sixteen_bits(tmp_path: Path) -> None:
    depth = np.random.default_rng(0).uniform(0.3, 1.9, (8, 9)).astype(np.float32)
    depth[2:4] = 0
    write_image(tmp_path / "d.png", encode_depth(depth))
    read = read_depth(tmp_path / "d.png")
    assert np.abs(read - depth).max() < 2 / 65534
    assert (read[2:4] == 0).all()
    with pytest.raises(StudioError, match="cannot read the depth"):
        read_depth(tmp_path / "nothing.png")


@pytest.mark.parametrize("count", [1, 3, 4, 12, 16, 24])
def test_rigs_of_any_size(count: int) -> None:
    rig = make_rig(count, 100)
    held_out = held_out_cameras(count)
    xy, depth = rig.project(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, -0.12, 0.0]]))
    assert depth.min() > 0.5
    assert ((xy > 0) & (xy < 100)).all()
    assert len(set(held_out)) == len(held_out) <= count // 3
    sideways = rig.centers[:, 0]
    outermost = {int(sideways.argmin()), int(sideways.argmax())}
    assert count < 4 or not outermost & set(held_out)
    if count == 16:
        assert held_out == (3, 6, 11, 15)


def test_flaws_do_what_they_say() -> None:
    grey = np.full((32, 32, 3), 0.4)
    dot = np.zeros((32, 32, 3))
    dot[16, 16] = 1.0

    def seen(image: np.ndarray, timestep: int = 0, **flaws: float) -> np.ndarray:
        return FlawedCameras(Flaws(**flaws), 6, seed=1).expose(image, 1, timestep)

    assert np.array_equal(seen(grey), grey)
    assert seen(grey, noise=0.05).std() == pytest.approx(0.05, rel=0.1)
    assert not np.array_equal(seen(grey, noise=0.05), seen(grey, 1, noise=0.05))
    exposed, cast = seen(grey, exposure=0.5), seen(grey, colour=0.2)
    assert np.ptp(exposed) == 0
    assert exposed[0, 0, 0] != 0.4
    assert np.ptp(cast[0, 0]) > 0.01
    blurred = seen(dot, blur=1.5)
    assert blurred.max() < 0.1
    assert blurred.sum() == pytest.approx(3, rel=0.02)


def test_calibration_errors_are_in_the_cameras_not_in_the_images(tmp_path: Path) -> None:
    config = SyntheticConfig(cameras=3, frames=2, size=32, flaws=Flaws(calibration=0.5))
    flawed = make_synthetic_capture(tmp_path / "flawed", config)
    exact = make_synthetic_capture(tmp_path / "exact", SyntheticConfig(cameras=3, frames=2, size=32))
    names = [f"images/{camera:02d}/00001.png" for camera in range(3)]
    assert all(np.array_equal(read_image(flawed / name), read_image(exact / name)) for name in names)
    said, true = (read_cameras(folder / "cameras.json").viewmats for folder in (flawed, exact))
    relative = said[:, :3, :3] @ true[:, :3, :3].transpose(1, 2)
    angles = torch.rad2deg(torch.arccos(((relative.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2).clamp(max=1)))
    assert (angles > 0.05).all()
    assert (angles < 4).all()


def test_a_rig_with_every_flaw_records_all_the_same(tmp_path: Path) -> None:
    flaws = Flaws(noise=0.02, exposure=0.3, colour=0.1, blur=0.8, calibration=0.3)
    config = SyntheticConfig(cameras=2, frames=1, size=32, script="expressions", flaws=flaws)
    capture = open_capture(make_synthetic_capture(tmp_path / "flawed", config))
    backgrounds = [capture.background(index) for index in range(2)]
    assert backgrounds[0] is not None
    assert backgrounds[1] is not None
    assert abs(backgrounds[0].mean() - backgrounds[1].mean()) > 1
    assert backgrounds[0][:4].std() > 2


def test_bad_settings_and_existing_folders_are_refused(capture: Capture, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="exists already"):
        make_synthetic_capture(capture.folder, SMALL)
    with pytest.raises(StudioError, match="cameras of a synthetic capture; got 0; expected 1 or more"):
        make_synthetic_capture(tmp_path / "x", SyntheticConfig(cameras=0))
    with pytest.raises(StudioError, match="unknown script"):
        make_synthetic_capture(tmp_path / "x", SyntheticConfig(script="dance"))
    assert not (tmp_path / "x").exists()
