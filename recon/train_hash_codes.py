"""Training of ``hash_codes``: a radiance field that driving codes move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.avatars.hash_codes import HashCodes
from recon.code_network import CodeNetwork
from recon.corrections import CodeStatistics
from recon.frames import region_masks
from recon.hash_config import HashEnsembleConfig
from recon.head_field import Moments, faded_weights
from recon.hull import Hull, find_hull
from recon.loop import OnStep, fit
from recon.mesh_warp import MeshWarp
from recon.person import person_of
from recon.pixels import Pixels
from recon.processes import ALONE, Processes
from recon.train_hash_heads import HeadSession
from studio.cameras import Camera
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel
from studio.rotations import rigid_inverse

_RESIDUAL = 0.01  # deviation of the timesteps' own numbers at first
_WITHOUT = 0.5  # share of the steps in which they are zero, as they will be for new codes
_MARGIN = 0.25  # round the resting head model, of its size: for hair, and for how it moves
_MOST = 0.7  # of one camera's views: where the person is so often, something can be


@dataclass(frozen=True)
class HashCodesConfig(HashEnsembleConfig):
    """As ``HashEnsembleConfig``, and how codes are read.

    Args:
        components: most motions of mouth, eyes, brows and the rest that the network sees of each.
        code_hidden: width of the network.
        residual: numbers of its own that each timestep has while training; they are zero afterwards.
        emphasis: share of the pixels that are drawn at mouth and eyes.
        jitter: noise on the components, so that what is learned is a smooth function of them.
    """

    components: int = 16
    code_hidden: int = 64
    residual: int = 4
    emphasis: float = 0.25
    jitter: float = 0.1


def train_hash_codes(
    capture: Capture,
    track: CodeTrack,
    head: HeadModel,
    config: HashCodesConfig,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
    processes: Processes = ALONE,
) -> Path:
    """Train a drivable field; see ``recon.loop.fit`` for the run folder and resuming.

    Args:
        capture: matted, of one camera or more.
        track: the codes of every timestep; ``extras["identity"]`` holds the person's identity parameters.
        head: the head model that the track was made with.
        config: see ``HashCodesConfig``.
        run_folder: made by this function.
        on_step: called after every step.
        resume: continue, with the same result bit by bit.
        processes: that train it together, each on other rays.

    Returns:
        The avatar folder.

    Raises:
        StudioError: no mattes, or the run exists.
    """

    def make() -> HashCodesSession:
        session = HashCodesSession(capture, track, head, config)
        session.join(processes)
        return session

    inputs = {"track": track.hash, "head model": head.hash}
    return fit(make, capture, config, run_folder, on_step, resume, inputs, processes)


class HashCodesSession(HeadSession):
    """Codes instead of timesteps."""

    def __init__(self, capture: Capture, track: CodeTrack, head: HeadModel, config: HashCodesConfig) -> None:
        self.poses, self.tracked = track.codes.head_to_world, track.codes
        self.own, self.head, self.head_hash = config, person_of(track, head), head.hash
        super().__init__(capture, track, config)
        box = self.field.occupancy
        self.warp = MeshWarp(self.head, box.lower, box.upper)
        self.statistics = CodeStatistics.fit(self.codes, self.head, config.components)
        self.components = self.statistics.components(self.codes)
        sizes = config.field.n_hash_encodings, config.field.latent_dim_time_deform
        self.network = CodeNetwork(self.components.shape[1], config.residual, config.code_hidden, *sizes)
        self.network.reset(self.generator)
        residual = _RESIDUAL * torch.randn(len(self.timesteps), config.residual, generator=self.generator)
        self.residual = torch.nn.Parameter(residual)
        self.to_head = rigid_inverse(self.codes.head_to_world)
        self.optimizer = self.make_optimizer()

    def emphasis(self) -> dict[str, Any]:
        """Mouth and eyes, where the head model has them."""
        landmarks = self.head.landmark_submodel()

        def telling(timestep: int, camera: Camera) -> np.ndarray:
            regions = region_masks(landmarks, self.tracked[timestep], camera)
            return regions["mouth"] | regions["eyes"]

        return {"emphasis": self.own.emphasis, "telling": telling}

    def place(self, capture: Capture, cameras: tuple[int, ...]) -> Hull:
        """In the head frame: what all cameras agree on at some timestep, or a single one most of the time."""
        config, alone = self.config, len(cameras) == 1
        resting = self.head.template
        lower, upper = resting.amin(0), resting.amax(0)
        margin = _MARGIN * (upper - lower).max()
        return find_hull(
            capture,
            self.timesteps,
            cameras,
            self.poses,
            config.cells,
            agreeing=_MOST if alone else 0.999,
            at_once=not alone,
            min_views=min(config.min_views, len(cameras)),
            around=(lower - margin, upper + margin),
        )

    def rays(self, pixels: Pixels) -> tuple[Tensor, Tensor, Tensor]:
        """In the head frame."""
        origins, directions, z = super().rays(pixels)
        pose = self.to_head[pixels.timesteps][pixels.moments]
        turn = pose[:, :3, :3]
        return (turn @ origins[..., None])[..., 0] + pose[:, :3, 3], (turn @ directions[..., None])[..., 0], z

    def moments(self, timesteps: Tensor, step: int) -> Moments:
        noise = torch.randn(len(timesteps), self.components.shape[1], generator=self.generator)
        kept = torch.rand(len(timesteps), 1, generator=self.generator) >= _WITHOUT
        weights, told = self.network(
            self.components[timesteps] + self.own.jitter * noise, self.residual[timesteps] * kept
        )
        codes = told if self.config.field.deformation else None
        warps = self.warp.volumes(self.codes[timesteps])
        return Moments(faded_weights(weights, self.hash_reach(step)), codes, self.frequency_window(step), warps)

    def embeddings(self) -> dict[str, torch.nn.Parameter]:
        return {**dict(self.network.named_parameters()), "residual": self.residual}

    @property
    def avatar(self) -> HashCodes:
        network = CodeNetwork(
            self.components.shape[1],
            self.own.residual,
            self.own.code_hidden,
            self.config.field.n_hash_encodings,
            self.config.field.latent_dim_time_deform,
        )
        network.load_state_dict(self.network.state_dict())
        return HashCodes(
            self.learned_field(),
            self.head,
            self.head_hash,
            self.statistics,
            network.requires_grad_(False),
            self.own.residual,
            self.hash_reach(self.done),
            self.frequency_window(self.done),
            self.known,
            self.camera,
        )

    def result(self) -> tuple[HashCodes, dict[str, Any]]:
        """The trained head."""
        return self.avatar, {}
