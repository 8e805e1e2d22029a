"""What every training session does alike: write checkpoints, and continue from the newest one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch

from recon.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from recon.processes import ALONE, Processes


class StoredSession(ABC):
    """A session that tells what its next step depends on; see ``recon.loop.Session`` for the rest of it."""

    processes: Processes = ALONE  # that train together
    device = torch.device("cpu")  # where the kernels work

    @abstractmethod
    def state(self) -> Checkpoint:
        """Everything that the next step depends on; all processes are asked together."""

    @abstractmethod
    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""

    def store(self, folder: Path, step: int) -> None:
        """Write a checkpoint; the first process does."""
        state = self.state()
        if self.processes.first:
            save_checkpoint(folder, step, state)

    def restore(self, folder: Path) -> int:
        """Continue from the newest checkpoint, if there is one; returns the steps done."""
        checkpoint = load_checkpoint(folder)
        if checkpoint is None:
            return 0
        self.resume(checkpoint)
        return int(checkpoint.numbers["step"])
