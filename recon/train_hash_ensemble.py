"""Training of ``hash_ensemble``: a radiance field with a code for every timestep (Kirschstein et al. 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recon.avatars.hash_ensemble import HashEnsemble
from recon.hash_config import HashEnsembleConfig
from recon.head_field import Moments, faded_weights
from recon.hull import Hull, find_hull
from recon.loop import OnStep, fit
from recon.processes import ALONE, Processes
from recon.train_hash_heads import HeadSession
from studio.captures import Capture
from studio.codes import CodeTrack

_CODE = 0.01  # deviation of codes at first, over the root of their number


def train_hash_ensemble(
    capture: Capture,
    track: CodeTrack,
    config: HashEnsembleConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
    processes: Processes = ALONE,
) -> Path:
    """Train a field with a code for every timestep; see ``recon.loop.fit`` for the run folder and resuming.

    Args:
        capture: a matted rig of cameras.
        track: only how timesteps are asked for afterwards: nothing is learned from it.
        config: see ``HashEnsembleConfig``.
        run_folder: made by this function.
        on_step: called after every step.
        resume: continue, with the same result bit by bit.
        processes: that train it together, each on other rays.

    Returns:
        The avatar folder.

    Raises:
        StudioError: no mattes, too few cameras, or the run exists.
    """

    def make() -> HashEnsembleSession:
        session = HashEnsembleSession(capture, track, config)
        session.join(processes)
        return session

    return fit(make, capture, config, run_folder, on_step, resume, {"track": track.hash}, processes)


class HashEnsembleSession(HeadSession):
    """A code for every timestep."""

    def __init__(self, capture: Capture, track: CodeTrack, config: HashEnsembleConfig) -> None:
        super().__init__(capture, track, config)
        count, tables, told = len(self.timesteps), config.field.n_hash_encodings, config.field.latent_dim_time_deform
        time = self._codes(count, tables)
        time[:, 0] = 1.0  # as the first table's weight was: a short schedule sees no jump
        self.time = torch.nn.Parameter(time)
        self.time_deform = torch.nn.Parameter(self._codes(count, told))
        self.optimizer = self.make_optimizer()

    def _codes(self, count: int, size: int) -> Tensor:
        return _CODE / max(size, 1) ** 0.5 * torch.randn(count, size, generator=self.generator)

    def place(self, capture: Capture, cameras: tuple[int, ...]) -> Hull:
        """In the world: what all cameras agree on at some timestep."""
        still = torch.eye(4).expand(len(capture), 4, 4)
        config = self.config
        return find_hull(
            capture,
            self.timesteps,
            cameras,
            still,
            config.cells,
            agreeing=0.999,
            at_once=True,
            min_views=config.min_views,
        )

    def moments(self, timesteps: Tensor, step: int) -> Moments:
        codes = self.time_deform[timesteps] if self.config.field.deformation else None
        return Moments(faded_weights(self.time[timesteps], self.hash_reach(step)), codes, self.frequency_window(step))

    def embeddings(self) -> dict[str, torch.nn.Parameter]:
        return {"time": self.time, "time_deform": self.time_deform}

    @property
    def avatar(self) -> HashEnsemble:
        weights = faded_weights(self.time.detach(), self.hash_reach(self.done))
        window, codes = self.frequency_window(self.done), self.time_deform.detach()
        return HashEnsemble(self.learned_field(), weights, codes, window, self.codes, self.known, self.camera)

    def result(self) -> tuple[HashEnsemble, dict[str, Any]]:
        """The trained head."""
        return self.avatar, {}
