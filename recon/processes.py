"""Several processes that train one avatar together, each on other images, through torch.distributed.

Each holds all of what is learned, draws its own images of every step, and takes the mean of all gradients: so all do
the same steps, bit by bit, as one process would with all of their images. The first one writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from studio.errors import StudioError
from studio.kernels.workers import worker_count

_PATIENCE = timedelta(minutes=30)  # another process may be busy for so long: reading, validating, writing
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Processes:
    """Those that train one avatar; what they tell each other costs nothing where there is only one.

    Args:
        rank: which of them this is.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.rank == 0

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        return self._reduced(tensor, distributed.ReduceOp.SUM)

    def most(self, tensor: Tensor) -> Tensor:
        """The largest over the processes of each number, in place."""
        return self._reduced(tensor, distributed.ReduceOp.MAX)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over the processes into tensors of one device, which all of them have."""
        if self.size == 1 or not tensors:
            return
        joined = self.add(torch.cat([tensor.reshape(-1) for tensor in tensors])) / self.size
        for tensor, mean in zip(tensors, joined.split([tensor.numel() for tensor in tensors])):
            tensor.copy_(mean.view_as(tensor))

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, which are of one shape, by rank."""
        if self.size == 1:
            return [tensor]
        result = [torch.empty_like(tensor) for _ in range(self.size)]
        with _together(self.size):
            distributed.all_gather(result, tensor.contiguous())
        return result

    def any(self, said: bool) -> bool:
        """Whether one of the processes says so."""
        return said if self.size == 1 else bool(self.most(torch.tensor([float(said)])) > 0)

    def share(self, count: int) -> range:
        """Which of ``count`` things this process takes care of."""
        return range(self.rank, count, self.size)

    def _reduced(self, tensor: Tensor, how: distributed.ReduceOp.RedOpType) -> Tensor:
        if self.size > 1:
            with _together(self.size):
                distributed.all_reduce(tensor, how)
        return tensor


ALONE = Processes()


def join(device: torch.device) -> Processes:
    """Meet the other processes that ``torchrun`` started; alone where it did not start this one.

    Each process of a machine takes a GPU of its own, or its share of the cores.

    Raises:
        StudioError: they do not meet.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if missing := [name for name in _VARIABLES if name not in os.environ]:
        raise StudioError(
            "several processes that do not know each other",
            got=f"WORLD_SIZE={size} without {', '.join(missing)}",
            next="start them by torchrun",
        )
    local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    os.environ.setdefault("STUDIO_THREADS", str(max(worker_count() // local, 1)))
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", os.environ["RANK"])))
    with _together(size):
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
    return Processes(distributed.get_rank(), size)


def leave() -> None:
    """The end of ``join``."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def _together(size: int) -> Iterator[None]:
    """One line instead of what the libraries say when another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise StudioError(
            "another process of this training ended",
            got=str(error).strip().splitlines()[0][:160],
            expected=f"{size} processes until the end",
            next="see what it said; the same command with resume=true goes on from the last checkpoint",
        ) from error
