"""The stages that ``make`` and ``demo`` have in common: judging, driving, the contact sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.chain import Chain
from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.sheet import spread_frames, write_sheet
from studio.cli.verbs.eval import evaluate_split, held_out, show
from studio.cli.verbs.train import train_avatar

if TYPE_CHECKING:
    from reenact.drivers import Driver

_TILES = 7
_JUDGED = ("truth", "render")


@dataclass(frozen=True)
class Made:
    """Where a chain has put its capture and avatar.

    Args:
        capture: capture folder.
        track: name of its track, None for a capture of a single moment.
        run: run folder.
    """

    capture: Path
    track: str | None
    run: Path

    @property
    def avatar(self) -> Path:
        return self.run / "avatar"


def train_stage(chain: Chain, config: Config, made: Made) -> None:
    """Train the avatar, continuing a run that was begun."""
    from recon.forecast import COST

    began = (made.run / "manifest.json").exists()

    def make() -> None:
        train_avatar(config, made.capture, made.track, made.run, resume=began)

    chain.stage("train", made.avatar, make, notes=made.run / COST)


def eval_stages(chain: Chain, made: Made, kernels: str) -> dict[str, Path]:
    """Judge the avatar on each held-out split; returns the folders."""
    folders = {split: made.run / "eval" / split for split in held_out(made.capture, made.track)}
    for split, folder in folders.items():

        def judge(split: str = split, folder: Path = folder) -> None:
            evaluate_split(made.avatar, made.capture, made.track, split, folder, kernels)

        chain.stage(f"eval {split}", folder, judge)
    return folders


def drive_stage(
    chain: Chain, name: str, made: Made, driver: Driver, config: Config, relative: bool | None = None
) -> Path:
    """Drive the avatar into ``<name>.mp4`` with the driver's sound; for ``relative`` see ``DriveConfig``."""
    from reenact.drive import DriveConfig, drive_video
    from reenact.render_config import RenderConfig

    settings = DriveConfig(relative=relative, render=config.build(RenderConfig, "render"))
    out = chain.out / f"{name}.mp4"
    kernels = config.text("kernels")
    return chain.stage(name, out, lambda: drive_video(made.avatar, driver, out, settings, kernels=kernels))


def conclude(chain: Chain, made: Made, judged: Mapping[str, Path], videos: Mapping[str, Path]) -> None:
    """Contact sheet and summary, and the words at the end."""
    sheet = _contact_sheet(chain, judged, videos)
    metrics = {split: json.loads((folder / "metrics.json").read_text()) for split, folder in judged.items()}
    for split, values in metrics.items():
        show(split, values)
    summary = chain.finish(metrics, {"avatar": made.avatar, "contact_sheet": sheet, **videos})
    finish(summary, sheet, *videos.values(), made.avatar, next="view", avatar=made.avatar)


def _contact_sheet(chain: Chain, judged: Mapping[str, Path], videos: Mapping[str, Path]) -> Path:
    """Truth above render for each split, then frames of the videos: ``contact_sheet.png``."""
    shown = {f"{split}: {kind}": folder / f"{kind}.mp4" for split, folder in judged.items() for kind in _JUDGED}
    rows = [(caption, spread_frames(video, _TILES)) for caption, video in {**shown, **videos}.items()]
    return write_sheet(chain.out / "contact_sheet.png", rows)
