"""A device that is not the CPU, for machines without a GPU: it computes on the CPU, and refuses what CUDA refuses.

A tensor on it wraps one on the CPU. An operation that meets tensors of both devices raises, and so does ``numpy``; so a
computation that runs here, with right values, runs on CUDA too, as far as devices go. What CUDA's libraries do is stood
in for by functions of the same signature (``standing_in``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"


class Pretend(torch.Tensor):
    """A tensor on the device."""

    raw: Tensor

    @staticmethod
    def __new__(cls, raw: Tensor) -> Pretend:
        made = torch.Tensor._make_wrapper_subclass(
            cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype, device=DEVICE
        )
        made.raw = raw
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Pretend({self.raw})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(function, args, kwargs or {})


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(function, args, kwargs or {})


def _registered() -> tuple[torch.device, torch.library.Library]:
    """The device, and what torch forgets when nobody holds it."""
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("aten", "IMPL")  # tensors made of Python lists come past the watch below
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("copy_", _copy, "PrivateUse1")
    return torch.device(NAME, 0), library


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> Tensor:
    return Pretend(torch.empty_strided(size, stride, dtype=dtype))


def _copy(into: Any, source: Any, non_blocking: bool = False) -> Tensor:
    _plain(into).copy_(_plain(source))
    return into


DEVICE, _LIBRARY = _registered()  # when tests are collected: the first backward pass of a process fixes the devices


def _call(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    there = any(isinstance(value, Pretend) for value in tensors)
    copies = function is torch.ops.aten.copy_.default
    strange = [value for value in tensors if not isinstance(value, Pretend) and value.ndim > 0]
    if there and strange and not copies:
        raise RuntimeError(f"{function}: some tensors are on {NAME}, others on the CPU: {[v.shape for v in strange]}")
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
        kwargs = {**kwargs, "device": torch.device("cpu")}
    elif copies:
        there = isinstance(args[0], Pretend)
    plain_args, plain_kwargs = tree_map(_plain, (args, kwargs))
    result = function(*plain_args, **plain_kwargs)
    if not there:
        return result
    known = {id(value.raw): value for value in tensors if isinstance(value, Pretend)}
    if any(value.shape != value.raw.shape for value in known.values()):
        raise NotImplementedError(f"{function} changes a shape in place (a product with a vector does)")
    return tree_map(lambda v: known.get(id(v), Pretend(v)) if isinstance(v, Tensor) else v, result)


def _plain(value: Any) -> Any:
    return value.raw if isinstance(value, Pretend) else value


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """In the block the device can be used, and gsplat is stood in for."""
    gsplat = ModuleType("gsplat")
    gsplat.rasterization = rasterization  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gsplat", gsplat)
    with _Watch():
        yield DEVICE


def rasterization(
    means: Tensor,  # [..., N, 3]
    quats: Tensor,  # [..., N, 4]
    scales: Tensor,  # [..., N, 3]
    opacities: Tensor,  # [..., N]
    colors: Tensor,  # [..., N, 3] or [..., N, K, 3]
    viewmats: Tensor,  # [..., C, 4, 4]
    Ks: Tensor,  # [..., C, 3, 3]
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    distributed: bool = False,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """gsplat's (1.5) as far as we use it, by our CPU kernels. Shapes are checked as it checks them."""
    batch, count, views = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
    assert quats.shape == (*batch, count, 4)
    assert scales.shape == (*batch, count, 3)
    assert opacities.shape == (*batch, count)
    assert colors.shape[: len(batch) + 1] == (*batch, count)
    assert viewmats.shape == (*batch, views, 4, 4)
    assert Ks.shape == (*batch, views, 3, 3)
    assert render_mode in ("RGB", "RGB+ED")
    assert rasterize_mode in ("classic", "antialiased")
    assert eps2d == 0.3
    assert radius_clip == 0.0
    assert far_plane >= 1e10
    assert backgrounds is None
    assert not sparse_grad
    options = {"sh_degree": sh_degree, "antialiased": rasterize_mode == "antialiased", "near": near_plane}
    call = _Images(width, height, options, render_mode == "RGB+ED", absgrad)
    plain = [_plain(value).detach().clone() for value in (means, quats, scales, opacities, colors, viewmats, Ks)]
    screen = call.draw(plain)[1]
    there = isinstance(means, Pretend)
    shape = screen[1].shape
    seen = screen[1].reshape(-1).nonzero()[:, 0] if packed else torch.arange(screen[1].numel())
    call.seen = seen
    kept = [value.reshape(-1, *value.shape[len(shape) :])[seen] if packed else value for value in screen]
    image, gaussian = seen // shape[-1], seen % shape[-1]
    ids = {"batch_ids": image // views, "camera_ids": image % views, "gaussian_ids": gaussian} if packed else {}
    means2d, radii = (Pretend(value) if there else value for value in kept)
    info = {name: Pretend(value) if there else value for name, value in ids.items()}
    means2d.requires_grad_(torch.is_grad_enabled() and means.requires_grad)
    call.means2d = means2d
    images, alpha = _Rasterization.apply(call, means2d, means, quats, scales, opacities, colors, viewmats, Ks)
    return images, alpha, {**info, "means2d": means2d, "radii": radii[..., None].expand(*radii.shape, 2)}


class _Images:
    """One call of ``rasterization``; every scene by itself."""

    means2d: Tensor
    seen: Tensor  # places in [..., C, N] that means2d has

    def __init__(self, width: int, height: int, options: dict[str, Any], with_depth: bool, absgrad: bool) -> None:
        self.width, self.height, self.options = width, height, options
        self.with_depth, self.absgrad = with_depth, absgrad

    def draw(self, values: list[Tensor]) -> tuple[list[Tensor], tuple[Tensor, Tensor], list[Any]]:
        """Images [..., C, H, W, 3 or 4] and alpha [..., C, H, W, 1]; means2d and radii [..., C, N, …]."""
        from studio.cameras import Camera
        from studio.kernels.splat import rasterize_splats

        batch = values[0].shape[:-2]
        flat = [value.flatten(0, len(batch) - 1) if batch else value[None] for value in values]
        renders = []
        for *splats, viewmats, Ks in zip(*flat):
            camera = Camera(viewmats, Ks, self.width, self.height)
            renders.append(
                rasterize_splats(*splats, camera, **self.options, absgrad=self.absgrad, with_depth=self.with_depth)
            )

        def shaped(parts: list[Tensor]) -> Tensor:
            return torch.stack(parts).unflatten(0, batch) if batch else parts[0]

        depths = [[render.depth[..., None]] if self.with_depth else [] for render in renders]
        images = shaped([torch.cat((render.rgb, *depth), dim=-1) for render, depth in zip(renders, depths)])
        alpha = shaped([render.alpha[..., None] for render in renders])
        screen = shaped([r.screen.means2d for r in renders]), shaped([r.screen.radii for r in renders])
        return [images, alpha], screen, renders


class _Rasterization(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Images, means2d: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        ctx.call, ctx.there = call, isinstance(given[0], Pretend)
        with torch.enable_grad():
            ctx.inputs = [_plain(value).detach().clone().requires_grad_() for value in given]
            ctx.images, _, ctx.renders = call.draw(ctx.inputs)
        found = [image.detach() for image in ctx.images]
        return tuple(Pretend(value) for value in found) if ctx.there else tuple(found)

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Any, ...]:
        wanted = ctx.inputs[:-1]  # all but Ks
        found = torch.autograd.grad(ctx.images, wanted, [_plain(value) for value in given], allow_unused=True)
        shape, call = ctx.call.means2d.shape, ctx.call
        two = [[getattr(r.screen, name) for r in ctx.renders] for name in ("means2d_grad", "means2d_absgrad")]
        screen, magnitude = (torch.stack(parts).reshape(-1, 2)[call.seen].reshape(shape) for parts in two)

        def wrapped(value: Tensor | None) -> Tensor | None:
            return Pretend(value) if ctx.there and value is not None else value

        if call.absgrad:
            call.means2d.absgrad = wrapped(magnitude)  # type: ignore[attr-defined]
        return (None, wrapped(screen), *(wrapped(value) for value in found), None)
