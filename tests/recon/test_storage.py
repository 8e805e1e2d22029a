"""Smaller storage: errors within their bounds, files within their sizes, avatars that load alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.metrics import psnr
from recon.storage import dequantised, packed, quantised, unpacked
from recon.train import train
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, read_manifest
from studio.heads.model import HeadModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, capture: Capture, track: CodeTrack, head: HeadModel) -> Path:
    config = TrainConfig(gaussians=1500, iterations=30, levels=(500,))
    return train(capture, track, head, config, tmp_path_factory.mktemp("runs") / "stored")


def test_codes_worked_by_hand() -> None:
    values = torch.tensor([[0.0, -1.0], [1.0, 4.1], [0.5, 1.55]])
    codes, low, step = quantised(values, 2)
    assert low.tolist() == [0.0, -1.0]
    torch.testing.assert_close(step, torch.tensor([1 / 255, 0.02]))
    assert codes[:2].tolist() == [[0, 0], [255, 255]]
    assert codes[2].tolist() in ([127, 127], [127, 128], [128, 127], [128, 128])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([((40,), 1), ((30, 4), 4), ((3, 20 * 11), 11), ((2, 9, 3), 3)]))
def test_errors_are_at_most_half_a_step(seed: int, shape: tuple[tuple[int, ...], int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape[0], generator=generator) * 10 ** float(torch.randn(1, generator=generator))
    codes, low, step = quantised(values, shape[1])
    assert codes.dtype == torch.uint8
    assert codes.shape == values.shape
    rows = (dequantised(codes, low, step) - values).reshape(*low.shape[:-1], -1, shape[1]).abs()
    assert (rows <= 0.5001 * step[..., None, :] + 1e-6 * values.abs().max()).all()


def test_what_never_changes_comes_back_exactly() -> None:
    values = torch.full((50, 3), 0.7)
    torch.testing.assert_close(dequantised(*quantised(values, 3)), values, rtol=0, atol=0)


def test_packing_keeps_names_types_and_what_is_small() -> None:
    tensors = {
        "learned/bases": torch.randn(4, 400 * 11),
        "learned/offsets": torch.randn(400, 3),
        "learned/weights/layers.0.weight": torch.randn(8, 8),
        "binding/faces": torch.arange(2000),
        "camera/Ks": torch.randn(1, 3, 3),
        "background/image": torch.zeros(64, 64, 3, dtype=torch.uint8),
    }
    for bits in (32, 16, 8):
        restored = unpacked(packed(tensors, bits))
        assert {name: value.dtype for name, value in restored.items()} == {n: v.dtype for n, v in tensors.items()}
        for name in ("learned/weights/layers.0.weight", "binding/faces", "camera/Ks", "background/image"):
            assert torch.equal(restored[name], tensors[name])
        torch.testing.assert_close(restored["learned/offsets"], tensors["learned/offsets"], rtol=1e-3, atol=1e-6)
    with pytest.raises(StudioError, match="so many bits; got 12"):
        packed(tensors, 12)


@pytest.mark.parametrize(("bits", "size", "quality"), [(16, 0.55, 50.0), (8, 0.33, 40.0)])
def test_a_small_avatar_loads_alone_and_looks_the_same(
    folder: Path, tmp_path: Path, bits: int, size: float, quality: float
) -> None:
    whole = load_avatar(folder)
    assert isinstance(whole, SplatAvatar)
    whole.save(tmp_path / "small", Manifest(kind="avatar"), bits)
    small = load_avatar(tmp_path / "small")
    assert isinstance(small, SplatAvatar)
    assert read_manifest(tmp_path / "small", kind="avatar", verify=True).body["bits"] == bits
    bytes_of = [(where / "weights.safetensors").stat().st_size for where in (tmp_path / "small", folder)]
    assert bytes_of[0] < size * bytes_of[1]
    codes = whole.codes.with_channels(jawOpen=0.7, browInnerUp=0.4)
    assert psnr(small.render(whole.camera, codes).rgb, whole.render(whole.camera, codes).rgb) > quality
    assert set(small.levels) == set(whole.levels)
