"""Training of a drivable splat avatar: from a capture, its code track and a head model to an avatar folder."""

from __future__ import annotations

from pathlib import Path

from recon.loop import OnStep, fit
from recon.processes import ALONE, Processes
from recon.splat_session import SplatSession
from recon.train_config import TrainConfig
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel


def train(
    capture: Capture,
    track: CodeTrack,
    head: HeadModel,
    config: TrainConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
    processes: Processes = ALONE,
) -> Path:
    """Train an avatar.

    Args:
        capture: photos, mattes and cameras.
        track: the codes of every timestep; ``extras["identity"]`` holds the person's identity parameters.
        head: the head model that the track was made with.
        config: see ``TrainConfig``.
        run_folder: made by this function: config, checkpoints, metrics.jsonl and the avatar.
        on_step: called after every step.
        resume: continue in ``run_folder`` from its newest checkpoint, with the same result bit by bit.
        processes: that train it together, each on other images.

    Returns:
        The avatar folder, ``run_folder``/avatar.

    Raises:
        StudioError: the run exists (without ``resume``) or is of another configuration, capture, track or head model;
            the split has no usable frame.
        KeyboardInterrupt: after Ctrl-C, when the state is stored.
    """
    inputs = {"track": track.hash, "head model": head.hash}

    def session() -> SplatSession:
        return SplatSession(capture, track, head, config, processes)

    return fit(session, capture, config, run_folder, on_step, resume, inputs, processes)
