"""A driven frame up to the rasteriser: a posed mesh, places on its triangles, and the Gaussians that hang there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.kernels.backends import choose_kernels
from studio.kernels.basis_gradient import BasisGradient
from studio.kernels.buffers import borrow, borrow_together
from studio.kernels.drive_carry import CHANNELS, CHUNK, Activated, Blend, Gains, Raw, carry, carry_backward
from studio.kernels.drive_pose import (
    LEAST_STRETCH,
    MOST_STRETCH,
    Anchored,
    Places,
    Skin,
    place_anchors,
    pose_vertices,
)
from studio.kernels.drive_reference import carry_reference
from studio.kernels.workers import run, worker_count

LEAST = 16  # Gaussians that the CPU kernels take at a time; fewer go through plain torch

__all__ = ["CHANNELS", "LEAST", "LEAST_STRETCH", "MOST_STRETCH", "Gains", "SkinnedPlaces", "carry_splats"]


class SkinnedPlaces:
    """N places on the triangles of a skinned mesh, packed for posing on the CPU; N >= 16."""

    def __init__(
        self,
        template: Tensor,  # [V, 3] metres
        expression_basis: Tensor,  # [E, V, 3]
        skin_weights: Tensor,  # [V, J]
        corners: Tensor,  # [N, 3] vertices of the triangles
        bary: Tensor,  # [N, 3]
        rest_area: Tensor,  # [N] m² of the triangles at rest, > 0
    ) -> None:
        self._skin = _packed(template, expression_basis, skin_weights)
        self._places = Places(
            corners.int().numpy().reshape(-1), bary.float().numpy().reshape(-1), (1 / rest_area).float().numpy()
        )

    def pose(
        self,
        expression: np.ndarray,  # [E] float32
        transforms: np.ndarray,  # [J, 3, 4] float32, what each joint does to the points bound to it
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Origins [N, 3], frames as unit quaternions [N, 4], and stretch [N] of the places; see ``Anchored``."""
        workers, count = worker_count(), len(self._places.inverse_area)
        vertices = borrow("posed_vertices", len(self._skin.template))
        run(pose_vertices, workers, self._skin, expression, transforms.reshape(-1), vertices)
        shapes: dict[str, tuple[int, ...]] = {"origins": (count, 3), "quats": (count, 4), "stretch": (count,)}
        arrays = borrow_together("anchors", {name: (shape, np.float32) for name, shape in shapes.items()})
        anchors = [torch.from_numpy(array) for array in arrays.values()]
        run(place_anchors, workers, self._places, vertices, _flat(Anchored, anchors))
        return anchors[0], anchors[1], anchors[2]


def _packed(template: Tensor, expression_basis: Tensor, skin_weights: Tensor) -> Skin:
    missing = -len(template) % 16
    blocks = (len(template) + missing) // 16

    def blocked(values: Tensor) -> Tensor:
        """[..., V, D] to [..., B, D, 16]."""
        padded = torch.nn.functional.pad(values.float(), (0, 0, 0, missing))
        return padded.unflatten(-2, (blocks, 16)).transpose(-1, -2).contiguous()

    moves = blocked(expression_basis).transpose(0, 1)  # [B, E, 3, 16]
    moving = moves.abs().amax(dim=(2, 3)) > 0
    first = np.concatenate(([0], moving.sum(dim=1).cumsum(0).numpy())).astype(np.int64)
    channels = moving.nonzero()[:, 1].int().numpy()
    packed = [value.numpy().reshape(-1) for value in (blocked(template), blocked(skin_weights), moves[moving])]
    return Skin(template=packed[0], weights=packed[1], first=first, channels=channels, moves=packed[2])


def carry_splats(
    gains: Gains,
    anchors: tuple[Tensor, Tensor, Tensor],  # origins [..., N, 3], unit quats [..., N, 4], stretch [..., N]
    raw: tuple[
        Tensor, ...
    ],  # offsets [N, 3], quats [N, 4], log_scales [N, 3], opacity_logits [N], colors [N, 3], bases
    weights: Tensor,  # [..., P, K] of the bases, for each part of the head
    parts: Tensor,  # [N] int64, which row of the weights a Gaussian takes
    kernels: str = "auto",
    basis_gradient: BasisGradient | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The Gaussians that hang on anchors: means, quats, scales, opacities and colours, as ``rasterize_splats`` wants.

    With c = weights[part] · bases (corrections of position, rotation, colour and opacity, times their ``gains``) and
    s = unit · stretch: mean = origin + s R (offset + c), quat = frame · (quat/|quat| + c), scale = s · min(largest,
    exp(log_scale)), opacity = sigmoid(logit + c), colour = max(0, colour + c). Gradients flow to all tensors and repeat
    bit by bit. float64 tensors, and several states at once (anchors and weights with leading dimensions, which those of
    the result are), go through the plain torch form that CUDA takes. Where the CPU kernels work and somebody collects
    the gradient of the bases in ``basis_gradient``, it goes there, as factors, and not to the tensor.

    Raises:
        StudioError: shapes do not fit together, or ``kernels`` is not available.
    """
    count, batch = len(raw[0]), tuple(weights.shape[:-2])
    expected = [(count, 3), (count, 4), (count, 3), (count,), (count, 3), (weights.shape[-1], count * CHANNELS)]
    expected += [(*batch, count, 3), (*batch, count, 4), (*batch, count), (count,)]
    if (got := [tuple(value.shape) for value in (*raw, *anchors, parts)]) != expected:
        raise StudioError("Gaussians and their anchors do not fit together", got=got, expected=expected)
    chosen = choose_kernels(kernels, raw[0].device)
    if chosen == "cuda" or batch or count < LEAST or raw[0].dtype != torch.float32:
        means, quats, scales, opacities, colors = carry_reference(gains, anchors, raw, weights, parts)
    else:
        given = (*anchors, *raw, weights)
        if torch.is_grad_enabled():
            means, quats, scales, opacities, colors = _Carry.apply(gains, basis_gradient, parts, *given)
        else:
            means, quats, scales, opacities, colors = _carried(gains, parts, given)[0]
    return means, quats, scales, opacities, colors


def _carried(
    gains: Gains, parts: Tensor, given: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], list[Tensor], np.ndarray]:
    """Gaussians, the tensors as they were read, and the corrections [N * CHANNELS]."""
    used = [value.detach().contiguous() for value in given]
    count = len(used[0])
    shapes: dict[str, tuple[int, ...]] = {
        "means": (count, 3),
        "quats": (count, 4),
        "scales": (count, 3),
        "opacities": (count,),
    }
    shapes["colors"] = (count, 3)
    arrays = borrow_together("carried", {name: (shape, np.float32) for name, shape in shapes.items()})
    out = tuple(torch.from_numpy(array) for array in arrays.values())
    anchors, raw, blend = _split(used, parts)
    corrections = borrow("corrections", count * CHANNELS)
    run(carry, worker_count(), gains, anchors, raw, blend, corrections, _flat(Activated, out))
    return out, used, corrections


class _Carry(torch.autograd.Function):
    """The CPU kernels as one differentiable operation."""

    @staticmethod
    def forward(
        ctx: Any, gains: Gains, basis_gradient: BasisGradient | None, parts: Tensor, *given: Tensor
    ) -> tuple[Tensor, ...]:
        out, used, corrections = _carried(gains, parts, given)
        if any(ctx.needs_input_grad):
            ctx.gains, ctx.corrections, ctx.basis_gradient = gains, corrections, basis_gradient
            ctx.save_for_backward(*used, parts)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor | None, ...]:
        *saved, parts = ctx.saved_tensors
        asked, wanted = ctx.needs_input_grad[3:6], ctx.needs_input_grad[11]
        sink = ctx.basis_gradient if wanted else None
        anchors, raw, blend = _split(saved, parts)
        shapes = [tuple(value.shape) for value in saved[3:9]]
        if sink is not None or not wanted:
            shapes[-1] = (0,)
        arrays = borrow_together("v_raw", {f"{i}": (shape, np.float32) for i, shape in enumerate(shapes)})
        gradients = [torch.from_numpy(array) for array in arrays.values()]
        v_corrections = borrow("v_corrections", 0 if sink is None else len(ctx.corrections))
        v_anchors = [
            torch.from_numpy(borrow(f"v_anchor_{i}", tuple(value.shape) if any(asked) else 0))
            for i, value in enumerate(saved[:3])
        ]
        partial = borrow("v_weights", (-(-len(saved[0]) // CHUNK), len(blend.weights)))
        run(
            carry_backward,
            worker_count(),
            ctx.gains,
            anchors,
            raw,
            blend,
            ctx.corrections,
            _flat(Activated, [value.contiguous() for value in given]),
            _flat(Raw, gradients),
            _flat(Anchored, v_anchors),
            v_corrections,
            partial.reshape(-1),
        )
        v_weights = torch.from_numpy(partial.sum(axis=0, dtype=np.float64).astype(np.float32)).view_as(saved[9])
        if sink is not None:
            sink.products.append((saved[9], parts, torch.from_numpy(v_corrections)))
        v_bases = gradients.pop() if gradients[-1].shape == saved[8].shape else None
        v_anchors_asked = (v if ask else None for v, ask in zip(v_anchors, asked))
        return (None, None, None, *v_anchors_asked, *gradients[:5], v_bases, v_weights)


def _flat(kind: Any, tensors: Any) -> Any:
    return kind(*(value.numpy().reshape(-1) for value in tensors))


def _split(tensors: Sequence[Tensor], parts: Tensor) -> tuple[Anchored, Raw, Blend]:
    blend = Blend(tensors[9].numpy().reshape(-1), parts.numpy())
    return _flat(Anchored, tensors[:3]), _flat(Raw, tensors[3:9]), blend
