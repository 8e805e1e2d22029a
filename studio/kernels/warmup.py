"""Compiling the kernels ahead of their first use, in the background."""

from __future__ import annotations

import threading


def warm_up() -> threading.Thread:
    """Compile (or load from the cache) the splat and loss kernels in a thread of their own; join it to wait.

    A first launch then spends the seconds of compiling while it still loads files, or waits for its user.
    """
    thread = threading.Thread(target=_use_every_kernel, name="kernel warm-up", daemon=True)
    thread.start()
    return thread


def _use_every_kernel() -> None:
    """One tiny training step: spherical harmonics, rasteriser and loss, forward and backward."""
    import torch

    from studio.cameras import Camera, intrinsics
    from studio.kernels.photometric import photometric_loss
    from studio.kernels.splat import rasterize_splats

    means = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
    camera = Camera(torch.eye(4)[None], intrinsics(16.0, 16, 16)[None], 16, 16)
    quats, scales, opacities = torch.ones(1, 4), torch.full((1, 3), 0.1), torch.full((1,), 0.5)
    render = rasterize_splats(means, quats, scales, opacities, torch.zeros(1, 1, 3), camera, sh_degree=0)
    photometric_loss(render.rgb, torch.zeros(1, 16, 16, 3), torch.ones(1, 16, 16)).backward()
