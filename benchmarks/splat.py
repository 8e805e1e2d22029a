"""Speed of the splat rasteriser: ``python -m benchmarks.splat [--out folder] [--full]``.

Forward and forward+backward of a head-like shell, against a plain-torch tile rasteriser and the brute-force float64
reference on the CPU, and against gsplat called directly on CUDA. Competitors take turns in one run, so that the ratios
mean something on a busy machine too; absolute times need an idle one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import best_milliseconds, print_table, write_json
from benchmarks.scenes import head_shell, portrait_camera
from benchmarks.torch_tiles import rasterize_torch_tiles
from studio.cameras import Camera
from studio.kernels.splat import rasterize_splats
from studio.kernels.splat_reference import rasterize_reference

CPU_SIZES = ((10_000, 256), (50_000, 512), (50_000, 1024), (100_000, 512))
CUDA_SIZES = ((50_000, 512), (50_000, 1024), (200_000, 1024))
Render = Callable[[list[Tensor], Camera], tuple[Tensor, Tensor]]


def main() -> None:
    """Run what this machine can, print a table and write ``splat_cpu.json`` or ``splat_cuda.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON files")
    parser.add_argument("--full", action="store_true", help="also time the slow competitors at 50,000 Gaussians, 512²")
    options = parser.parse_args()
    rows = cpu_rows(options.full)
    print_table(rows)
    write_json(options.out / "splat_cpu.json", "splat, CPU", rows)
    if torch.cuda.is_available():
        rows = cuda_rows()
        print_table(rows)
        write_json(options.out / "splat_cuda.json", "splat, CUDA", rows)


def cpu_rows(full: bool) -> list[dict[str, object]]:
    """Ours at every size; the competitors where they take seconds rather than minutes."""
    rows = []
    for count, size in CPU_SIZES:
        splats, camera = head_shell(count), portrait_camera(size)
        row = {"Gaussians": count, "pixels": f"{size}²", **_timed("ours", _ours, splats, camera, repeats=20)}
        if (count, size) == CPU_SIZES[0] or (full and (count, size) == CPU_SIZES[1]):
            row |= _timed("torch tiles", _torch_tiles, splats, camera, repeats=2)
            row["torch tiles / ours, forward+backward"] = row["torch tiles f+b, ms"] / row["ours f+b, ms"]
        rows.append(row)
    rows.append(_reference_row())
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key, "") for key in keys} for row in rows]


def _reference_row() -> dict[str, object]:
    """Brute force in float64 grows with Gaussians × pixels; a small scene is enough to place it."""
    splats, camera = head_shell(1000), portrait_camera(64)
    doubles = [value.double() for value in splats]
    ours = _timed("ours", _ours, splats, camera, repeats=10)
    reference = _timed("float64 reference", _reference, doubles, camera, repeats=2)
    ratio = reference["float64 reference f+b, ms"] / ours["ours f+b, ms"]
    return {"Gaussians": 1000, "pixels": "64²", **ours, **reference, "reference / ours, forward+backward": ratio}


def cuda_rows() -> list[dict[str, object]]:
    """Our function on CUDA tensors against gsplat called directly: what the seam costs."""
    rows = []
    for count, size in CUDA_SIZES:
        splats = [value.to("cuda") for value in head_shell(count)]
        camera = portrait_camera(size).to("cuda")
        functions = {
            **_functions("ours", _ours, splats, camera),
            **_functions("gsplat", _gsplat, splats, camera),
        }
        times = best_milliseconds(functions, repeats=50)
        ratios = {
            f"ours / gsplat, {pass_}": times[f"ours {pass_}, ms"] / times[f"gsplat {pass_}, ms"]
            for pass_ in ("f", "f+b")
        }
        rows.append({"Gaussians": count, "pixels": f"{size}²", **times, **ratios})
    return rows


def _timed(name: str, render: Render, splats: list[Tensor], camera: Camera, repeats: int) -> dict[str, float]:
    return best_milliseconds(_functions(name, render, splats, camera), repeats)


def _functions(name: str, render: Render, splats: list[Tensor], camera: Camera) -> dict[str, Callable[[], object]]:
    """A forward pass without gradients, and a forward and backward pass with random image gradients."""
    inputs = [value.clone().requires_grad_() for value in splats]
    with torch.no_grad():
        cotangents = [torch.randn_like(image) for image in render(splats, camera)]

    def forward() -> None:
        with torch.no_grad():
            render(splats, camera)

    def forward_backward() -> None:
        torch.autograd.grad(render(inputs, camera), inputs, cotangents)

    return {f"{name} f, ms": forward, f"{name} f+b, ms": forward_backward}


def _ours(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    render = rasterize_splats(*splats, camera)
    return render.rgb, render.alpha


def _reference(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    render = rasterize_reference(*splats, camera)
    return render.rgb, render.alpha


def _torch_tiles(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    means, quats, scales, opacities, colors = splats
    return rasterize_torch_tiles(means, quats, scales, opacities, colors, camera)


def _gsplat(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    from gsplat import rasterization

    image, alpha, _ = rasterization(
        *splats, camera.viewmats, camera.Ks, camera.width, camera.height, packed=False, render_mode="RGB+ED"
    )
    return image[..., :3], alpha


if __name__ == "__main__":
    main()
