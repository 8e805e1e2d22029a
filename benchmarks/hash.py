"""Speed of the radiance-field kernels on the CPU: ``python -m benchmarks.hash [--out folder]``.

Hash grid, ensemble, small network, compositing and a whole training step, against the best of plain torch in the same
run. Rivals take turns; absolute numbers need an idle machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import best_milliseconds, print_table, write_json
from benchmarks.torch_fields import composite_dense, encode_by_bag, encode_by_index, mlp_in_chunks
from studio.kernels.hash_ensemble import hash_ensemble
from studio.kernels.hash_grid import HashGridLayout, hash_encode
from studio.kernels.march import Samples, composite
from studio.kernels.mlp import MlpLayout, mlp
from studio.kernels.workers import worker_count

RAYS, PER_RAY = 4096, 64
SAMPLES = RAYS * PER_RAY
TABLES = 32
LARGE = HashGridLayout.up_to(2048, levels=16, log2_size=19)
SMALL = HashGridLayout.up_to(256, levels=8, log2_size=14)
NETWORK = MlpLayout(inputs=32, outputs=16, hidden=64, hidden_layers=2)
HEAD = MlpLayout(inputs=SMALL.width, outputs=4, hidden=64, hidden_layers=1)

_SLOW = ("ours, a code a ray", "ours, 32 encodings")
Rival = tuple[Callable[..., Tensor], Sequence[Tensor]]  # a function and what it is differentiated by


def main() -> None:
    """Run everything, print a table and write ``hash_cpu.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON file")
    options = parser.parse_args()
    torch.set_num_threads(worker_count())
    torch.manual_seed(0)
    rows = [*grid_rows(), *ensemble_rows(), *network_rows(), *composite_rows(), *step_rows()]
    print_table(rows)
    write_json(options.out / "hash_cpu.json", "radiance-field kernels, CPU", rows)


def grid_rows() -> list[dict[str, object]]:
    """One grid, forward and gradients to the table."""
    rows = []
    positions = torch.rand(SAMPLES, 3)
    for name, layout in (("grid L=16 F=2 T=2^19", LARGE), ("grid L=8 F=2 T=2^14", SMALL)):
        table = torch.randn(layout.parameters).requires_grad_()
        rivals = {
            "ours": lambda table, layout=layout: hash_encode(positions, table, layout),
            "torch, indexing": lambda table, layout=layout: encode_by_index(positions, table, layout),
            "torch, embedding_bag": lambda table, layout=layout: encode_by_bag(positions, table, layout),
        }
        rows += _rows(name, {rival: (function, [table]) for rival, function in rivals.items()})
    return rows


def ensemble_rows() -> list[dict[str, object]]:
    """32 tables: with one code, with a code for each ray, and as 32 encodings of a part of the samples."""
    positions, tables = torch.rand(SAMPLES, 3), torch.randn(SMALL.offsets[-1], TABLES, 2).requires_grad_()
    weights, many = torch.rand(1, TABLES).requires_grad_(), torch.rand(RAYS, TABLES).requires_grad_()
    rays, table = torch.arange(SAMPLES) // PER_RAY, torch.randn(SMALL.parameters).requires_grad_()
    rivals: dict[str, Rival] = {
        "one grid": (lambda table: hash_encode(positions, table, SMALL), [table]),
        "ours, one code": (lambda t, w: hash_ensemble(positions, t, w, SMALL), [tables, weights]),
        "ours, a code a ray": (lambda t, w: hash_ensemble(positions, t, w, SMALL, rays), [tables, many]),
        "ours, 32 encodings": (lambda t, w: _separately(positions, t, w), [tables, weights]),
    }
    return _rows(f"ensemble H={TABLES} L=8 T=2^14", rivals, slow=2)


def _separately(positions: Tensor, tables: Tensor, weights: Tensor) -> Tensor:
    parts = [hash_encode(positions, table.reshape(-1), SMALL) for table in tables.unbind(dim=1)]
    return sum((weight * part for weight, part in zip(weights[0], parts)), start=torch.zeros(()))


def network_rows() -> list[dict[str, object]]:
    """A small network, gradients to parameters and inputs."""
    inputs, parameters = torch.randn(SAMPLES, 32).requires_grad_(), NETWORK.initial(torch.Generator()).requires_grad_()
    matrices = [matrix.detach().requires_grad_() for matrix in NETWORK.unpack(parameters)[0]]
    rivals: dict[str, Rival] = {
        "ours": (lambda x, p: mlp(x, p, NETWORK), [inputs, parameters]),
        "torch float32": (lambda x, *m: mlp_in_chunks(x, list(m), torch.float32), [inputs, *matrices]),
        "torch bfloat16": (lambda x, *m: mlp_in_chunks(x, list(m), torch.bfloat16), [inputs, *matrices]),
    }
    return _rows("network 32-64-64-16", rivals, slow=4)


def composite_rows() -> list[dict[str, object]]:
    """Colours and alpha of rays with 64 samples each."""
    samples = _even_samples()
    lengths = (samples.ends - samples.starts).reshape(RAYS, PER_RAY)
    densities, rgb = (2 * torch.rand(SAMPLES)).requires_grad_(), torch.rand(SAMPLES, 3).requires_grad_()

    def ours(densities: Tensor, rgb: Tensor) -> Tensor:
        seen = composite(densities, rgb, samples)
        return torch.cat((seen.rgb, seen.alpha[:, None]), dim=1)

    def theirs(densities: Tensor, rgb: Tensor) -> Tensor:
        color, alpha = composite_dense(densities.reshape(RAYS, -1), rgb.reshape(RAYS, -1, 3), lengths)
        return torch.cat((color, alpha[:, None]), dim=1)

    inputs = [densities, rgb]
    return _rows(f"compositing {RAYS} x {PER_RAY}", {"ours": (ours, inputs), "torch": (theirs, inputs)})


def step_rows() -> list[dict[str, object]]:
    """Encode, network, composite, loss, backward and Adam: the small grid with a network 16-64-4."""
    positions, samples, target = torch.rand(SAMPLES, 3), _even_samples(), torch.rand(RAYS, 3)
    lengths = (samples.ends - samples.starts).reshape(RAYS, PER_RAY)

    def ours(table: Tensor, weights: Tensor) -> Tensor:
        raw = mlp(hash_encode(positions, table, SMALL), weights, HEAD)
        return composite(raw[:, 0].exp(), raw[:, 1:].sigmoid(), samples).rgb

    def theirs(table: Tensor, weights: Tensor) -> Tensor:
        raw = mlp_in_chunks(encode_by_index(positions, table, SMALL), HEAD.unpack(weights)[0], torch.float32)
        density, rgb = raw[:, 0].exp().reshape(RAYS, -1), raw[:, 1:4].sigmoid().reshape(RAYS, -1, 3)
        return composite_dense(density, rgb, lengths)[0]

    times: dict[str, float] = {}
    for name, render, repeats in (("ours", ours, 15), ("torch", theirs, 2)):
        times |= best_milliseconds({f"{name} f+b": _training_step(render, target)}, repeats)
    return [_row("training step, small grid", name, times, "ours") for name in ("ours", "torch")]


def _training_step(render: Callable[[Tensor, Tensor], Tensor], target: Tensor) -> Callable[[], None]:
    generator = torch.Generator()
    parameters = [SMALL.initial_table(generator).requires_grad_(), HEAD.initial(generator).requires_grad_()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2, eps=1e-15, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(render(*parameters), target).backward()
        optimizer.step()

    return step


def _even_samples() -> Samples:
    edges = torch.linspace(2.0, 6.0, PER_RAY + 1)
    starts, ends = edges[:-1].repeat(RAYS), edges[1:].repeat(RAYS)
    offsets = torch.arange(RAYS + 1) * PER_RAY
    return Samples(starts, ends, torch.arange(RAYS).repeat_interleave(PER_RAY), offsets)


def _rows(subject: str, rivals: dict[str, Rival], slow: int = 2) -> list[dict[str, object]]:
    """Times of each rival; the first is what the others are compared with. Ours many times, torch ``slow`` times."""
    times: dict[str, float] = {}
    for name, (function, inputs) in rivals.items():
        repeats = slow if name.startswith("torch") or name in _SLOW else 15
        times |= best_milliseconds(_functions(name, function, inputs), repeats)
    return [_row(subject, name, times, next(iter(rivals))) for name in rivals]


def _functions(name: str, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> dict[str, Callable[[], object]]:
    with torch.no_grad():
        cotangent = torch.randn_like(function(*inputs))

    def forward() -> None:
        with torch.no_grad():
            function(*inputs)

    def forward_backward() -> None:
        torch.autograd.grad(function(*inputs), inputs, cotangent)

    return {f"{name} f": forward, f"{name} f+b": forward_backward}


def _row(subject: str, name: str, times: dict[str, float], first: str) -> dict[str, object]:
    forward, both = times.get(f"{name} f"), times[f"{name} f+b"]
    return {
        "what": subject,
        "by": name,
        "f, ms": forward if forward is not None else "-",
        "f+b, ms": both,
        "f+b, M samples/s": SAMPLES / both / 1e3,
        "times the first, f+b": both / times[f"{first} f+b"],
    }


if __name__ == "__main__":
    main()
