"""One small avatar folder of each kind, for the contract in test_avatars.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from recon.avatars.hash_static import HashStatic
from recon.avatars.static_splats import StaticSplats, initial_parameters
from recon.radiance import FieldShape, RadianceField
from recon.train import train
from recon.train_config import TrainConfig
from studio.folders import Manifest
from studio.kernels.march import OccupancyGrid
from tests.recon.ball import ball_cameras, ball_head, ball_track, write_ball_capture


def _splats(folder: Path) -> Path:
    capture = write_ball_capture(folder / "capture")
    config = TrainConfig(gaussians=300, iterations=3)
    return train(capture, ball_track(), ball_head(), config, folder / "run")


def _static_splats(folder: Path) -> Path:
    random = np.random.default_rng(0)
    parameters = initial_parameters(0.05 * random.normal(size=(200, 3)), random.random((200, 3)), sh_degree=1)
    StaticSplats(parameters, ball_cameras()[1]).save(folder / "avatar", Manifest(kind="avatar"))
    return folder / "avatar"


def _hash_static(folder: Path) -> Path:
    """A field that has not been trained is a thin, even fog."""
    random, shape = torch.Generator().manual_seed(0), FieldShape(levels=4, log2_size=10, finest=64, hidden=16)
    occupancy = OccupancyGrid.full(torch.full((3,), -0.1), torch.full((3,), 0.1), 8)
    field = RadianceField(shape.initial(random, sky=False), shape, occupancy, step=0.0005)
    HashStatic(field, ball_cameras()[1]).save(folder / "avatar", Manifest(kind="avatar"))
    return folder / "avatar"


EXAMPLES: Mapping[str, Callable[[Path], Path]] = {
    "splats": _splats,
    "static_splats": _static_splats,
    "hash_static": _hash_static,
}
