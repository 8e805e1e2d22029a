"""What training any radiance field holds between two steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recon.checkpoints import Checkpoint, optimizer_tensors, restore_optimizer
from recon.forecast import Outlook
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
        self._iterations, self._samples, self._most = iterations, samples, most
        self.done, self.generator = 0, torch.Generator().manual_seed(seed)
        self.count = min(512, most)  # rays of a step; more once there is a surface

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
        for index, opacity in enumerate(opacities()):
            decay = 1.0 if index else forget
            self.occupancy.update(opacity, self.generator, everywhere=step < _OCCUPANCY_WARM, decay=decay)

    def adapt(self, kept: int, looked: int) -> None:
        """Take as many rays in the next step as give it the samples that were asked for."""
        wish = round(self.count * self._samples / max(kept + _GLANCE * looked, 1.0))
        self.count = min(max(wish, self.count // 2, 1), 2 * self.count, self._most)

    def validate(self, step: int) -> dict[str, float]:
        """Nothing is held back; the share of the box that is not empty shows the progress."""
        return {"occupied": float(self.occupancy.occupied.float().mean())}

    def outlook(self, done: int) -> Outlook:
        """As much for every step: they look at as many samples."""
        return Outlook(float(self._iterations - done), 0, 0)

    def state(self) -> Checkpoint:
        """Everything that the next step depends on."""
        tensors = {
            **named("now", self.learned()),
            **optimizer_tensors(self.optimizer),
            "generator": self.generator.get_state(),
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
        self.generator.set_state(tensors["generator"])
        self.done, self.count = int(checkpoint.numbers["done"]), int(checkpoint.numbers["count"])
