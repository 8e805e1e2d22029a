"""Differentiable rasterisation of 3D Gaussians: one public function, gsplat on CUDA and our own kernels on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.errors import StudioError
from studio.kernels import splat_cpu
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow
from studio.kernels.spherical_harmonics import sh_colors
from studio.kernels.splat_project import CULLED, Gaussians, Setup
from studio.kernels.splat_raster import Images

_LEAST = 16  # Gaussians that the CPU kernels take at a time; fewer are padded with invisible ones


@dataclass(frozen=True)
class Screen:
    """Where the Gaussians fell and what the loss wants there, for densification; computed when asked for.

    Leading dimensions are those of the images. Pixels throughout.
    """

    _positions: Callable[[], tuple[Tensor, Tensor]]
    _gradients: Callable[[], tuple[Tensor, Tensor] | None]

    @property
    def means2d(self) -> Tensor:
        """[..., N, 2] projected means, detached."""
        return self._positions()[0]

    @property
    def radii(self) -> Tensor:
        """[..., N] half the longer side of the box outside which α < 1/255; 0 where a Gaussian is not drawn."""
        return self._positions()[1]

    @property
    def means2d_grad(self) -> Tensor | None:
        """[..., N, 2] gradient of the loss to the projected means; None before the backward pass."""
        gradients = self._gradients()
        return None if gradients is None else gradients[0]

    @property
    def means2d_absgrad(self) -> Tensor | None:
        """[..., N, 2] the same with every pixel's contribution taken by magnitude (AbsGS); only with ``absgrad``."""
        gradients = self._gradients()
        return None if gradients is None else gradients[1]


@dataclass(frozen=True)
class SplatRender:
    """Images of [..., C] views ([..., ] if paired).

    Args:
        rgb: [..., C, H, W, 3] premultiplied by alpha.
        alpha: [..., C, H, W].
        depth: [..., C, H, W] expected camera depth in metres, Σ w z / Σ w; 0 where nothing is; empty if not wanted.
        screen: see :class:`Screen`.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    screen: Screen


def rasterize_splats(
    means: Tensor,  # [..., N, 3] world, metres
    quats: Tensor,  # [..., N, 4] wxyz, need not be normalised
    scales: Tensor,  # [..., N, 3] metres (standard deviations)
    opacities: Tensor,  # [..., N] 0..1
    colors: Tensor,  # [..., N, 3], or spherical harmonics [..., N, K, 3] with sh_degree
    camera: Camera,  # C views
    *,
    sh_degree: int | None = None,
    antialiased: bool = False,
    near: float = 0.01,
    paired: bool = False,
    absgrad: bool = False,
    with_depth: bool = True,
    kernels: str = "auto",
) -> SplatRender:
    """Blend Gaussians front to back, as gsplat's ``rasterization(render_mode="RGB+ED")`` does ("RGB" without depth).

    Leading dimensions of the Gaussians are scenes; every scene is seen by every camera, or with ``paired`` scene i by
    camera i alone (then the one leading dimension has length C and the images have no other). Gradients flow to all
    five tensors and to ``camera.viewmats``, and repeat bit by bit.

    Rules: 0.3 pixels² of blur; α is clamped to 0.999 and dropped below 1/255; a pixel ends before its transmittance
    would reach 1e-4; Gaussians nearer than ``near`` metres or with numbers that are not finite are not drawn;
    ``antialiased`` scales opacity by √(det Σ / det(Σ + 0.3 I)); SH colours are max(0, ½ + Σ b c).

    Raises:
        StudioError: shapes or dtypes do not fit, or ``kernels`` is not available.
    """
    splats = (means, quats, scales, opacities, colors)
    batch = _check(splats, camera, sh_degree, paired)
    if choose_kernels(kernels, means.device) == "cuda":
        from studio.kernels.splat_cuda import rasterize_gsplat

        rgb, alpha, depth, positions, gradients = rasterize_gsplat(
            splats, camera, sh_degree, antialiased, near, paired, absgrad, with_depth
        )
        return SplatRender(rgb, alpha, depth, Screen(positions, gradients))
    scenes = [value.reshape(math.prod(batch), *value.shape[len(batch) :]) for value in splats]
    if means.shape[-2] < _LEAST:
        scenes = [_padded(value, _LEAST) for value in scenes]
    repeats = 1 if paired else len(scenes[0])
    viewmats, Ks = camera.viewmats, camera.Ks
    if repeats > 1:
        viewmats, Ks = viewmats.repeat(repeats, 1, 1), Ks.repeat(repeats, 1, 1)
    views_per_scene = 1 if paired else len(camera)
    if sh_degree is not None:
        scenes[4] = sh_colors(scenes[0], scenes[4], viewmats, sh_degree)
    setup = Setup(
        views=len(viewmats),
        views_per_scene=views_per_scene,
        splats=scenes[0].shape[1],
        width=camera.width,
        height=camera.height,
        near=float(near),
        antialiased=bool(antialiased),
        absgrad=bool(absgrad),
        with_depth=bool(with_depth),
        colors_per_view=sh_degree is not None,
    )
    call = _Call(setup, Ks, (*(() if paired else batch), len(camera)), means.shape[-2])
    if torch.is_grad_enabled():
        rgb, alpha, depth = _Rasterize.apply(call, viewmats, *scenes)
    else:
        rgb, alpha, depth = _draw(call, viewmats, scenes, differentiable=False)[0]
    if len(call.leading) > 1:
        rgb, alpha, depth = (image.reshape(*call.leading, *image.shape[1:]) for image in (rgb, alpha, depth))
    return SplatRender(rgb, alpha, depth, Screen(call.positions, call.gradients))


class _Call:
    """One call's settings, and what it leaves for densification."""

    state: splat_cpu.State
    screen_gradient: np.ndarray | None = None  # [V, N, 4]

    def __init__(self, setup: Setup, Ks: Tensor, leading: tuple[int, ...], count: int) -> None:
        self.setup, self.Ks, self.leading, self.count = setup, Ks, leading, count

    def positions(self) -> tuple[Tensor, Tensor]:
        rows = self.state.projected.rows.reshape(self.setup.views, self.setup.splats, -1)
        drawn = self.state.projected.keys.reshape(self.setup.views, self.setup.splats) < CULLED
        radii = np.where(drawn, rows[..., 10:12].max(axis=-1), np.float32(0.0))
        return self.per_view(rows[..., :2].copy()), self.per_view(radii)

    def gradients(self) -> tuple[Tensor, Tensor] | None:
        if self.screen_gradient is None:
            return None
        return self.per_view(self.screen_gradient[..., :2]), self.per_view(self.screen_gradient[..., 2:])

    def per_view(self, values: np.ndarray) -> Tensor:
        """[V, N, …] of the kernels to [..., N, …] of the caller, without padding."""
        shaped = torch.from_numpy(values[:, : self.count])
        return shaped.reshape(*self.leading, self.count, *values.shape[2:])


def _draw(
    call: _Call, viewmats: Tensor, splats: Sequence[Tensor], differentiable: bool
) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Images [V, H, W, …], and the Gaussians as they were read."""
    setup = call.setup
    shape = (setup.views, setup.height, setup.width)
    images = tuple(
        torch.from_numpy(borrow(name, size))
        for name, size in (
            ("rgb", (*shape, 3)),
            ("alpha", shape),
            ("depth", shape if setup.with_depth else (*shape[:1], 0, 0)),
        )
    )
    used = [value.detach().contiguous() for value in splats]
    camera = splat_cpu.camera_rows(viewmats, call.Ks, setup.width, setup.height)
    call.state = splat_cpu.forward(setup, camera, _flat(Gaussians, used), _flat(Images, images), differentiable)
    return images, used


class _Rasterize(torch.autograd.Function):
    """CPU kernels as one differentiable operation over [S, N, …] Gaussians and [V, 4, 4] views."""

    @staticmethod
    def forward(ctx: Any, call: _Call, viewmats: Tensor, *splats: Tensor) -> tuple[Tensor, ...]:
        differentiable = any(ctx.needs_input_grad)
        images, used = _draw(call, viewmats, splats, differentiable)
        if differentiable:
            ctx.call = call
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*used, *images)
        return images

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *given: Tensor | None) -> tuple[Tensor | None, ...]:
        call, saved = ctx.call, ctx.saved_tensors
        cotangents = [torch.zeros_like(image) if v is None else v.contiguous() for v, image in zip(given, saved[5:])]
        gradients, screen, viewmats = splat_cpu.backward(
            call.state,
            _flat(Gaussians, saved[:5]),
            _flat(Images, saved[5:]),
            _flat(Images, cotangents),
        )
        call.screen_gradient = screen
        v_views = torch.nn.functional.pad(torch.from_numpy(viewmats), (0, 0, 0, 1))
        shaped = [torch.from_numpy(array).reshape(value.shape) for array, value in zip(gradients, saved[:5])]
        return (None, v_views, *shaped)


def _flat(kind: Any, tensors: Any) -> Any:
    return kind(*(value.numpy().reshape(-1) for value in tensors))


def _padded(value: Tensor, count: int) -> Tensor:
    """[S, N, …] with zeros after the N Gaussians: opacity 0 is never drawn."""
    missing = value.new_zeros((value.shape[0], count - value.shape[1], *value.shape[2:]))
    return torch.cat((value, missing), dim=1)


def _check(splats: tuple[Tensor, ...], camera: Camera, sh_degree: int | None, paired: bool) -> tuple[int, ...]:
    """The batch shape of the scenes; raises on tensors that do not fit together."""
    means, _, _, _, colors = splats
    batch, count = tuple(means.shape[:-2]), means.shape[-2] if means.ndim > 1 else -1
    tail = (3,) if sh_degree is None else (colors.shape[-2] if colors.ndim > 2 else -1, 3)
    expected = [(*batch, count, 3), (*batch, count, 4), (*batch, count, 3), (*batch, count), (*batch, count, *tail)]
    if [tuple(value.shape) for value in splats] != expected:
        raise StudioError(
            "Gaussians do not fit together",
            got=", ".join(str(tuple(value.shape)) for value in splats),
            expected="means [..., N, 3], quats [..., N, 4], scales [..., N, 3], opacities [..., N], "
            + ("colors [..., N, 3]" if sh_degree is None else "SH coefficients [..., N, K, 3]"),
        )
    if sh_degree is not None and not (0 <= sh_degree <= 3 and (sh_degree + 1) ** 2 <= colors.shape[-2]):
        raise StudioError(
            "spherical harmonics",
            got=f"degree {sh_degree} with {colors.shape[-2]} coefficients",
            expected="degree 0 to 3 and at least (degree + 1)² coefficients",
        )
    if any(value.dtype != torch.float32 for value in splats):
        raise StudioError("Gaussians", got=[str(value.dtype) for value in splats], expected="float32")
    if paired and math.prod(batch) != len(camera):
        raise StudioError("paired scenes and cameras", got=f"{math.prod(batch)} and {len(camera)}", expected="as many")
    return batch
