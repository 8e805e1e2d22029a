"""Two processes train one avatar: as one with their images, the same bits in both, and none waits for a dead one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from recon.avatars import load_avatar
from recon.avatars.splats import SplatAvatar
from recon.field import FieldConfig
from recon.growth import GrowthConfig
from recon.hash_config import HashEnsembleConfig
from recon.head_field import HeadFieldShape
from recon.processes import ALONE, join, leave
from recon.splat_session import SplatSession
from recon.train import train
from recon.train_config import TrainConfig
from recon.train_hash_ensemble import HashEnsembleSession, train_hash_ensemble
from studio.captures import Capture, open_capture
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.heads.model import HeadModel
from tests.recon.ball import ball_head, ball_track

CONFIG = TrainConfig(
    gaussians=300,
    iterations=6,
    check_every=3,
    checkpoint_every=4,
    validation=0.2,
    levels=(),
    kernels="cpu",
    refine=True,
    growth=GrowthConfig(rounds=1, start=0.5),
    model=FieldConfig(bases=3, hidden=8),
)
FIELD = HashEnsembleConfig(
    iterations=4,
    samples=1024,
    train_num_rays_per_batch=128,
    render_step_size=0.01,
    cells=8,
    check_every=4,
    checkpoint_every=3,
    kernels="cpu",
    field=HeadFieldShape(
        n_hash_encodings=2,
        n_levels=2,
        log2_hashmap_size=8,
        base_resolution=4,
        latent_dim_time_deform=2,
        n_freq_pos=2,
        mlp_num_layers=2,
        mlp_layer_width=16,
        skip_connection=0,
        hidden=16,
    ),
)
SECONDS = 120  # that nothing here takes, if not for a process that waits for ever


def _start(
    capture: Path, out: Path, rank: int, port: int, kind: str = "splats", dies_at: int = -1
) -> subprocess.Popen[str]:
    """One of two processes; ``main`` below runs in it."""
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": Path(__file__).parents[2]}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.recon.test_processes", str(capture), str(out), kind, str(dies_at)],
        env=os.environ | {key: str(value) for key, value in told.items()},
        stderr=subprocess.PIPE,
        text=True,
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main(capture: str, out: str, kind: str, dies_at: str) -> None:
    """Train and leave what this process held after its last step as <out>.<rank>.safetensors."""
    processes = join(torch.device("cpu"))
    held: dict[str, torch.Tensor] = {}
    session: Any = SplatSession if kind == "splats" else HashEnsembleSession
    usual = session.step

    def watched(self: Any, step: int) -> float:
        if step == int(dies_at) and processes.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        loss = usual(self, step)
        held.update({name: value.detach().clone() for name, value in self.state().tensors.items()})
        held["count"] = torch.tensor(getattr(self, "count", 0))
        return loss

    session.step, opened = watched, open_capture(Path(capture))
    try:
        if kind == "splats":
            train(opened, ball_track(), ball_head(), CONFIG, Path(out), processes=processes)
        else:
            train_hash_ensemble(opened, ball_track(), FIELD, Path(out), processes=processes)
        save_file(held, f"{out}.{processes.rank}.safetensors")
    except StudioError as error:
        sys.exit(str(error))
    leave()


def test_two_processes_are_one_with_twice_the_images(
    tmp_path: Path, capture: Capture, track: CodeTrack, head: HeadModel
) -> None:
    port = _free_port()
    started = [_start(capture.folder, tmp_path / "run", rank, port) for rank in (0, 1)]
    told = [process.communicate(timeout=SECONDS)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    first, second = (load_file(tmp_path / f"run.{rank}.safetensors") for rank in (0, 1))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    together = load_avatar(tmp_path / "run" / "avatar", "cpu")
    alone = load_avatar(train(capture, track, head, replace(CONFIG, batch=2), tmp_path / "alone"), "cpu")
    assert isinstance(together, SplatAvatar)
    assert isinstance(alone, SplatAvatar)
    for name, value in alone.learned.state_dict().items():
        torch.testing.assert_close(together.learned.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2  # the first process alone writes
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_0000004"]


def test_two_processes_learn_one_radiance_field(tmp_path: Path, capture: Capture) -> None:
    port = _free_port()
    started = [_start(capture.folder, tmp_path / "run", rank, port, "field") for rank in (0, 1)]
    told = [process.communicate(timeout=SECONDS)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    first, second = (load_file(tmp_path / f"run.{rank}.safetensors") for rank in (0, 1))
    assert first.keys() == second.keys()
    for name, value in first.items():  # learned, momenta, occupancy, rays of the next step, what both will draw
        assert torch.equal(value, second[name]), name
    assert not torch.equal(first["generator/0"], first["generator/1"])  # each draws rays of its own
    load_avatar(tmp_path / "run" / "avatar", "cpu")


def test_a_process_that_dies_ends_the_other_with_one_line(tmp_path: Path, capture: Capture) -> None:
    port = _free_port()
    started = [_start(capture.folder, tmp_path / "run", rank, port, dies_at=2) for rank in (0, 1)]
    told = [process.communicate(timeout=SECONDS)[1] for process in started]
    assert started[1].returncode == -signal.SIGKILL
    assert started[0].returncode == 1
    last = told[0].strip().splitlines()[-1]
    assert last.startswith("another process of this training ended")
    assert "resume=true" in last


def test_a_batch_is_the_mean_of_its_images(capture: Capture, track: CodeTrack, head: HeadModel) -> None:
    session = SplatSession(capture, track, head, replace(CONFIG, batch=2))
    views, numbers = session._draw(3)
    assert numbers == [6, 7]
    both = session.objective.loss(session.avatar, views, numbers)
    apart = [session.objective.loss(session.avatar, [v], [n]) for v, n in zip(views, numbers)]
    assert float(both) == pytest.approx(float(sum(apart)) / 2, abs=1e-6)


def test_one_process_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join(torch.device("cpu")) is ALONE
    values = torch.tensor([1.0, 2.0])
    ALONE.average([values])
    assert torch.equal(ALONE.add(values), torch.tensor([1.0, 2.0]))
    assert torch.equal(ALONE.gathered(values)[0], values)
    assert not ALONE.any(False)
    assert list(ALONE.share(3)) == [0, 1, 2]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(StudioError, match="start them by torchrun"):
        join(torch.device("cpu"))


if __name__ == "__main__":
    main(*sys.argv[1:])
