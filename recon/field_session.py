"""What training any radiance field holds between two steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recon.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from recon.forecast import Outlook
from recon.processes import Processes
from recon.session import StoredSession
from recon.states import named, under
from studio.kernels.march import OccupancyGrid

_OCCUPANCY_EVERY, _OCCUPANCY_WARM = 16, 256  # steps; all cells are looked at while it is warm
_GLANCE = 0.3  # what finding out that a sample is hidden or empty costs against learning from it


class FieldSession(StoredSession):
    """See ``recon.loop.Session``."""

    finished = False
    parameters: dict[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer

    def __init__(self, iterations: int, samples: int, most: int, seed: int) -> None:
        """Args:
        iterations: steps.
        samples: learned from in a step, about.
        most: rays of a step.
        seed: of everything random.
        """
        self._iterations, self._samples, self._most, self._seed = iterations, samples, most, seed
        self.done, self.generator = 0, torch.Generator().manual_seed(seed)
        self.count = min(512, most)  # rays of a step; more once there is a surface

    def join(self, processes: Processes) -> None:
        """Go on together with sessions that were made as this one was; from here on each draws rays of its own."""
        self.processes = processes
        if processes.rank:
            self.generator.manual_seed(self._seed + processes.rank)

    def share_gradients(self) -> None:
        """Every process gets the mean of all gradients."""
        if self.processes.size == 1:
            return
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for parameter in parameters:  # what the rays of one process did not meet, those of another may have
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        self.processes.average([parameter.grad for parameter in parameters if parameter.grad is not None])

    @property
    @abstractmethod
    def occupancy(self) -> OccupancyGrid:
        """What of the box is worth looking into."""

    def learned(self) -> dict[str, torch.nn.Parameter]:
        """All that is learned by the optimizer, by name."""
        return self.parameters

    @torch.no_grad()
    def look_for_what_is_empty(
        self, step: int, opacities: Callable[[], Sequence[Callable[[Tensor], Tensor]]], forget: float
    ) -> None:
        """Every few steps: one look for each of some functions from points to α; the most of all is kept, and fades."""
        if step % _OCCUPANCY_EVERY:
            return
        own = self.generator
        if self.processes.size > 1:  # all processes look at the same places
            self.generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        for index, opacity in enumerate(opacities()):
            decay = 1.0 if index else forget
            self.occupancy.update(opacity, self.generator, everywhere=step < _OCCUPANCY_WARM, decay=decay)
        self.generator = own

    def adapt(self, kept: int, looked: int) -> None:
        """Take as many rays in the next step as give it the samples that were asked for."""
        looks = kept + _GLANCE * looked
        if self.processes.size > 1:
            looks = float(self.processes.add(torch.tensor(looks))) / self.processes.size
        wish = round(self.count * self._samples / max(looks, 1.0))
        self.count = min(max(wish, self.count // 2, 1), 2 * self.count, self._most)

    def validate(self, step: int) -> dict[str, float]:
        """Nothing is held back; the share of the box that is not empty shows the progress."""
        return {"occupied": float(self.occupancy.occupied.float().mean())}

    def outlook(self, done: int) -> Outlook:
        """As much for every step: they look at as many samples."""
        return Outlook(float(self._iterations - done), 0, 0)

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        generators = self.processes.gathered(self.generator.get_state())
        tensors = {
            **named("now", self.learned()),
            **optimizer_tensors(self.optimizer),
            **{f"generator/{rank}": state for rank, state in enumerate(generators)},
            "values": self.occupancy.values,
            "occupied": self.occupancy.occupied,
        }
        return Checkpoint(tensors, {"done": self.done, "count": self.count})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a ``state``."""
        tensors, occupancy, learned = checkpoint.tensors, self.occupancy, self.learned()
        with torch.no_grad():
            for name, value in under("now", tensors).items():
                learned[name].copy_(value)
        restore_optimizer(self.optimizer, tensors)
        occupancy.values, occupancy.occupied = tensors["values"], tensors["occupied"]
        if (own := f"generator/{self.processes.rank}") in tensors:  # else there are more processes than there were
            self.generator.set_state(tensors[own])
        self.done, self.count = int(checkpoint.numbers["done"]), int(checkpoint.numbers["count"])
