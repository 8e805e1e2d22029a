"""``studio train``: an avatar from a tracked capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.progress import step_bar
from studio.cli.rooms import chosen_head, note_origin, only_track
from studio.errors import StudioError

if TYPE_CHECKING:
    from recon.loop import Step
    from recon.processes import Processes
    from studio.captures import Capture

    Start = Callable[[Path, Callable[[Step], None] | None, bool, Processes], Path]


def run(config: Config) -> None:
    """Train and leave a run folder with the avatar in it."""
    capture = config.path("capture")
    out = config.optional_path("out") or Path("runs") / (capture.resolve().parent.name or "avatar")
    from recon.processes import join, leave
    from studio.kernels.backends import device_of

    processes = join(device_of(config.text("kernels")))
    try:
        avatar = train_avatar(config, capture, config.get("track", str | None), out, config.flag("resume"), processes)
    finally:
        leave()
    if processes.first:
        finish(out, avatar, next="eval", run=out)


def train_avatar(
    config: Config,
    capture_folder: Path,
    track_name: str | None,
    out: Path,
    resume: bool,
    processes: Processes | None = None,
) -> Path:
    """Train the kind of avatar that the group ``avatar`` chooses; returns the avatar folder in ``out``.

    Of several ``processes`` the first one speaks and writes.
    """
    from recon.processes import ALONE

    plan, processes = plan_training(config, capture_folder, track_name), processes or ALONE
    if not processes.first:
        return plan.start(out, None, resume, processes)
    note = partial(note_origin, out, config, capture_folder, plan.track)
    try:
        with step_bar("train") as on_step:
            return plan.start(out, _noted(on_step, note), resume, processes)
    finally:
        note()


def _noted(on_step: Callable[[Step], None], note: Callable[[], None]) -> Callable[[Step], None]:
    """``note`` with the first step: who looks at a run while it learns looks for its capture there."""
    is_noted = False

    def step(done: Step) -> None:
        nonlocal is_noted
        if not is_noted:
            note()
            is_noted = True
        on_step(done)

    return step


@dataclass(frozen=True)
class TrainingPlan:
    """A training whose settings and sources are checked.

    Args:
        kind: of avatar.
        settings: the training's own configuration.
        capture: what it learns from.
        track: name of the track, None where none is used.
        start: trains into a run folder: (folder, on_step, resume, processes) -> avatar folder.
    """

    kind: str
    settings: Any
    capture: Capture
    track: str | None
    start: Start


def plan_training(config: Config, capture_folder: Path, track_name: str | None) -> TrainingPlan:
    """Check a training before it begins. Raises StudioError for settings or a capture that do not fit."""
    from studio.captures import open_capture

    capture = open_capture(capture_folder)
    settings = config.group("avatar")
    common = {"kernels": config.text("kernels"), "seed": config.get("seed", int)}
    kind = settings.text("kind")
    is_static = kind in ("static_splats", "hash_static")
    if capture.fps == 0 and not is_static:
        raise StudioError(
            f"{capture_folder} shows a single moment", next="train it with avatar=static_splats or avatar=hash_static"
        )
    if is_static:
        return _static_plan(kind, settings, common, capture)
    name = track_name or only_track(capture)
    track = capture.track(name)
    if kind == "hash_ensemble":
        from recon.hash_config import HashEnsembleConfig
        from recon.train_hash_ensemble import train_hash_ensemble

        ensemble = settings.to(HashEnsembleConfig, **common)
        start = partial(train_hash_ensemble, capture, track, ensemble)
        return TrainingPlan(kind, ensemble, capture, name, start)
    if kind == "hash_codes":
        from recon.train_hash_codes import HashCodesConfig, train_hash_codes

        codes = settings.to(HashCodesConfig, **common)
        start = partial(train_hash_codes, capture, track, chosen_head(config, track), codes)
        return TrainingPlan(kind, codes, capture, name, start)
    from recon.train import train
    from recon.train_config import TrainConfig

    chosen = settings.to(TrainConfig, **common)
    return TrainingPlan(kind, chosen, capture, name, partial(train, capture, track, chosen_head(config, track), chosen))


def _static_plan(kind: str, settings: Config, common: Mapping[str, Any], capture: Capture) -> TrainingPlan:
    if kind == "hash_static":
        from recon.train_hash import HashStaticConfig, train_hash_static

        field = settings.to(HashStaticConfig, **common)
        return TrainingPlan(kind, field, capture, None, _by_one(kind, partial(train_hash_static, capture, field)))
    from recon.train_static import StaticConfig, train_static

    static = settings.to(StaticConfig, **common)
    return TrainingPlan(kind, static, capture, None, _by_one(kind, partial(train_static, capture, static)))


def _by_one(kind: str, start: Callable[[Path, Callable[[Step], None] | None, bool], Path]) -> Start:
    """A training that several processes cannot share."""

    def started(out: Path, on_step: Callable[[Step], None] | None, resume: bool, processes: Processes) -> Path:
        if processes.size > 1:
            raise StudioError(f"avatar={kind}", got=f"{processes.size} processes", expected="one")
        return start(out, on_step, resume)

    return started
