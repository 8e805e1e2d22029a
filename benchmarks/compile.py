"""Time of the first start and of later ones: ``python -m benchmarks.compile``.

A process of its own imports the kernels and makes one training step (pose, deformation, rasteriser, loss, gradients,
optimiser): first with an empty cache, then with what that left. torch's own import is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import print_table, write_json

STEP = """
import json, time
import torch
began = time.perf_counter()
import numpy
from studio.cameras import Camera, intrinsics
from studio.kernels.code_networks import network_answers, parameter_count
from studio.kernels.drive import CHANNELS, Gains, SkinnedPlaces, carry_splats
from studio.kernels.view_loss import Target, Weights, view_loss
from studio.kernels.splat import rasterize_splats
from studio.kernels.adam import Adam
imported = time.perf_counter()
count, bases = 20, 2
mesh = (torch.eye(3), torch.ones(1, 3, 3), torch.ones(3, 1))
places = SkinnedPlaces(*mesh, torch.arange(3).repeat(count, 1), torch.rand(count, 3), torch.ones(count))
anchors = places.pose(numpy.ones(1, numpy.float32), numpy.eye(3, 4, dtype=numpy.float32)[None])
shapes = ((count, 3), (count, 4), (count, 3), (count,), (count, 3), (bases, count * CHANNELS))
raw = tuple(torch.rand(*shape).requires_grad_() for shape in shapes)
parts = torch.zeros(count, dtype=torch.int64)
owner = torch.nn.Module()
owner.bases, colors = torch.nn.Parameter(raw[5].detach()), torch.nn.Parameter(raw[4].detach())
networks = torch.nn.Parameter(torch.rand(parameter_count(3, 4, bases)))
optimizer = Adam([{"params": [owner.bases, colors, networks], "lr": 0.1}], eps=1e-8)
raw, gradient = (*raw[:4], colors, owner.bases), optimizer.without_gradient(owner)
gains = Gains(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
weights = network_answers(networks, torch.ones(3), (3,), 4, bases)
splats = carry_splats(gains, anchors, raw, weights, parts, basis_gradient=gradient)
render = rasterize_splats(*splats, Camera(torch.eye(4)[None], intrinsics(16.0, 16, 16)[None], 16, 16))
photo, matte = torch.zeros(16, 16, 3, dtype=torch.uint8), torch.zeros(16, 16, dtype=torch.uint8)
view_loss(render.rgb, render.alpha, torch.zeros(3), Target(photo, matte, matte), Weights(0.2, 3.0, 0.1, 5)).backward()
optimizer.step()
print(json.dumps([imported - began, time.perf_counter() - imported]))
"""


def main() -> None:
    """Measure cold and warm; print a table and write ``compile.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder for the JSON file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row("cold", Path(folder)), *(_row("warm", Path(folder)) for _ in range(3))]
    print_table(rows)
    write_json(options.out / "compile.json", "compile", rows)


def _row(name: str, cache: Path) -> dict[str, object]:
    environment = {**os.environ, "STUDIO_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=True)
    imports, step = json.loads(done.stdout)
    return {"start": name, "imports, s": imports, "first step, s": step, "both, s": imports + step}


if __name__ == "__main__":
    main()
