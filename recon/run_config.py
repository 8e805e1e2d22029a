"""Settings that several kinds of training share."""

from __future__ import annotations

from dataclasses import dataclass


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
