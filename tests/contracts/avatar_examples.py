"""One small avatar folder of each kind, for the contract in test_avatars.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from recon.avatars.hash_codes import HashCodes
from recon.avatars.hash_ensemble import HashEnsemble
from recon.avatars.hash_static import HashStatic
from recon.avatars.static_splats import StaticSplats, initial_parameters
from recon.code_network import CodeNetwork
from recon.corrections import CodeStatistics
from recon.head_field import HeadField, HeadFieldShape
from recon.radiance import FieldShape, RadianceField
from recon.train import train
from recon.train_config import TrainConfig
from studio.code_range import measure_range
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


def _field() -> HeadField:
    """As above, of a head that moves."""
    shape = HeadFieldShape(3, 3, 10, 8, 1.5, 4, 2, 1, 16, 0, 16)
    occupancy = OccupancyGrid.full(torch.full((3,), -0.1), torch.full((3,), 0.1), 8)
    return HeadField(shape.initial(torch.Generator().manual_seed(0)), shape, occupancy, step=0.002)


def _hash_ensemble(folder: Path) -> Path:
    track, random = ball_track(), torch.Generator().manual_seed(1)
    weights, told = torch.rand(8, 3, generator=random), torch.randn(8, 4, generator=random)
    known, camera = measure_range(track), ball_cameras()[1]
    avatar = HashEnsemble(_field(), weights, told, torch.ones(2), track.codes, known, camera)
    avatar.save(folder / "avatar", Manifest(kind="avatar"))
    return folder / "avatar"


def _hash_codes(folder: Path) -> Path:
    track, head = ball_track(), ball_head().with_identity(torch.tensor([0.3]))
    statistics = CodeStatistics.fit(track.codes, head, 4)
    network = CodeNetwork(int(statistics.sizes.sum()), 2, 16, 3, 4).reset(torch.Generator().manual_seed(2))
    network.requires_grad_(False)
    known, camera = measure_range(track), ball_cameras()[1]
    avatar = HashCodes(_field(), head, "ball", statistics, network, 2, 3.0, torch.ones(2), known, camera)
    avatar.save(folder / "avatar", Manifest(kind="avatar"))
    return folder / "avatar"


EXAMPLES: Mapping[str, Callable[[Path], Path]] = {
    "splats": _splats,
    "static_splats": _static_splats,
    "hash_static": _hash_static,
    "hash_ensemble": _hash_ensemble,
    "hash_codes": _hash_codes,
}
