"""``studio train``: an avatar from a tracked capture."""

from __future__ import annotations

from pathlib import Path

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.progress import step_bar
from studio.cli.rooms import chosen_head, note_origin, only_track
from studio.errors import StudioError


def run(config: Config) -> None:
    """Train and leave a run folder with the avatar in it."""
    capture = config.path("capture")
    out = config.optional_path("out") or Path("runs") / (capture.resolve().parent.name or "avatar")
    avatar = train_avatar(config, capture, config.get("track", str | None), out, config.flag("resume"))
    finish(out, avatar, next="eval", run=out)


def train_avatar(config: Config, capture_folder: Path, track_name: str | None, out: Path, resume: bool) -> Path:
    """Train the kind of avatar that the group ``avatar`` chooses; returns the avatar folder in ``out``."""
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
    name = None if is_static else track_name or only_track(capture)
    try:
        with step_bar("train") as on_step:
            if kind == "hash_static":
                from recon.train_hash import HashStaticConfig, train_hash_static

                return train_hash_static(capture, settings.to(HashStaticConfig, **common), out, on_step, resume)
            if name is None:
                from recon.train_static import StaticConfig, train_static

                return train_static(capture, settings.to(StaticConfig, **common), out, on_step, resume)
            track = capture.track(name)
            if kind == "hash_ensemble":
                from recon.hash_config import HashEnsembleConfig
                from recon.train_hash_ensemble import train_hash_ensemble

                ensemble = settings.to(HashEnsembleConfig, **common)
                return train_hash_ensemble(capture, track, ensemble, out, on_step, resume)
            if kind == "hash_codes":
                from recon.train_hash_codes import HashCodesConfig, train_hash_codes

                codes = settings.to(HashCodesConfig, **common)
                return train_hash_codes(capture, track, chosen_head(config), codes, out, on_step, resume)
            from recon.train import train
            from recon.train_config import TrainConfig

            chosen = settings.to(TrainConfig, **common)
            return train(capture, track, chosen_head(config), chosen, out, on_step, resume)
    finally:
        note_origin(out, config, capture_folder, name)
