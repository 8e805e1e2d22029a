"""Avatars for other programs. One module per format; each defines ``EXPORTER``, and is found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol, runtime_checkable

from studio.avatar import Avatar
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest
from studio.heads.model import HeadModel
from studio.media.audio import Audio
from studio.media.whole_files import require_new_file
from studio.provenance.claims import MODEL
from studio.provenance.seal import Claim, seal
from studio.splats import Splats


@runtime_checkable
class MadeOfSplats(Protocol):
    """An avatar that can say which Gaussians it is made of in one state, in the world."""

    def gaussians(self, codes: Codes) -> Splats: ...


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Args:
        avatar: whose.
        name: of the avatar, for what other programs list.
        track: a motion in the avatar's space, or None.
        frame: which frame of the track formats without motion show.
        audio: the sound of the motion, its time 0 at the first frame.
        load_head: reads the whole head model that the avatar was made with.
        claim: what the files say of themselves: whose face, whose motion, consent and licence.
    """

    avatar: Avatar
    name: str = "avatar"
    track: CodeTrack | None = None
    frame: int = 0
    audio: Audio | None = None
    load_head: Callable[[], HeadModel] | None = field(default=None, compare=False)
    claim: Claim = field(default_factory=lambda: Claim(MODEL))

    @property
    def note(self) -> dict[str, str]:
        """The claim in a few words, for places in files that hold texts."""
        return {"statement": self.claim.statement, "consent": self.claim.consent, "licence": self.claim.licence}

    @property
    def manifest(self) -> Manifest:
        """Of a folder that is exported."""
        claim = self.claim
        parents = {**claim.avatar, **claim.driven_by}
        terms: dict[str, Any] = {"licence": claim.licence, "consent": claim.consent, "synthetic": True}
        return Manifest("export", parents=parents, **terms, body={"statement": claim.statement})

    @property
    def codes(self) -> Codes:
        """The state that formats without motion show: the frame of the track, or rest.

        Raises:
            StudioError: the track has no such frame, or is of another space.
        """
        if self.track is None:
            return self.avatar.codes
        self.avatar.space.require(self.track.codes.space, "this track")
        if not 0 <= self.frame < len(self.track):
            raise StudioError("no such frame", got=self.frame, expected=f"0 to {len(self.track) - 1}")
        return self.track.codes[self.frame]

    def motion(self, format: str) -> CodeTrack:
        """The track. Raises StudioError where there is none, or it is of another space."""
        if self.track is None:
            raise StudioError(f"{format} needs a motion", got="no track", expected="track=…")
        self.avatar.space.require(self.track.codes.space, "this track")
        return self.track

    def splats(self, codes: Codes) -> Splats:
        """The Gaussians of one state in the world. Raises StudioError for an avatar made of something else."""
        if not isinstance(self.avatar, MadeOfSplats):
            raise StudioError(
                "this avatar cannot be exported as Gaussians",
                got=type(self.avatar).__name__,
                expected="an avatar made of Gaussians",
                next="bake it first: studio export avatar=… capture=… out=<folder>",
            )
        return self.avatar.gaussians(codes)


class Exporter(Protocol):
    """A format: a frozen dataclass whose fields are the user's settings.

    Attributes:
        endings: of the names that are written; "" is a folder.
    """

    endings: ClassVar[tuple[str, ...]]

    def write(self, subject: Subject, out: Path) -> None:
        """Write ``out``, which does not exist, whole or not at all; a folder with the subject's manifest.

        Raises:
            StudioError: the format cannot hold the subject.
        """
        ...


def exporters() -> Mapping[str, type[Exporter]]:
    """All formats by the name of their module."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").EXPORTER for name in names}


def exporter_of(out: Path) -> str | None:
    """The format that the ending of a name stands for, or None where there is none: the longest ending decides."""
    fitting = [
        (len(end), name)
        for name, cls in exporters().items()
        for end in cls.endings
        if end and out.name.lower().endswith(end)
    ]
    return max(fitting)[1] if fitting else None


def export(exporter: Exporter, subject: Subject, out: Path) -> Path:
    """Write a subject in a format, and seal it with what it is; whole, with the files that belong to it, or not at all.

    Returns:
        ``out``.

    Raises:
        StudioError: ``out`` exists or has another ending than the format's, or the format cannot hold the subject.
    """
    endings = exporter.endings
    if not any(out.name.lower().endswith(end) if end else not out.suffix for end in endings):
        expected = " | ".join(end or "a folder's name without ending" for end in endings)
        raise StudioError("the name does not fit the format", got=out.name, expected=expected)
    require_new_file(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".export.") as work:
        made = Path(work) / out.name
        exporter.write(subject, made)
        seal(made, subject.claim)
        _put(Path(work), out)
    return out


def _put(work: Path, out: Path) -> None:
    """Move what was made to its place, the file or folder that was asked for last; all of it or nothing."""
    others = sorted(out.with_name(item.name) for item in work.iterdir() if item.name != out.name)
    for target in (*others, out):
        require_new_file(target)
    try:
        for target in (*others, out):
            (work / target.name).replace(target)
    finally:
        if (work / out.name).exists():  # stopped before the end
            for target in others:
                if not (work / target.name).exists():
                    target.unlink(missing_ok=True)
