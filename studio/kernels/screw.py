"""What a deformation field needs around its network: windowed frequencies of points, and screw motions of points.

The encoding is that of Nerfies (Park et al. 2021): sines and cosines of π 2^k x, eased in one after the other; the
motion is the exponential of a twist (w, v): a rotation about w by its length, and v carried along.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels import screw_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.tensors import flat


def ease_window(
    reach: float,
    bands: int,
) -> Tensor:
    """[bands] weights 0..1 of which the first ``reach`` are let in: (1 - cos(π clamp(reach - k, 0, 1))) / 2."""
    return 0.5 * (1.0 - torch.cos(math.pi * (reach - torch.arange(bands)).clamp(0.0, 1.0)))


def encode_frequencies(
    points: Tensor,  # [S, 3], about -1..1
    codes: Tensor,  # [C, D]
    index: Tensor,  # [S] int64 in 0..C - 1
    window: Tensor,  # [K]
    width: int,
    *,
    kernels: str = "auto",
) -> Tensor:
    """[S, width]: x, then w_k sin(π 2^k x), w_k cos(π 2^k x) for each k, then the sample's code, then zeros.

    Gradients flow to the codes only: points are where a camera looks, and not learned.

    Raises:
        StudioError: shapes do not fit, or ``kernels`` is not available.
    """
    if points.ndim != 2 or points.shape[1] != 3 or codes.ndim != 2 or index.shape != points.shape[:1]:
        got = [tuple(value.shape) for value in (points, codes, index)]
        raise StudioError("points to encode", got=got, expected="points [S, 3], codes [C, D], index [S]")
    if width < 3 + 6 * len(window) + codes.shape[1]:
        least = 3 + 6 * len(window) + codes.shape[1]
        raise StudioError("width of an encoding", got=width, expected=f"{least} or more")
    if choose_kernels(kernels, points.device) == "cuda":
        return encode_frequencies_reference(points, codes, index, window, width)
    encoded: Tensor = _Encode.apply(points.detach(), codes, index, window, width)
    return encoded


def encode_frequencies_reference(points: Tensor, codes: Tensor, index: Tensor, window: Tensor, width: int) -> Tensor:
    """The same in plain torch, of any float type and device."""
    angles = math.pi * points[:, None] * 2.0 ** torch.arange(len(window), device=points.device)[:, None]  # [S, K, 3]
    waves = torch.stack((angles.sin(), angles.cos()), dim=2) * window.to(points)[:, None, None]
    parts = (points, waves.flatten(1), codes[index])
    return torch.nn.functional.pad(torch.cat(parts, dim=1), (0, width - sum(part.shape[1] for part in parts)))


def move_points(
    points: Tensor,  # [S, 3]
    screws: Tensor,  # [S, W], W at least 6: w, v, then what is not looked at
    *,
    kernels: str = "auto",
) -> Tensor:
    """[S, 3] points moved by exp of their twist (w, v). Gradients flow to both and repeat bit by bit on the CPU.

    Raises:
        StudioError: shapes do not fit, or ``kernels`` is not available.
    """
    if (
        points.ndim != 2
        or points.shape[1] != 3
        or screws.ndim != 2
        or len(screws) != len(points)
        or screws.shape[1] < 6
    ):
        got = f"{tuple(points.shape)}, {tuple(screws.shape)}"
        raise StudioError("points to move", got=got, expected="points [S, 3] and screws [S, 6]")
    if choose_kernels(kernels, points.device) == "cuda":
        return move_points_reference(points, screws)
    moved: Tensor = _Move.apply(points, screws)
    return moved


def move_points_reference(points: Tensor, screws: Tensor) -> Tensor:
    """The same in plain torch, by the matrix exponential, of any float type and device."""
    w, v = screws[:, :3], screws[:, 3:6]
    zero = torch.zeros_like(w[:, 0])
    x, y, z = w.unbind(1)
    rows = [[zero, -z, y, v[:, 0]], [z, zero, -x, v[:, 1]], [-y, x, zero, v[:, 2]], [zero, zero, zero, zero]]
    motion = torch.linalg.matrix_exp(torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1))
    return (motion[:, :3, :3] @ points[..., None])[..., 0] + motion[:, :3, 3]


class _Encode(torch.autograd.Function):
    """CPU kernel of ``encode_frequencies``."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, codes: Tensor, index: Tensor, window: Tensor, width: int) -> Tensor:
        ctx.shape, ctx.start = codes.shape, 3 + 6 * len(window)
        ctx.save_for_backward(index)
        out = torch.from_numpy(borrow("screw_encoded", (len(points), width)))
        own = codes.detach().contiguous().numpy()
        screw_cpu.encode(flat(points), own, flat(index), flat(window.float()), out.numpy())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        own = given[:, ctx.start : ctx.start + ctx.shape[1]]
        return None, given.new_zeros(ctx.shape).index_add_(0, ctx.saved_tensors[0], own), None, None, None


class _Move(torch.autograd.Function):
    """CPU kernels of ``move_points``."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, screws: Tensor) -> Tensor:
        ctx.save_for_backward(points, screws)
        out = torch.from_numpy(borrow("screw_moved", (len(points), 3)))
        screw_cpu.move(flat(points), screws.detach().contiguous().numpy(), flat(out))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor, Tensor]:
        points, screws = ctx.saved_tensors
        by_points = torch.from_numpy(borrow("screw_by_points", tuple(points.shape)))
        by_screws = torch.from_numpy(borrow("screw_by_screws", tuple(screws.shape)))
        own = screws.detach().contiguous().numpy()
        screw_cpu.move_backward(flat(points), own, flat(given), flat(by_points), by_screws.numpy())
        return by_points, by_screws
