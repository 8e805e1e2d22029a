"""What several verbs need from the rooms: the chosen head, the only track, the capture that a run was made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.cli.config import Config
from studio.errors import StudioError
from studio.folders import read_manifest

CONFIG = "config.yaml"  # of a run folder

if TYPE_CHECKING:
    from studio.captures import Capture
    from studio.codes import CodeTrack
    from studio.heads.model import HeadModel


def chosen_head(config: Config, track: CodeTrack | None = None) -> HeadModel:
    """The head model of the group ``head``; where that is left to us and a track is given, the one it was made with."""
    from recon.person import head_of
    from studio.heads import load_head

    group = config.group("head")
    if track is not None and group.text("name") == "auto" and group.optional_path("path") is None:
        return head_of(track) or load_head()
    return load_head(group.text("name"), group.optional_path("path"))


def only_track(capture: Capture) -> str:
    """The name of the capture's single track. Raises StudioError when there is none or a choice."""
    names = sorted(path.name for path in (capture.folder / "tracks").glob("[!.]*"))
    if len(names) == 1:
        return names[0]
    if not names:
        raise StudioError(
            f"{capture.folder} has no track yet",
            expected="a tracked capture",
            next=f"studio track capture={capture.folder}",
        )
    raise StudioError(f"{capture.folder} has several tracks", got=", ".join(names), next="give track=<one of them>")


def note_origin(run: Path, config: Config, capture: Path, track: str | None) -> None:
    """Write config.yaml into a run folder: all settings, with the capture's path relative to the run."""
    from omegaconf import OmegaConf

    path = run / CONFIG
    if run.is_dir() and not path.exists():
        values: dict[str, Any] = {**config.values, "capture": os.path.relpath(capture, run), "track": track}
        path.write_text(OmegaConf.to_yaml(OmegaConf.create(values)), encoding="utf-8")


def trained_on(run: Path) -> tuple[Path, str | None]:
    """The capture folder and the name of the track that a run was trained on.

    Raises:
        StudioError: it is no run folder, or its config.yaml is missing or damaged.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    read_manifest(run, kind="run")
    try:
        values: Any = OmegaConf.to_container(OmegaConf.load(run / CONFIG))
        return Path(os.path.normpath(run / str(values["capture"]))), values["track"]
    except (OSError, YAMLError, OmegaConfBaseException, KeyError, TypeError, ValueError) as error:
        raise StudioError(
            f"cannot tell what {run} was trained on",
            got=f"{type(error).__name__} reading {CONFIG}",
            expected="capture and track in it",
            next="give capture=… and track=…",
        ) from error
