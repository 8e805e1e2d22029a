"""The CUDA rasteriser (gsplat) and the CPU kernels give the same images and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from studio.cameras import Camera
from studio.kernels.splat import SplatRender, rasterize_splats
from studio.kernels.splat_reference import rasterize_reference
from tests.studio.kernels.scenes import leaves, random_splats, relative, ring

pytestmark = pytest.mark.gpu


def _render(values: list[Tensor], camera: Camera, device: str, **options: object) -> tuple[SplatRender, list[Tensor]]:
    inputs = leaves([*values, camera.viewmats], torch.float32, device)
    moved = Camera(inputs[5], camera.Ks.to(device), camera.width, camera.height)
    return rasterize_splats(*inputs[:5], moved, absgrad=True, kernels=device, **options), inputs


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("sh_degree", [None, 0, 3])
@pytest.mark.parametrize(("scenes", "views", "paired"), [(1, 1, False), (2, 3, False), (3, 3, True)])
def test_images_and_gradients_agree(antialiased, sh_degree, scenes, views, paired):
    values = random_splats(300, seed=7, scenes=scenes, sh_degree=sh_degree)
    camera = ring(views, 70, 50)
    options = {"antialiased": antialiased, "sh_degree": sh_degree, "paired": paired}
    doubles = [value.double() for value in values]
    decided = rasterize_reference(*doubles, camera, **options).decided
    cpu, cpu_inputs = _render(values, camera, "cpu", **options)
    cuda, cuda_inputs = _render(values, camera, "cuda", **options)
    random = torch.Generator().manual_seed(3)
    for render in (cpu, cuda):
        random.manual_seed(3)
        loss = torch.zeros(())
        for image in (render.rgb, render.alpha, render.depth):
            mask = decided if image.ndim == decided.ndim else decided[..., None]
            loss = loss + (image.cpu() * mask * torch.randn(image.shape, generator=random)).sum()
        loss.backward()
    for name in ("rgb", "alpha", "depth"):
        difference = (getattr(cpu, name) - getattr(cuda, name).cpu()).abs()
        mask = decided if name != "rgb" else decided[..., None]
        assert float((difference * mask).max()) < 1e-4, name
    names = ("means", "quats", "scales", "opacities", "colors", "viewmats")
    for name, on_cpu, on_cuda in zip(names, cpu_inputs, cuda_inputs):
        assert relative(on_cuda.grad, on_cpu.grad) < 1e-3, name
    assert relative(cuda.screen.means2d_grad, cpu.screen.means2d_grad) < 1e-3
    assert relative(cuda.screen.means2d_absgrad, cpu.screen.means2d_absgrad) < 1e-3


def test_auto_takes_cuda_for_cuda_tensors_and_nothing_is_drawn_of_nothing():
    values = [value.to("cuda") for value in random_splats(40, seed=1)]
    camera = ring(2, 33, 21).to("cuda")
    assert rasterize_splats(*values, camera).rgb.device.type == "cuda"
    values[3] = torch.zeros_like(values[3])
    assert float(rasterize_splats(*values, camera).alpha.abs().max()) == 0.0
