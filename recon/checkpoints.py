"""Training state on disk: everything that the next step depends on, so that a resumed run repeats the same bits.

A checkpoint is a folder with state.safetensors (tensors) and state.json (numbers); the newest whole one counts.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from studio.errors import StudioError
from studio.folders import Manifest, read_manifest, write_folder
from studio.kernels.adam import Adam

Optimizer: TypeAlias = torch.optim.Optimizer | Adam

_TENSORS, _KEPT = "state.safetensors", 2


@dataclass(frozen=True)
class Checkpoint:
    """What was stored: tensors by name, and JSON numbers and strings."""

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write ``folder``/step_<n>, then drop all but the newest two of the same folder."""
    path = folder / f"step_{step:07d}"
    if not path.exists():
        with write_folder(path, Manifest(kind="checkpoint", body={"step": step, **checkpoint.numbers})) as temporary:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in checkpoint.tensors.items()},
                temporary / _TENSORS,
            )
    for old in sorted(folder.glob("step_*"))[:-_KEPT]:
        shutil.rmtree(old)
    return path


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a run, or None where there is none."""
    for path in sorted(folder.glob("step_*"), reverse=True):
        try:
            manifest = read_manifest(path, kind="checkpoint", verify=True)
        except StudioError:
            continue  # damaged: the one before it still counts
        return Checkpoint(load_file(path / _TENSORS), manifest.body)
    return None


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"optimizer/{index}/{name}": value for index, slot in state.items() for name, value in slot.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of ``optimizer_tensors``; learning rates stay as the optimiser was built."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, name = key.split("/")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
