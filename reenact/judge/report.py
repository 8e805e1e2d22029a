"""All figures of a driver: what is measured, on what, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reenact.curves import read_curves
from reenact.drivers import Driving
from reenact.judge.motion import (
    Interval,
    against,
    blink_figures,
    closure_recall,
    dynamic_range,
    jitter,
    phones_of,
    silence_motion,
)
from reenact.judge.offset import offsets
from reenact.procedural import Prosody
from reenact.timeline import resample
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import read_manifest
from studio.media.audio import Audio

NETWORKS = ("LSE-C", "LSE-D", "CSIM", "LPIPS", "FID", "FVD", "emotion accuracy")
NOT_MEASURED = "not measured"
PROTOCOL = (
    "codes posed on the built-in head in its mean identity, millimetres; lips are MediaPipe's 40 points; the reference "
    "at the driver's frame rate, over frames valid in both; head rotations relative to each one's mean"
)


def judge(
    driving: Driving,
    reference: CodeTrack | None = None,
    phones: Sequence[Interval] | None = None,
    jaw: Callable[[Audio], np.ndarray] | None = None,
) -> dict[str, Any]:
    """The figures of a driver's motion.

    Args:
        driving: motion and sound.
        reference: what it should have been, such as the track of the clip whose sound drives; without it nothing is
            compared.
        phones: what is said, and when; the driver's own when not given.
        jaw: see ``reenact.judge.offset.offsets``.

    Raises:
        StudioError: the reference is of another code space, or much shorter.
    """
    track = driving.track
    figures: dict[str, Any] = {"jitter, m/s2": jitter(track), **blink_figures(track)}
    figures["mouth opening, range in mm"] = 1e3 * dynamic_range(track.codes)
    said = list(phones) if phones is not None else phones_of(track.extras)
    recall = closure_recall(track, said)
    figures["closure recall on P, B, M"] = NOT_MEASURED if recall is None else recall
    heard = driving.audio
    if heard is not None and heard.duration > 0:
        pauses = Prosody.of(heard, len(track), track.fps).pauses
        quiet = silence_motion(track, [Interval(float(a), float(b)) for a, b in pauses])
        figures |= {"silent mouth, mm/s": NOT_MEASURED} if quiet is None else quiet
        figures |= {
            name: NOT_MEASURED if value is None else value for name, value in offsets(track, heard, jaw).items()
        }
    if reference is not None:
        figures |= against(*_together(track, reference))
    figures |= dict.fromkeys(NETWORKS, NOT_MEASURED)
    return {"protocol": PROTOCOL, "frames": len(track), "fps": track.fps, "figures": figures}


def read_reference(path: Path, name: str | None = None, split: str = "all") -> CodeTrack:
    """A track folder, a capture's track, or a file of curves. Raises StudioError when there is none."""
    from reenact.drivers.track import TrackDriver

    if path.is_dir() and (path / "manifest.json").exists():
        read_manifest(path, kind=None)
        return TrackDriver(path, name, split).drive().track
    return read_curves(path)


def _together(track: CodeTrack, reference: CodeTrack) -> tuple[CodeTrack, CodeTrack]:
    """Both at the track's frame rate and as long as the shorter one."""
    from reenact.timeline import cut

    track.codes.space.require(reference.codes.space, "the reference")
    reference = resample(reference, track.fps)
    count = min(len(track), len(reference))
    if count < 0.5 * max(len(track), len(reference)) or count < 3:
        raise StudioError(
            "the reference is another clip", got=f"{len(reference)} frames", expected=f"about {len(track)} frames"
        )
    first, second = cut(track, 0, count), cut(reference, 0, count)
    if not bool((first.valid & second.valid).any()):
        raise StudioError("no frame is valid in both driver and reference")
    return first, second
