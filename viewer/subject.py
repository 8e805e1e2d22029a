"""What the viewer shows: an avatar, and whatever belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from studio.avatar import Avatar
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel
from studio.provenance.claims import RENDERED, claim_about
from studio.provenance.seal import Claim
from viewer.transport import Reel


@dataclass(frozen=True)
class Subject:
    """What was opened.

    Args:
        avatar: what is drawn.
        name: for people.
        folder: the avatar's folder, where it has one.
        reel: what is played first.
        capture: the footage it was or could be learned from.
        tracked: the capture's codes, frame by frame.
        head: the tracked person's head mesh.
        run: the run folder that it belongs to.
        rival: a second avatar to compare with.
        rival_name: its name.
        mode: how it is shown first.
        track_folder: the track, or the capture with a track, that is played.
        track_name: of the capture's track.
        driver: a live source that drives from the start, see ``reenact.live_sources``; empty for none.
    """

    avatar: Avatar
    name: str = ""
    folder: Path | None = None
    reel: Reel | None = None
    capture: Capture | None = None
    tracked: CodeTrack | None = None
    head: HeadModel | None = None
    run: Path | None = None
    rival: Avatar | None = None
    rival_name: str = ""
    mode: str = "colour"
    track_folder: Path | None = None
    track_name: str | None = None
    driver: str = ""

    @property
    def claim(self) -> Claim:
        """What pictures of it say of themselves."""
        return Claim(RENDERED) if self.folder is None else claim_about(self.folder)
