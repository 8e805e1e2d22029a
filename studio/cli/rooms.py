"""What several verbs need from the rooms: the chosen head, the only track, the capture that a run was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.cli.config import Config
from studio.errors import StudioError

if TYPE_CHECKING:
    from studio.captures import Capture
    from studio.heads.model import HeadModel


def chosen_head(config: Config) -> HeadModel:
    """The head model of the group ``head``."""
    from studio.heads import load_head

    group = config.group("head")
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
