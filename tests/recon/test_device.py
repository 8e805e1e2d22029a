"""What runs on CUDA, on a device that stands in for it: the same training, batches, avatars and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import recon.avatars.splats
import recon.splat_session
from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.field import FieldConfig
from recon.growth import GrowthConfig
from recon.losses import LossConfig
from recon.splat_session import SplatSession
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.heads.model import HeadModel
from studio.kernels.backends import choose_kernels, device_of
from tests.pretend import Pretend, pretended

SMALL = TrainConfig(
    gaussians=300,
    iterations=6,
    batch=3,
    check_every=3,
    checkpoint_every=3,
    validation=0.2,
    levels=(150,),
    model=FieldConfig(bases=3, hidden=8),
)
EVERYTHING = replace(
    SMALL,
    refine=True,
    camera_colors=True,
    camera_motions=True,
    growth=GrowthConfig(rounds=1, start=0.5),
    loss=LossConfig(temporal=0.1),
)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Another device than the CPU, where kernels=auto finds one."""
    with pretended(monkeypatch) as device:
        for module in (recon.splat_session, recon.avatars.splats):
            monkeypatch.setattr(
                module, "device_of", lambda kernels: torch.device("cpu") if kernels == "cpu" else device
            )
        monkeypatch.setattr(recon.splat_session, "_LEVEL_STEPS", 4)
        yield device


def _assert_same(one: SplatAvatar, two: SplatAvatar) -> None:
    for name, value in one.learned.state_dict().items():
        torch.testing.assert_close(two.learned.state_dict()[name].cpu(), value, rtol=2e-3, atol=2e-4, msg=name)


@pytest.mark.parametrize("config", [EVERYTHING, replace(SMALL, behind="learned")], ids=["everything", "wall"])
def test_batches_elsewhere_learn_what_the_cpu_learns(
    config: TrainConfig, elsewhere: torch.device, capture: Capture, track: CodeTrack, head: HeadModel
) -> None:
    here = SplatSession(capture, track, head, replace(config, kernels="cpu"))
    there = SplatSession(capture, track, head, config)
    assert isinstance(there.avatar.learned.offsets.data, Pretend)
    for session in (here, there):  # where a wall is seen as it is at once, rounding decides the sign of its gradient
        session.objective.backdrop.images.detach().add_(0.05)
    for step in range(4):
        assert there.step(step) == pytest.approx(here.step(step), abs=1e-5)
    assert there.validate(4)["validation_psnr"] == pytest.approx(here.validate(4)["validation_psnr"], abs=1e-3)
    _assert_same(here.avatar, there.avatar)
    avatar, made = there.result()
    assert set(avatar.levels) == {150}
    assert ("cameras" in made) == config.camera_colors


def test_a_run_goes_on_on_another_device_and_its_avatar_plays_on_both(
    elsewhere: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capture: Capture,
    track: CodeTrack,
    head: HeadModel,
) -> None:
    class PowerCut(Exception):
        pass

    def cut(step: object) -> None:
        if getattr(step, "step", 0) == 4:
            raise PowerCut

    for name, first in (("there", False), ("back", True)):  # begins elsewhere and ends here, or the other way round
        monkeypatch.setattr(recon.splat_session, "device_of", _always(elsewhere, first))
        with pytest.raises(PowerCut):
            train(capture, track, head, SMALL, tmp_path / name, cut)
        monkeypatch.setattr(recon.splat_session, "device_of", _always(elsewhere, not first))
        train(capture, track, head, SMALL, tmp_path / name, resume=True)
    folders = [tmp_path / name / "avatar" for name in ("there", "back")]
    one, two = (load_avatar(folder, "cpu") for folder in folders)
    assert isinstance(one, SplatAvatar)
    assert isinstance(two, SplatAvatar)
    _assert_same(one, two)
    assert read_manifest(folders[0], kind="avatar").kernels == "cuda"
    moved = load_avatar(folders[0])
    assert isinstance(moved, SplatAvatar)
    assert moved.device == elsewhere
    shown, expected = moved.render(one.camera, one.codes), one.render(one.camera, one.codes)
    torch.testing.assert_close(shown.rgb.cpu(), expected.rgb, atol=1e-4, rtol=0)
    assert moved.preview().shape == one.preview().shape
    torch.testing.assert_close(moved.gaussians(one.codes).means.cpu(), one.gaussians(one.codes).means)
    assert moved.to(elsewhere) is moved


def _always(elsewhere: torch.device, there: bool):  # type: ignore[no-untyped-def]
    return lambda kernels: elsewhere if there else torch.device("cpu")


def test_tensors_of_two_devices_do_not_meet(elsewhere: torch.device) -> None:
    """The device refuses what CUDA refuses: otherwise the tests above would say nothing."""
    there = torch.ones(3, requires_grad=True).to(elsewhere)
    with pytest.raises(RuntimeError, match="others on the CPU"):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match="numpy"):
        there.detach().numpy()
    assert float((2 * there).sum().detach()) == 6.0


def test_the_device_of_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(StudioError, match="no CUDA device"):
        device_of("cuda")
    with pytest.raises(StudioError, match="unknown kernels"):
        device_of("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert device_of("auto") == device_of("cuda") == torch.device("cuda:1")
    assert choose_kernels("auto", "cuda:1") == "cuda"
