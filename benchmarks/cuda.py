"""What splats reach on a GPU: driven frames against the bare gsplat call, frames in batches, images learned a second.

Part of ``python -m benchmarks.splat``, which says so where there is no GPU.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measuring import best_milliseconds
from benchmarks.scenes import procedural_avatar
from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from recon.splat_session import SplatSession
from recon.train_config import TrainConfig
from studio.cameras import Camera
from studio.captures import Capture, open_capture
from studio.codes import Codes
from studio.heads import load_head

BATCH = 10  # states drawn, or images learned, at once
_WARM = 20  # steps of training that are not timed


def driven_row(device: torch.device, count: int = 100_000, size: int = 512, repeats: int = 50) -> dict[str, object]:
    """From codes to an image on the device, one state at a time and ``BATCH``, and gsplat alone on the same Gaussians.

    Wanted: the whole frame within 1.5 times gsplat alone, and 1,000 frames a second in batches.
    """
    from gsplat import rasterization

    avatar, codes = procedural_avatar(count, size)
    avatar, state, states = avatar.to(device), codes[len(codes.expression) // 2], codes[:BATCH]
    camera, cameras = avatar.camera, _repeated(avatar.camera, BATCH)
    with torch.no_grad():
        g = avatar.head_gaussians(state)
    views = (camera.viewmats @ state.head_to_world).to(device), camera.Ks.to(device)

    def together(states: Codes) -> None:
        avatar.render_gaussians(cameras, avatar.head_gaussians(states), states.head_to_world)

    def bare() -> None:
        rasterization(g.means, g.quats, g.scales, g.opacities, g.colors, *views, size, size, packed=False)

    functions = {
        "gsplat": bare,
        "frame": lambda: avatar.render(camera, state),
        "batch": lambda: together(states),
        "pixels": lambda: avatar.render(camera, state).pixels(torch.ones(3)),
    }
    times = best_milliseconds({name: torch.no_grad()(f) for name, f in functions.items()}, repeats)
    return {
        "Gaussians": count,
        "pixels": f"{size}²",
        "gsplat alone, ms": times["gsplat"],
        "driven frame, ms": times["frame"],
        "driven / gsplat": times["frame"] / times["gsplat"],
        "with pixels on the CPU, ms": times["pixels"],
        f"frames/s, {BATCH} at once": 1e3 * BATCH / times["batch"],
    }


def training_row(kernels: str, count: int = 100_000, size: int = 512, steps: int = 100) -> dict[str, object]:
    """Images learned a second, ``BATCH`` in a step; wanted: 600 at 512²."""
    with tempfile.TemporaryDirectory() as folder:
        made = SyntheticConfig(cameras=1, frames=24, size=size, supersample=1)
        capture = open_capture(make_synthetic_capture(Path(folder) / "head" / str(size), made))
        return learning_row(capture, TrainConfig(gaussians=count, batch=BATCH, kernels=kernels), steps)


def learning_row(capture: Capture, config: TrainConfig, steps: int) -> dict[str, object]:
    """The same on a synthetic capture."""
    config = replace(config, iterations=_WARM + steps)
    session = SplatSession(capture, capture.track("truth"), load_head("procedural"), config)
    for step in range(_WARM):
        session.step(step)
    began = time.perf_counter()
    for step in range(_WARM, _WARM + steps):
        session.step(step)  # returns the loss, for which it waits
    seconds = time.perf_counter() - began
    return {
        "Gaussians": config.gaussians,
        "pixels": f"{capture.cameras.width}²",
        "images a step": config.batch,
        "steps/s": steps / seconds,
        "images/s": steps * config.batch / seconds,
    }


def _repeated(camera: Camera, count: int) -> Camera:
    return Camera(camera.viewmats.repeat(count, 1, 1), camera.Ks.repeat(count, 1, 1), camera.width, camera.height)
