"""What every avatar representation keeps: found by discovery, tried on its example in avatar_examples.py."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon.avatars import avatar_kinds, load_avatar
from reenact.exporters import Subject, export
from reenact.exporters.ply import Ply
from studio.avatar import Avatar, RenderOutput
from studio.cameras import Camera
from studio.codes import Codes, CodeSpace
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.splats import Splats
from tests.contracts.avatar_examples import EXAMPLES


@pytest.fixture(params=avatar_kinds(), scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert request.param in EXAMPLES, f"avatar {request.param} needs an example in tests/contracts/avatar_examples.py"
    made = EXAMPLES[request.param](tmp_path_factory.mktemp(request.param))
    alone = tmp_path_factory.mktemp("alone") / "avatar"
    shutil.move(made, alone)  # neither run nor capture are beside it any more
    return alone


@pytest.fixture(scope="module")
def avatar(folder: Path) -> Avatar:
    return load_avatar(folder)


def _check(output: RenderOutput, camera: Camera) -> None:
    shape = (len(camera), camera.height, camera.width)
    assert output.rgb.shape == (*shape, 3)
    assert output.alpha.shape == output.depth.shape == shape
    assert not output.rgb.requires_grad
    for image in (output.rgb, output.alpha, output.depth):
        assert image.dtype == torch.float32
        assert bool(torch.isfinite(image).all())
    assert float(output.alpha.min()) >= 0
    assert float(output.alpha.max()) <= 1
    assert bool((output.rgb[output.alpha == 0] == 0).all())


def test_renders_what_it_says_of_itself(avatar: Avatar) -> None:
    assert isinstance(avatar, Avatar)
    output = avatar.render(avatar.camera, avatar.codes)
    _check(output, avatar.camera)
    assert float(output.alpha.max()) > 0.2
    assert float(output.depth.max()) > 0


def test_renders_any_number_of_cameras_of_any_size(avatar: Avatar) -> None:
    camera = avatar.camera.resized(33, 21)
    several = Camera(camera.viewmats.repeat(3, 1, 1), camera.Ks.repeat(3, 1, 1), 33, 21)
    output = avatar.render(several, avatar.codes)
    _check(output, several)
    assert torch.equal(output.rgb[0], output.rgb[2])


def test_no_code_breaks_it(avatar: Avatar) -> None:
    extreme = avatar.codes.with_channels(**dict.fromkeys(avatar.space.channels, avatar.space.high))
    extreme = replace(extreme, neck_pose=torch.tensor([1.0, -1.5, 1.0]), neck_translation=torch.tensor([0.1, 0.0, 0.0]))
    _check(avatar.render(avatar.camera, extreme), avatar.camera)


def test_two_threads_may_render_at_once(avatar: Avatar) -> None:
    states = [avatar.codes, avatar.codes.with_channels(**dict.fromkeys(avatar.space.channels, avatar.space.high))] * 4
    alone = [avatar.render(avatar.camera, state).rgb for state in states[:2]]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda state: avatar.render(avatar.camera, state).rgb, states))
    assert all(torch.equal(rgb, alone[index % 2]) for index, rgb in enumerate(together))


def test_codes_of_another_space_are_refused(avatar: Avatar) -> None:
    with pytest.raises(StudioError, match="another space"):
        avatar.render(avatar.camera, Codes.neutral(CodeSpace("other", ("grin", "frown"))))


def test_loading_twice_gives_the_same_picture(avatar: Avatar, folder: Path) -> None:
    again = load_avatar(folder)
    first, second = (a.render(a.camera, a.codes).rgb for a in (avatar, again))
    assert torch.equal(first, second)


def test_gaussians_can_be_taken_out_or_there_are_none(avatar: Avatar, tmp_path: Path) -> None:
    if not hasattr(avatar, "gaussians"):
        with pytest.raises(StudioError, match="cannot be exported as Gaussians"):
            export(Ply(), Subject(avatar), tmp_path / "avatar.ply")
        return
    splats = avatar.gaussians(avatar.codes)
    assert isinstance(splats, Splats)
    count = len(splats)
    shapes = [tuple(v.shape) for v in (splats.means, splats.quats, splats.scales, splats.opacities)]
    assert shapes == [(count, 3), (count, 4), (count, 3), (count,)]
    assert splats.sh.shape[0] == count
    assert splats.sh.shape[2] == 3


def test_the_folder_says_what_it_is(folder: Path, avatar: Avatar) -> None:
    manifest = read_manifest(folder, kind="avatar", verify=True)
    assert manifest.synthetic
    assert manifest.code_space == avatar.space.name
    assert {"weights.safetensors", "preview.png"} <= set(manifest.files)


def test_missing_or_damaged_files_are_one_line(folder: Path, tmp_path: Path) -> None:
    for damage in ("missing", "damaged"):
        broken = tmp_path / damage
        shutil.copytree(folder, broken)
        weights = broken / "weights.safetensors"
        weights.unlink() if damage == "missing" else weights.write_bytes(weights.read_bytes()[:200])
        with pytest.raises(StudioError) as caught:
            load_avatar(broken)
        assert "\n" not in str(caught.value)
