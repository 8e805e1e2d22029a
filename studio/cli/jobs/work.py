"""What workers do for a job besides drawing: reconstruct and evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.cli.compose import compose_jobs, to_config
from studio.cli.verbs.eval import evaluate_split
from studio.cli.verbs.train import train_avatar
from studio.jobs.tasks import Place


def reconstruct(arguments: Mapping[str, Any], place: Place) -> None:
    """Train an avatar into ``run``; a training that was killed goes on from its newest checkpoint."""
    config = to_config("train", compose_jobs("train", arguments["settings"])[0])
    run = place.scratch / "run"
    run.parent.mkdir(parents=True, exist_ok=True)
    train_avatar(config, config.path("capture"), arguments["track"], run, resume=True)
    run.replace(place.result / "run")


def judge(arguments: Mapping[str, Any], place: Place) -> None:
    """Evaluate an avatar on a split into ``report``."""
    capture, track, split = Path(arguments["capture"]), arguments["track"], arguments["split"]
    avatar, kernels = Path(arguments["avatar"]), arguments["kernels"]
    evaluate_split(avatar, capture, track, split, place.result / "report", kernels)
