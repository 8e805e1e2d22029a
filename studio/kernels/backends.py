"""Which implementation of the kernels runs: CUDA libraries or our own compiled CPU kernels."""

from __future__ import annotations

from typing import Literal

import torch

from studio.errors import StudioError

Kernels = Literal["auto", "cuda", "cpu"]


def choose_kernels(kernels: str, device: torch.device | str) -> Literal["cuda", "cpu"]:
    """Resolve "auto" for tensors on ``device``; what it returns belongs into the manifest.

    Raises:
        StudioError: an unknown name, or kernels that cannot work on tensors of this device.
    """
    kind = torch.device(device).type
    if kernels not in ("auto", "cuda", "cpu"):
        raise StudioError("unknown kernels", got=repr(kernels), expected="auto, cuda or cpu")
    if kernels == "cuda" and not torch.cuda.is_available():
        raise StudioError(
            "kernels=cuda", got="no CUDA device", expected="a CUDA build of torch and a GPU", next="use kernels=cpu"
        )
    chosen: Literal["cuda", "cpu"] = "cuda" if kernels == "cuda" or (kernels == "auto" and kind == "cuda") else "cpu"
    if kind != chosen:
        raise StudioError(
            f"kernels={kernels}",
            got=f"tensors on {kind}",
            expected=f"tensors on {chosen}",
            next=f'move them .to("{chosen}")',
        )
    return chosen
