"""Smaller files: the weights of an avatar in 16 or 8 bits.

16 bits: halves (float16). 8 bits: per-channel affine quantisation: value = low + step * code, with a code of one byte
for each Gaussian and a low and a step for each channel. Places are kept in 16 bits, since an error of 1/500 of their
range would be seen, and so is what is small. Integers take 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from studio.errors import StudioError

BITS = (32, 16, 8)
_LEAST = 1024  # values; what has fewer stays as it is
_IN_MEMORY = {torch.float16: torch.float32, torch.int32: torch.int64}
_LOW, _STEP = ".low", ".step"
# Tensors that get a byte for each value, by the end of their name, and their number of channels (the last dimension, in
# which the values of a Gaussian lie side by side).
_BYTES = {"/quats": 4, "/log_scales": 3, "/opacity_logits": 1, "/colors": 3, "/bases": 11, "/expression_basis": 3}
_WHOLE = ("camera/", "range/", "statistics/")  # few numbers that everything hangs on


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, which may come from anybody.

    Raises:
        SafetensorError, OSError: it is damaged or missing.
        ValueError: a weight that is no finite number.
    """
    tensors = load_file(path)
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} is not finite")
    return tensors


def grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors named "group/name", by group and name."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = value
    return groups


@contextmanager
def reading_avatar(folder: Path) -> Iterator[None]:
    """Whatever a damaged file makes of the readers inside of this, the user gets one line: a StudioError."""
    try:
        yield
    except StudioError:
        raise
    except Exception as error:
        raise StudioError(
            f"damaged avatar: {folder}",
            got=repr(error),
            expected="files as written by studio train",
            next="restore or retrain it",
        ) from error


def packed(tensors: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Named tensors as they are stored with a number of bits.

    Raises:
        StudioError: no such number of bits.
    """
    if bits not in BITS:
        raise StudioError("no storage of so many bits", got=bits, expected=" | ".join(map(str, BITS)))
    stored: dict[str, Tensor] = {}
    for name, value in tensors.items():
        channels = next((count for end, count in _BYTES.items() if name.endswith(end)), None)
        if bits < 32 and value.dtype == torch.int64:
            stored[name] = value.int()
        elif bits == 32 or not value.is_floating_point() or value.numel() < _LEAST or name.startswith(_WHOLE):
            stored[name] = value
        elif bits == 8 and channels is not None:
            stored[name], stored[name + _LOW], stored[name + _STEP] = quantised(value, channels)
        else:
            stored[name] = value.half()
    return stored


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``packed``, as float32 and int64."""
    tensors = {}
    for name, value in stored.items():
        if name + _STEP in stored:
            tensors[name] = dequantised(value, stored[name + _LOW], stored[name + _STEP])
        elif not name.endswith((_LOW, _STEP)):
            tensors[name] = value.to(_IN_MEMORY.get(value.dtype, value.dtype))
    return tensors


def quantised(
    values: Tensor,  # float, [N] for C = 1, [N, C], [K, N, C] or [K, N * C]
    channels: int,  # C
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes (uint8, the shape of the values), and low and step [C] or [K, C]; errors are at most half a step."""
    lead = values.shape[:-1] if values.shape[-1] != channels else values.shape[:-2]
    rows = values.reshape(*lead, -1, channels)
    low, high = rows.amin(-2), rows.amax(-2)
    step = (high - low) / 255
    codes = ((rows - low[..., None, :]) / step.clamp(min=1e-30)[..., None, :]).round().clamp(0, 255)
    return codes.to(torch.uint8).reshape(values.shape), low, step


def dequantised(codes: Tensor, low: Tensor, step: Tensor) -> Tensor:
    """Inverse of ``quantised`` but for the error."""
    rows = codes.reshape(*low.shape[:-1], -1, low.shape[-1]).float()
    return (low[..., None, :] + step[..., None, :] * rows).reshape(codes.shape)
