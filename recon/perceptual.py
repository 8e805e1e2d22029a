"""LPIPS (Zhang et al. 2018, arXiv 1801.03924): how different two images look to a network that knows photographs.

The weights are the user's: a file of AlexNet as torchvision publishes it, and one of LPIPS's own linear layers
(``weights/v0.1/alex.pth`` of the package ``lpips``). Nothing is downloaded; a file counts when its sha256 is that of
the published one, or one that the user states. Libraries with LPIPS fetch the backbone themselves, unverified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from studio.errors import StudioError

_LAYERS = (
    ("features.0", 4, 2),
    ("features.3", 1, 2),
    ("features.6", 1, 1),
    ("features.8", 1, 1),
    ("features.10", 1, 1),
)
_POOLED_BEFORE = ("features.3", "features.6")
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in -1..1
_EPS = 1e-8
_LEAST_SIDE = 64  # pixels; deeper layers see nothing of smaller images
_LEAST_DIGITS = 8


@dataclass(frozen=True)
class PerceptualConfig:
    """Where the weights of LPIPS lie.

    Args:
        backbone: path of AlexNet's state, .pth or .safetensors; None: LPIPS is off.
        heads: path of LPIPS's linear layers, .pth or .safetensors.
        backbone_sha256: what the file must have, 8 digits or more; that of torchvision's file by default.
        heads_sha256: likewise; that of LPIPS 0.1 by default.
    """

    backbone: str | None = None
    heads: str | None = None
    backbone_sha256: str = "7be5be79"
    heads_sha256: str = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"


class Perceptual:
    """LPIPS with AlexNet, differentiable to both images."""

    def __init__(self, backbone: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        """Args: backbone: "features.<n>.weight" and ".bias"; heads: "lin<n>.model.1.weight" [1, C, 1, 1]."""
        self._convolutions = [
            (backbone[f"{name}.weight"].float(), backbone[f"{name}.bias"].float()) for name, _, _ in _LAYERS
        ]
        self._heads = [heads[f"lin{index}.model.1.weight"].float().reshape(-1) for index in range(len(_LAYERS))]
        for (weight, _), head in zip(self._convolutions, self._heads, strict=True):
            if len(weight) != len(head):
                raise ValueError(f"{len(weight)} channels, {len(head)} weights")

    def to(self, device: torch.device) -> Perceptual:
        """The same networks on a device (changed in place)."""
        self._convolutions = [(weight.to(device), bias.to(device)) for weight, bias in self._convolutions]
        self._heads = [head.to(device) for head in self._heads]
        return self

    def __call__(
        self,
        image: Tensor,  # [B, H, W, 3] sRGB 0..1
        truth: Tensor,  # [B, H, W, 3]
    ) -> Tensor:
        """[B] distances, 0 for equal images.

        Raises:
            StudioError: images smaller than the network needs.
        """
        if min(image.shape[1:3]) < _LEAST_SIDE:
            raise StudioError(
                "images too small for LPIPS", got=tuple(image.shape[1:3]), expected=f"{_LEAST_SIDE} pixels"
            )
        total = image.new_zeros(len(image))
        for one, two, head in zip(self._features(image), self._features(truth), self._heads, strict=True):
            total = total + ((one - two).square() * head[:, None, None]).sum(1).mean((1, 2))
        return total

    def _features(self, image: Tensor) -> list[Tensor]:
        """Activations of the five layers [B, C, h, w], of unit length at each place."""
        x = ((2 * image - 1) - image.new_tensor(_SHIFT)) / image.new_tensor(_SCALE)
        x, features = x.movedim(-1, 1), []
        for (name, stride, padding), (weight, bias) in zip(_LAYERS, self._convolutions, strict=True):
            if name in _POOLED_BEFORE:
                x = functional.max_pool2d(x, 3, 2)
            x = functional.conv2d(x, weight, bias, stride, padding).relu()
            features.append(x / (x.square().sum(1, keepdim=True) + _EPS).sqrt())
        return features


def load_perceptual(config: PerceptualConfig) -> Perceptual | None:
    """LPIPS from the user's files, or None where none are given.

    Raises:
        StudioError: one of the two is missing, is not the published file, or holds something else.
    """
    if config.backbone is None and config.heads is None:
        return None
    if config.backbone is None or config.heads is None:
        raise StudioError("LPIPS needs two files", got="one", expected="backbone and heads")
    backbone = _verified(Path(config.backbone).expanduser(), config.backbone_sha256)
    heads = _verified(Path(config.heads).expanduser(), config.heads_sha256)
    try:
        return Perceptual(backbone, heads)
    except (KeyError, ValueError, AttributeError) as error:
        raise StudioError(
            "these are no weights of LPIPS", got=error, expected="AlexNet's features and LPIPS's linear layers for it"
        ) from error


def _verified(path: Path, sha256: str) -> Mapping[str, Tensor]:
    """The tensors of a file with this sha256; nothing in it is executed."""
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected="weights of LPIPS", next="check the path")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if len(sha256) < _LEAST_DIGITS or not digest.startswith(sha256.lower()):
        raise StudioError(
            f"{path} is not the published file",
            got=f"sha256 {digest}",
            expected=f"sha256 {sha256}",
            next="fetch it again, or state its sha256 if you trust it",
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return tensors
    except Exception as error:  # whatever a damaged file makes of the readers, the user needs one line
        raise StudioError(f"cannot read {path}", got=repr(error), expected="tensors by name") from error
