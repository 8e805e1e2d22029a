"""Settings that several kinds of training share."""

from __future__ import annotations

from dataclasses import dataclass

from studio.errors import StudioError


@dataclass(frozen=True)
class RunConfig:
    """How long, on what, and how often something is written; see ``recon.loop``.

    Args:
        iterations: steps.
        split: what to train on.
        kernels: "auto", "cuda" or "cpu".
        seed: of everything random.
        check_every: steps between entries in metrics.jsonl.
        checkpoint_every: steps between checkpoints.
    """

    iterations: int = 4000
    split: str = "train"
    kernels: str = "auto"
    seed: int = 0
    check_every: int = 500
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        require_steps(self.iterations, self.check_every, self.checkpoint_every)


def require_steps(iterations: int, check_every: int, checkpoint_every: int) -> None:
    """Raise StudioError for a training of no length, or one that is checked or stored every 0 steps."""
    if min(iterations, check_every, checkpoint_every) < 1:
        got = f"iterations {iterations}, check_every {check_every}, checkpoint_every {checkpoint_every}"
        raise StudioError("impossible training", got=got, expected="1 step or more of each")
