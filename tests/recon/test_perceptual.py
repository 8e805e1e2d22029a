"""LPIPS from files that the user brings: its laws, a value of another implementation, and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from recon.perceptual import Perceptual, PerceptualConfig, load_perceptual
from studio.errors import StudioError

SHAPES = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


@pytest.fixture(scope="module")
def weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random ones, in the layout of the published files."""
    generator, backbone = torch.Generator().manual_seed(0), dict[str, Tensor]()
    for layer, (out, channels, side) in SHAPES.items():
        spread = (2 / (channels * side * side)) ** 0.5
        backbone[f"features.{layer}.weight"] = torch.randn(out, channels, side, side, generator=generator) * spread
        backbone[f"features.{layer}.bias"] = 0.1 * torch.randn(out, generator=generator)
    heads = {
        f"lin{index}.model.1.weight": torch.rand(1, shape[0], 1, 1, generator=generator)
        for index, shape in enumerate(SHAPES.values())
    }
    return backbone, heads


@pytest.fixture
def files(tmp_path: Path, weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> PerceptualConfig:
    """One file of each format, with their sha256."""
    save_file(weights[0], tmp_path / "alex.safetensors")
    torch.save(weights[1], tmp_path / "heads.pth")
    digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("alex.safetensors", "heads.pth")]
    return PerceptualConfig(str(tmp_path / "alex.safetensors"), str(tmp_path / "heads.pth"), digests[0], digests[1][:8])


def test_it_agrees_with_another_implementation(weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    """The values are those of torchmetrics 1.9 for these weights and images."""
    generator = torch.Generator().manual_seed(1)
    one, two = (torch.rand(2, 80, 96, 3, generator=generator) for _ in range(2))
    torch.testing.assert_close(
        Perceptual(*weights)(one, two), torch.tensor([0.95594567, 0.96278495]), atol=1e-5, rtol=0
    )


def test_its_laws(files: PerceptualConfig) -> None:
    """Zero for equal images, the same both ways, larger for more noise; the gradient leads towards the truth."""
    measure = load_perceptual(files)
    assert measure is not None
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(1, 64, 64, 3, generator=generator)
    noise = torch.randn(1, 64, 64, 3, generator=generator)
    near, far = (truth + 0.02 * noise).requires_grad_(), truth + 0.2 * noise
    assert float(measure(truth, truth)) == 0.0
    torch.testing.assert_close(measure(far, truth), measure(truth, far))
    distance = measure(near, truth)
    assert 0 < float(distance.detach()) < float(measure(far, truth))
    distance.sum().backward()
    assert near.grad is not None
    assert float((near.grad * noise).sum()) > 0


def test_without_files_there_is_none_and_what_is_wrong_is_said(files: PerceptualConfig, tmp_path: Path) -> None:
    assert load_perceptual(PerceptualConfig()) is None
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"no tensors")
    digest = hashlib.sha256(b"no tensors").hexdigest()
    for wrong, message in (
        (replace(files, heads=None), "two files"),
        (replace(files, heads=str(tmp_path / "nothing.pth")), "no such file"),
        (replace(files, heads_sha256="0" * 64), "not the published file"),
        (replace(files, heads_sha256=files.heads_sha256[:4]), "not the published file"),
        (replace(files, heads=str(damaged), heads_sha256=digest), "cannot read"),
        (replace(files, backbone=files.heads, backbone_sha256=files.heads_sha256), "no weights of LPIPS"),
    ):
        with pytest.raises(StudioError, match=message):
            load_perceptual(wrong)
    with pytest.raises(StudioError, match="too small"):
        Perceptual(*_opened(files))(torch.zeros(1, 32, 80, 3), torch.zeros(1, 32, 80, 3))


def test_code_in_a_file_is_not_executed(files: PerceptualConfig, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    torch.save({"lin0.model.1.weight": Evil()}, tmp_path / "evil.pth")
    digest = hashlib.sha256((tmp_path / "evil.pth").read_bytes()).hexdigest()
    with pytest.raises(StudioError, match="cannot read"):
        load_perceptual(replace(files, heads=str(tmp_path / "evil.pth"), heads_sha256=digest))
    assert not (tmp_path / "executed").exists()


def _opened(files: PerceptualConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    from safetensors.torch import load_file

    assert files.backbone is not None
    assert files.heads is not None
    return load_file(files.backbone), torch.load(files.heads, weights_only=True)
