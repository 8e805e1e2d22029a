"""Sources of codes. One module per source; each defines ``DRIVER``, and is found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from studio.code_guard import Excess
from studio.codes import Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio


@dataclass(frozen=True)
class Driving:
    """What a driver gives.

    Args:
        track: the codes, one state for each frame.
        audio: the sound, its time 0 at the first frame, or None.
        parents: file or folder -> content hash, of what it was made from.
        beyond: what of it the avatar has not learned, the most frequent first; see ``reenact.drive.drive``.
        rest: the driver's neutral state (no batch) where it is known, as for codes that were made and not measured:
            motion is then transferred relative to it as it is; otherwise neutral and range are estimated over the clip.
        timecode: of the first frame, HH:MM:SS:FF, where the source has one.
    """

    track: CodeTrack
    audio: Audio | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    beyond: tuple[Excess, ...] = ()
    rest: Codes | None = None
    timecode: str | None = None


class Driver(Protocol):
    """A source of codes: a frozen dataclass whose fields are the user's settings.

    Attributes:
        relative: whether its motion is another person's, to be transferred relative to neutral.
    """

    relative: ClassVar[bool]

    def drive(self) -> Driving:
        """Read or make the codes. Raises StudioError when the source cannot be used; never changes the source."""
        ...


def drivers() -> Mapping[str, type[Driver]]:
    """All drivers by the name of their module."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").DRIVER for name in names}


def driver_class(name: str) -> type[Driver]:
    """A driver by name. Raises StudioError naming the drivers that exist."""
    known = drivers()
    if name not in known:
        raise StudioError("unknown driver", got=name, expected=" | ".join(known))
    return known[name]
