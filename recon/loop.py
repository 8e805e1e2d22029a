"""The training loop that every representation shares: run folder, checkpoints, validation, Ctrl-C, resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from recon.forecast import Meter, Outlook
from recon.interrupt import Interrupt, deferred_interrupt
from recon.processes import ALONE, Processes
from recon.steering import Steering
from studio.avatar import Avatar
from studio.captures import Capture
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, read_manifest, require_new, write_folder
from studio.kernels.backends import choose_kernels


class Schedule(Protocol):
    """What the loop needs of a training configuration (a frozen dataclass)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def iterations(self) -> int: ...
    @property
    def check_every(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def kernels(self) -> str: ...


class Trainable(Avatar, Protocol):
    """An avatar that can be stored."""

    def save(self, folder: Path, manifest: Manifest) -> None: ...


class Session(Protocol):
    """Everything that training one representation holds between two steps."""

    @property
    def avatar(self) -> Any:
        """As trained so far, for live views."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the kernels work."""
        ...

    def step(self, step: int) -> float:
        """One optimisation step; returns the loss."""
        ...

    def validate(self, step: int) -> dict[str, float]:
        """Figures for metrics.jsonl; remembers the best state."""
        ...

    @property
    def reading(self) -> tuple[int, float]:
        """How many images were read, and the seconds it took."""
        ...

    def outlook(self, done: int) -> Outlook:
        """What is left after a number of steps."""
        ...

    @property
    def finished(self) -> bool:
        """Whether further steps would not help."""
        ...

    def store(self, folder: Path, step: int) -> None:
        """Write a checkpoint; all processes are asked together."""
        ...

    def restore(self, folder: Path) -> int:
        """Continue from the newest checkpoint, if there is one; returns the steps done."""
        ...

    def result(self) -> tuple[Trainable, dict[str, Any]]:
        """The avatar, and what its manifest says of how it came about."""
        ...


@dataclass(frozen=True)
class Step:
    """What ``on_step`` is told after each step."""

    step: int
    total: int
    loss: float
    avatar: Any


OnStep = Callable[[Step], None]


def fit(
    make_session: Callable[[], Session],
    capture: Capture,
    config: Schedule,
    run_folder: Path,
    on_step: OnStep | None = None,
    resume: bool = False,
    inputs: Mapping[str, str] | None = None,
    processes: Processes = ALONE,
) -> Path:
    """Train until the end of the schedule, or until the session is finished.

    Of several processes the first one writes, is watched and steered; the others return when it begins to write what
    was learned.

    Args:
        make_session: builds the session; called only when there is something left to do.
        capture: what is trained on.
        config: the schedule; all of it is written to the run's manifest.
        run_folder: made by this function: config, checkpoints, metrics.jsonl, cost.json and the avatar.
        on_step: called after every step.
        resume: continue in ``run_folder`` from its newest checkpoint, with the same result bit by bit.
        inputs: what else it is trained on -> content hash.
        processes: that train together; the sessions of all take the same steps.

    Returns:
        The avatar folder, ``run_folder``/avatar.

    Raises:
        StudioError: the run exists (without ``resume``) or is another's; another process has ended.
        KeyboardInterrupt: after Ctrl-C, or when a viewer said stop (``recon.steering``), when the state is stored.
    """
    began = time.perf_counter()
    parents = {capture.folder.name: content_hash(capture.folder), **(inputs or {})}
    if processes.first:
        open_run(parents, config, run_folder, resume)
    if processes.any((run_folder / "avatar").exists()):
        return run_folder / "avatar"
    session, checkpoints = make_session(), run_folder / "checkpoints"
    start = session.restore(checkpoints)
    with deferred_interrupt() as interrupt:
        record = _Record(session, config, run_folder, began, on_step, interrupt) if processes.first else None
        for step in range(start, config.iterations):
            loss = session.step(step)
            done = step + 1
            if record is not None:
                record.step(done, loss)
            if done % config.check_every == 0 or done == config.iterations:
                figures = session.validate(done)
                if record is not None:
                    _log(run_folder, {"step": done, "loss": loss, **figures})
            stopped = processes.any(interrupt.requested if record is None else record.stopped(done, loss))
            if stopped or done % config.checkpoint_every == 0:
                session.store(checkpoints, done)
            if stopped:
                if record is not None:
                    record.steering.close()
                raise KeyboardInterrupt
            if session.finished:
                break
    if record is None:
        return run_folder / "avatar"
    record.steering.finishing()
    try:
        return _keep(session, capture, config, run_folder, parents, record.meter)
    finally:
        record.steering.close()


class _Record:
    """What a run tells while it goes on, and asks."""

    def __init__(
        self,
        session: Session,
        config: Schedule,
        run_folder: Path,
        began: float,
        on_step: OnStep | None,
        interrupt: Interrupt,
    ) -> None:
        self._session, self._total, self._on_step = session, config.iterations, on_step
        self.meter = Meter(session, run_folder, began, config.iterations)
        self.steering = Steering(run_folder, config.iterations, interrupt)

    def step(self, done: int, loss: float) -> None:
        self.meter.step(done)
        if self._on_step is not None:
            self._on_step(Step(done, self._total, loss, self._session.avatar))

    def stopped(self, done: int, loss: float) -> bool:
        """Whether somebody wants the run to stop here."""
        return self.steering.after_step(done, loss, lambda: self._session.avatar)


def _keep(
    session: Session, capture: Capture, config: Schedule, run_folder: Path, parents: Mapping[str, str], meter: Meter
) -> Path:
    """Write what was learned as run_folder/avatar."""
    avatar, body = session.result()
    manifest = Manifest(
        kind="avatar",
        kernels=choose_kernels("auto", session.device),
        seed=config.seed,
        parents=parents,
        licence=capture.manifest.licence,
        consent=capture.manifest.consent,
        body=body,
    )
    avatar.save(run_folder / "avatar", manifest)
    meter.finish()
    return run_folder / "avatar"


def open_run(parents: Mapping[str, str], config: Schedule, folder: Path, resume: bool) -> None:
    """Make a run folder, or check that an existing one may be continued.

    Args:
        parents: everything that it is trained on -> content hash.
        config: the schedule.
        folder: the run.
        resume: whether it may exist.

    Raises:
        StudioError: it exists (without ``resume``), or was started with another configuration or other data.
    """
    body = json.loads(json.dumps({"config": asdict(config)}))
    if resume and (folder / "manifest.json").exists():
        manifest = read_manifest(folder, kind="run")
        begun = dict(manifest.parents)
        changed = sorted(name for name in {*parents, *begun} if parents.get(name) != begun.get(name))
        changed += ["configuration"] if manifest.body.get("config") != body["config"] else []
        if changed:
            raise StudioError(
                f"cannot resume {folder}",
                got=f"another {', another '.join(changed)}",
                expected="what the run was started with",
                next="choose another name for a new run",
            )
        return
    require_new(folder, next="choose another name, or resume=true")
    with write_folder(folder, Manifest(kind="run", seed=config.seed, parents=dict(parents), body=body)):
        pass


def _log(folder: Path, values: dict[str, float]) -> None:
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(values) + "\n")
