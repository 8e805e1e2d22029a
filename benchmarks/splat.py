"""Speed of the splat rasteriser: ``python -m benchmarks.splat [--full] [--opensplat file] [--rival file] …``.

Forward and forward+backward of a head-like shell, colours and coverage, against a plain-torch tile rasteriser,
OpenSplat's CPU code (compiled by ``python -m benchmarks.opensplat``), any other rasteriser that a Python file wraps,
and the brute-force float64 reference on the CPU, and against gsplat called directly on CUDA; a trained avatar, where
Gaussians overlap less, on request. Competitors take turns in one run, so that the ratios mean something on a busy
machine too; absolute times need an idle one.
"""

from __future__ import annotations

import argparse
import runpy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cuda import driven_row, training_row
from benchmarks.measuring import best_milliseconds, one_core, print_table, write_json
from benchmarks.opensplat import OpenSplat, open_extension
from benchmarks.scenes import head_shell, portrait_camera
from benchmarks.torch_tiles import rasterize_torch_tiles
from studio.cameras import Camera
from studio.kernels.splat import rasterize_splats
from studio.kernels.splat_reference import rasterize_reference

CPU_SIZES = ((10_000, 256), (50_000, 512), (50_000, 1024), (100_000, 256), (100_000, 512))
CUDA_SIZES = ((50_000, 512), (50_000, 1024), (200_000, 1024))
SLOW = {"OpenSplat": 2, "torch tiles": 1, "float64 reference": 1}  # how often they are timed; others 20 times
Render = Callable[[list[Tensor], Camera], tuple[Tensor, Tensor]]


def main() -> None:
    """Run what this machine can, print tables and write ``splat_cpu.json``; with a GPU ``<name>_cuda.json``, too."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON files")
    parser.add_argument("--full", action="store_true", help="also time the slow competitors at 50,000 Gaussians, 512²")
    parser.add_argument("--opensplat", type=Path, help="OpenSplat's CPU code as an extension, see benchmarks/README.md")
    parser.add_argument(
        "--rival",
        type=Path,
        action="append",
        default=[],
        help="a Python file with a differentiable render(splats, camera) -> rgb, alpha",
    )
    parser.add_argument("--avatar", type=Path, help="also time a trained splat avatar, at 512²")
    options = parser.parse_args()
    rival: dict[str, Render] = {}
    if options.opensplat is None:
        print("OpenSplat is skipped: no --opensplat; benchmarks/README.md says how to build it")
    else:
        rival["OpenSplat"] = OpenSplat(open_extension(options.opensplat))
    rival |= {path.stem: runpy.run_path(str(path))["render"] for path in options.rival}
    rows = cpu_rows(options.full, rival)
    if options.avatar is not None:
        rows += avatar_rows(options.avatar, rival)
    print_table(rows)
    write_json(options.out / "splat_cpu.json", "splat, CPU", rows)
    if not torch.cuda.is_available():
        print("CUDA is skipped (rasteriser, driven frames, training): torch sees no CUDA device")
        return
    device = torch.device("cuda", torch.cuda.current_device())
    tables = {"splat": cuda_rows(), "drive": [driven_row(device)], "train": [training_row("cuda")]}
    for name, rows in tables.items():
        print_table(rows)
        write_json(options.out / f"{name}_cuda.json", f"{name}, CUDA", rows)


def cpu_rows(full: bool, peers: dict[str, Render]) -> list[dict[str, object]]:
    """Ours and the peers at every size; plain torch where it takes seconds, not minutes; brute force on a small scene.

    The last comparison with peers is of one core each.
    """
    rows = []
    for count, size in CPU_SIZES:
        rivals: dict[str, Render] = {"ours": _ours, **peers}
        if (count, size) == CPU_SIZES[0] or (full and (count, size) == CPU_SIZES[1]):
            rivals["torch tiles"] = _torch_tiles
        rows += _rows(rivals, head_shell(count), portrait_camera(size))
    rows += _rows({"ours": _ours, "float64 reference": _reference}, head_shell(1000), portrait_camera(64))
    with one_core():
        rivals = {"ours": _ours, **peers}
        single = _rows(rivals, head_shell(CPU_SIZES[1][0]), portrait_camera(CPU_SIZES[1][1]))
    return rows + [{**row, "renderer": f"{row['renderer']}, one core"} for row in single]


def avatar_rows(folder: Path, peers: dict[str, Render]) -> list[dict[str, object]]:
    """The resting state of a trained avatar in its own camera, enlarged to 512²."""
    from recon.avatars import load_avatar
    from recon.avatars.splats import SplatAvatar

    avatar = load_avatar(folder, "cpu")
    assert isinstance(avatar, SplatAvatar), "an avatar of bound splats"
    with torch.no_grad():
        state = avatar.head_gaussians(avatar.codes)
    splats = [value.clone() for value in (state.means, state.quats, state.scales, state.opacities, state.colors)]
    camera, scale = avatar.camera, 512 / avatar.camera.width
    K = camera.Ks * torch.tensor([[scale], [scale], [1.0]])
    moved = Camera(camera.viewmats @ avatar.codes.head_to_world, K, 512, 512)
    rows = _rows({"ours": _ours, **peers}, splats, moved)
    return [{**row, "renderer": f"{row['renderer']}, fitted head"} for row in rows]


def cuda_rows() -> list[dict[str, object]]:
    """Our function on CUDA tensors against gsplat called directly: what the seam costs."""
    rows = []
    for count, size in CUDA_SIZES:
        splats = [value.to("cuda") for value in head_shell(count)]
        functions = {
            name: function
            for name, render in (("ours", _ours), ("gsplat", _gsplat))
            for name, function in _functions(name, render, splats, portrait_camera(size).to("cuda")).items()
        }
        times = best_milliseconds(functions, repeats=50)
        rows += [_row(name, count, size, times) for name in ("ours", "gsplat")]
    return rows


def _rows(rivals: dict[str, Render], splats: list[Tensor], camera: Camera) -> list[dict[str, object]]:
    """Times of each rival on one scene; ours again beside each of them."""
    times: dict[str, float] = {}
    ours = _functions("ours", rivals["ours"], splats, camera)
    for name, render in rivals.items():
        theirs = {} if name == "ours" else _functions(name, render, splats, camera)
        if name in SLOW:
            found = best_milliseconds(theirs, repeats=SLOW[name]) | best_milliseconds(ours, repeats=20)
        else:
            found = best_milliseconds({**ours, **theirs}, repeats=20)
        times = {key: min(value, times.get(key, float("inf"))) for key, value in {**times, **found}.items()}
    return [_row(name, len(splats[0]), camera.width, times) for name in rivals]


def _row(name: str, count: int, size: int, times: dict[str, float]) -> dict[str, object]:
    return {
        "renderer": name,
        "Gaussians": count,
        "pixels": f"{size}²",
        "forward, ms": times[f"{name} f"],
        "forward+backward, ms": times[f"{name} f+b"],
        "times ours, forward": times[f"{name} f"] / times["ours f"],
        "times ours, forward+backward": times[f"{name} f+b"] / times["ours f+b"],
    }


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

    return {f"{name} f": forward, f"{name} f+b": forward_backward}


def _ours(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    means, quats, scales, opacities, colors = splats
    render = rasterize_splats(means, quats, scales, opacities, colors, camera, with_depth=False)
    return render.rgb, render.alpha


def _reference(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    means, quats, scales, opacities, colors = (value.double() for value in splats)
    render = rasterize_reference(means, quats, scales, opacities, colors, camera)
    return render.rgb, render.alpha


def _torch_tiles(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    means, quats, scales, opacities, colors = splats
    return rasterize_torch_tiles(means, quats, scales, opacities, colors, camera)


def _gsplat(splats: list[Tensor], camera: Camera) -> tuple[Tensor, Tensor]:
    from gsplat import rasterization

    image, alpha, _ = rasterization(*splats, camera.viewmats, camera.Ks, camera.width, camera.height, packed=False)
    return image[..., :3], alpha


if __name__ == "__main__":
    main()
