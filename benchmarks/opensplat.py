"""OpenSplat's CPU rasteriser as a rival; nothing of it is in this repository.

``python -m benchmarks.opensplat CHECKOUT OUT`` compiles it with -O3 from a checkout of OpenSplat (AGPL-3.0) and prints
the path of the extension, which ``python -m benchmarks.splat --opensplat PATH`` takes.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from studio.cameras import Camera
from studio.errors import StudioError

_NAME = "opensplat_cpu"


def main() -> None:
    """Compile and print where."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a folder with OpenSplat's sources")
    parser.add_argument("out", type=Path, help="folder for the extension")
    options = parser.parse_args()
    print(build(options.checkout.resolve(), options.out.resolve()))


def build(checkout: Path, out: Path) -> Path:
    """Compile the extension with a C++ compiler; returns its path.

    Raises:
        StudioError: no sources there.
    """
    from torch.utils import cpp_extension

    source = checkout / "rasterizer" / "gsplat-cpu" / "gsplat_cpu.cpp"
    if not source.is_file():
        raise StudioError("OpenSplat", got=f"no {source}", expected="a checkout of its repository")
    out.mkdir(parents=True, exist_ok=True)
    cpp_extension.load(
        _NAME,
        [str(source), str(Path(__file__).with_suffix(".cpp"))],
        extra_cflags=["-O3", "-std=c++20", "-march=native"],
        extra_include_paths=[str(checkout / "rasterizer")],
        build_directory=str(out),
        is_python_module=False,
    )
    return out / f"{_NAME}.so"


def open_extension(path: Path) -> ModuleType:
    """The module in a compiled extension.

    Raises:
        StudioError: not there.
    """
    specification = importlib.util.spec_from_file_location(_NAME, path)
    if not path.is_file() or specification is None or specification.loader is None:
        raise StudioError("OpenSplat", got=f"no extension {path}", next="see benchmarks/README.md")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class OpenSplat:
    """Renders rgb and alpha as ``rasterize_splats`` does, differentiable, on one core as its code is written."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __call__(self, splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
        means, quats, scales, opacities, colors = splats
        view, K = camera.viewmats[0], camera.Ks[0]
        projection = _projection(K, camera.width, camera.height) @ view
        focal = (float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))
        xys, _, conics, covariances, depths = self.module.project(
            len(means), means, scales, 1.0, quats, view, projection, *focal, camera.height, camera.width, 0.01
        )
        # Depths come as a strided view, but are read as if they were contiguous: without the copy the order is wrong.
        fixed = (covariances.detach(), depths.detach().contiguous())
        size = (camera.width, camera.height)
        image, alpha = _Blend.apply(self.module, size, fixed, xys, conics, colors, opacities[:, None])
        return image[None], alpha[None]


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, module: ModuleType, size: tuple[int, int], fixed: tuple[Tensor, Tensor], *splats: Tensor
    ) -> tuple[Tensor, Tensor]:
        splats = tuple(value.detach().contiguous() for value in splats)
        background = torch.zeros(3)
        image, transmittance, lists = module.rasterize(*size, *splats, background, *fixed)
        ctx.saved = (module, size, splats, background, fixed, transmittance, lists)
        return image, 1 - transmittance

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        module, size, splats, background, fixed, transmittance, lists = ctx.saved
        v_image, v_alpha = (value.contiguous() for value in cotangents)
        v_splats = module.rasterize_backward(*size, *splats, background, *fixed, transmittance, lists, v_image, v_alpha)
        return None, None, None, *v_splats


def _projection(K: Tensor, width: int, height: int) -> Tensor:
    """[4, 4] from camera axes to the clip space that OpenSplat expects."""
    far, near = 1000.0, 0.001
    return torch.tensor(
        [
            [2 * K[0, 0] / width, 0.0, 2 * K[0, 2] / width - 1, 0.0],
            [0.0, 2 * K[1, 1] / height, 2 * K[1, 2] / height - 1, 0.0],
            [0.0, 0.0, (far + near) / (far - near), -far * near / (far - near)],
            [0.0, 0.0, 1.0, 0.0],
        ]
    )


if __name__ == "__main__":
    main()
