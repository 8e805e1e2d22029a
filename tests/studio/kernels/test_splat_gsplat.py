"""How gsplat is called: shapes, names and conventions, with a function of its signature that stands in for it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.kernels import splat_cuda
from studio.kernels.splat import SplatRender, rasterize_splats
from tests.pretend import pretended, rasterization
from tests.studio.kernels.scenes import random_splats, relative, ring


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    with pretended(monkeypatch) as device:
        yield device


def _render(
    values: list[Tensor], camera: Camera, device: torch.device, **options: object
) -> tuple[SplatRender, list[Tensor]]:
    inputs = [value.detach().clone().to(device).requires_grad_() for value in (*values, camera.viewmats)]
    moved = Camera(inputs[5], camera.Ks.to(device), camera.width, camera.height)
    return rasterize_splats(*inputs[:5], moved, absgrad=True, **options), inputs


@pytest.mark.parametrize(("scenes", "views", "paired"), [(1, 1, False), (2, 3, False), (3, 3, True)])
@pytest.mark.parametrize(("sh_degree", "antialiased", "with_depth"), [(None, False, False), (3, True, True)])
@pytest.mark.parametrize("packed", [False, True])
def test_scenes_views_and_gradients_keep_their_places(
    elsewhere: torch.device,
    monkeypatch: pytest.MonkeyPatch,
    scenes: int,
    views: int,
    paired: bool,
    sh_degree: int | None,
    antialiased: bool,
    with_depth: bool,
    packed: bool,
) -> None:
    monkeypatch.setattr(splat_cuda, "_MANY", 0 if packed else 1 << 40)
    values, camera = random_splats(60, seed=7, scenes=scenes, sh_degree=sh_degree), ring(views, 40, 30)
    options = {"antialiased": antialiased, "sh_degree": sh_degree, "paired": paired, "with_depth": with_depth}
    here, given = _render(values, camera, torch.device("cpu"), **options)
    there, moved = _render(values, camera, elsewhere, **options)
    for render in (here, there):
        random = torch.Generator().manual_seed(3)
        images = [render.rgb, render.alpha, *([render.depth] if with_depth else [])]
        parts = [(image * torch.randn(image.shape, generator=random).to(image.device)).sum() for image in images]
        sum(parts[1:], parts[0]).backward()
    assert there.rgb.device == elsewhere
    for name in ("rgb", "alpha", "depth"):
        assert getattr(there, name).shape == getattr(here, name).shape
        torch.testing.assert_close(getattr(there, name).detach().cpu(), getattr(here, name).detach())
    for one, two in zip(given, moved):
        assert relative(two.grad, one.grad) < 1e-5
    for name in ("radii", "means2d_grad", "means2d_absgrad"):
        assert relative(getattr(there.screen, name), getattr(here.screen, name)) < 1e-5, name
    drawn = (here.screen.radii > 0)[..., None]
    torch.testing.assert_close(there.screen.means2d.cpu() * drawn, here.screen.means2d * drawn)


def test_the_stand_in_has_gsplats_signature() -> None:
    """Names, order and defaults of all that the stand-in takes are those of the gsplat that is installed."""
    gsplat = pytest.importorskip("gsplat")
    theirs = list(inspect.signature(gsplat.rasterization).parameters.values())
    for own, other in zip(inspect.signature(rasterization).parameters.values(), theirs):
        assert (own.name, own.default) == (other.name, other.default)
