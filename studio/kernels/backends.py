"""Which implementation of the kernels runs: CUDA libraries or our own compiled CPU kernels."""

from __future__ import annotations

from typing import Literal

import torch

from studio.errors import StudioError

Kernels = Literal["auto", "cuda", "cpu"]


def device_of(kernels: str) -> torch.device:
    """Where what is learned or drawn belongs: "auto" takes the GPU where there is one.

    Raises:
        StudioError: an unknown name, or CUDA where there is none.
    """
    _check(kernels)
    if kernels == "cuda" or (kernels == "auto" and torch.cuda.is_available()):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def choose_kernels(kernels: str, device: torch.device | str) -> Literal["cuda", "cpu"]:
    """Resolve "auto" for tensors on ``device``; what it returns belongs into the manifest.

    Tensors that are not on the CPU get what CUDA gets: libraries for CUDA, and plain torch.

    Raises:
        StudioError: an unknown name, or kernels that cannot work on tensors of this device.
    """
    kind = torch.device(device).type
    _check(kernels)
    here: Literal["cuda", "cpu"] = "cpu" if kind == "cpu" else "cuda"
    if kernels not in ("auto", here):
        raise StudioError(
            f"kernels={kernels}",
            got=f"tensors on {kind}",
            expected=f"tensors on {kernels}",
            next=f'move them .to("{kernels}")',
        )
    return here


def _check(kernels: str) -> None:
    if kernels not in ("auto", "cuda", "cpu"):
        raise StudioError("unknown kernels", got=repr(kernels), expected="auto, cuda or cpu")
    if kernels == "cuda" and not torch.cuda.is_available():
        raise StudioError(
            "kernels=cuda", got="no CUDA device", expected="a CUDA build of torch and a GPU", next="use kernels=cpu"
        )
