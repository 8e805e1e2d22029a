"""``studio make``: from source files to videos in one go."""

from __future__ import annotations

from pathlib import Path

from studio.cli.chain import Chain
from studio.cli.config import Config
from studio.cli.rooms import chosen_head
from studio.cli.stages import Made, conclude, drive_stage, eval_stages, train_stage
from studio.cli.verbs.drive import make_driver
from studio.cli.verbs.ingest import ingest, is_static
from studio.errors import StudioError


def run(config: Config) -> None:
    """Every stage in ``out``, done ones skipped when it is resumed."""
    source = config.path("source")
    out = config.optional_path("out") or Path("outputs") / source.stem
    _check_sources(config, source)
    others = {name: value for name, value in config.values.items() if name not in ("out", "resume")}
    with Chain(out, others, config.flag("resume")) as chain:
        made = _avatar(chain, config, source)
        judged = eval_stages(chain, made, config.text("kernels"))
        conclude(chain, made, judged, _videos(chain, config, made))


def _check_sources(config: Config, source: Path) -> None:
    """Find out now, not after the training, that a file is missing."""
    if not source.exists():
        raise StudioError(f"no such file or folder: {source}", expected="footage", next="check the path")
    if config.values["driver"]["source"] is not None:
        make_driver(config.values["driver"])


def _avatar(chain: Chain, config: Config, source: Path) -> Made:
    """Capture, track and avatar."""
    capture = chain.out / "capture"
    chain.stage("ingest", capture, lambda: ingest(source, capture, config.values["reader"]))
    name = None
    if not is_static(capture):
        from capture.tracking import TrackConfig, track_capture
        from studio.captures import open_capture

        settings = config.build(TrackConfig, "tracker")
        name = settings.name
        track = capture / "tracks" / name
        chain.stage("track", track, lambda: track_capture(open_capture(capture), chosen_head(config), settings))
    made = Made(capture, name, chain.out / "run")
    train_stage(chain, config, made)
    return made


def _videos(chain: Chain, config: Config, made: Made) -> dict[str, Path]:
    """The avatar driven by the held-out part of its own clip, and by the driver if there is one."""
    from reenact.drivers.track import TrackDriver

    videos = {}
    if made.track is not None:
        own = TrackDriver(made.capture, made.track, "test")
        videos["self"] = drive_stage(chain, "self", made, own, config)
    driver = config.values["driver"]
    if driver["source"] is not None:
        other = make_driver(driver, keep=chain.out / "driver", head=config.group("head").text("name"))
        videos["driven"] = drive_stage(chain, "driven", made, other, config)
    return videos
