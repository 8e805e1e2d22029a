"""``studio demo``: the main job on a built-in subject, from a synthetic rig to driven videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.cli.chain import JOB, SUMMARY, Chain
from studio.cli.config import Config
from studio.cli.stages import Made, conclude, drive_stage, eval_stages, train_stage
from studio.cli.verbs.ingest import ingest
from studio.folders import next_free

_FOLDER = Path("outputs") / "demo"


def run(config: Config) -> None:
    """Capture a person, learn an avatar, judge it, and let it be driven by itself and by another person."""
    resume = config.flag("resume")
    out = config.optional_path("out") or (_unfinished() if resume else None) or next_free(_FOLDER)
    others = {name: value for name, value in config.values.items() if name not in ("out", "resume")}
    with Chain(out, others, resume) as chain:
        made = Made(chain.out / "capture", config.text("track"), chain.out / "run")
        reader: dict[str, Any] = config.values["reader"]
        chain.stage("capture", made.capture, lambda: ingest(None, made.capture, reader))
        train_stage(chain, config, made)
        judged = eval_stages(chain, made, config.text("kernels"))
        conclude(chain, made, judged, _videos(chain, config, made, reader))


def _videos(chain: Chain, config: Config, made: Made, reader: dict[str, Any]) -> dict[str, Path]:
    """The avatar driven by its own performance, and by what another person says."""
    from reenact.drivers.track import TrackDriver

    other = {**reader, **config.values["driver"], "script": "sentence", "cameras": 1}
    driver = chain.out / "driver"
    chain.stage("driver", driver, lambda: ingest(None, driver, other))
    itself = drive_stage(chain, "self", made, TrackDriver(made.capture, made.track), config, relative=False)
    driven = drive_stage(chain, "cross", made, TrackDriver(driver, made.track), config, relative=True)
    return {"self": itself, "cross": driven}


def _unfinished() -> Path | None:
    """The newest demo in outputs/ that was begun and not finished."""
    begun = [path.parent for path in _FOLDER.parent.glob(f"{_FOLDER.name}*/{JOB}")]
    stopped = [folder for folder in begun if not (folder / SUMMARY).exists()]
    return max(stopped, key=lambda folder: (folder / JOB).stat().st_mtime, default=None)
