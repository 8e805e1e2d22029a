"""Named protocols: which held-out photos are judged, as the papers of this field do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from studio.captures import Capture, Split
from studio.errors import StudioError

_NERSEMBLE = (3, 6, 11, 15)
_GAUSSIAN_AVATARS = 8
_INSTA_FRAMES = 350
_TAIL = 0.2


@dataclass(frozen=True)
class Protocol:
    """A way of choosing what is judged.

    Args:
        statement: what it is, for the report.
        choose: timesteps and cameras of a capture; raises StudioError for one that does not fit.
    """

    statement: str
    choose: Callable[[Capture], Split]


def _nersemble(capture: Capture) -> Split:
    if len(capture.cameras) != 16:
        raise StudioError("the protocol nersemble is about 16 cameras", got=f"{len(capture.cameras)} cameras")
    return Split(tuple(range(len(capture))), _NERSEMBLE)


def _gaussian_avatars(capture: Capture) -> Split:
    if len(capture.cameras) <= _GAUSSIAN_AVATARS:
        raise StudioError("the protocol gaussian_avatars holds camera 8 out", got=f"{len(capture.cameras)} cameras")
    return Split(tuple(range(len(capture))), (_GAUSSIAN_AVATARS,))


def _insta(capture: Capture) -> Split:
    if len(capture) < 2 * _INSTA_FRAMES:
        raise StudioError(
            "the protocol insta holds the last 350 frames out",
            got=f"{len(capture)} frames",
            expected="700 or more",
            next="protocol=tail",
        )
    return Split(tuple(range(len(capture) - _INSTA_FRAMES, len(capture))), (0,))


def _tail(capture: Capture) -> Split:
    first = len(capture) - max(1, round(_TAIL * len(capture)))
    return Split(tuple(range(first, len(capture))), tuple(range(len(capture.cameras))))


PROTOCOLS: Mapping[str, Protocol] = {
    "nersemble": Protocol(
        "NeRSemble (Kirschstein et al. 2023): cameras 3, 6, 11 and 15 of 16 are held out; all other timesteps are "
        "judged that training may have seen from other cameras",
        _nersemble,
    ),
    "gaussian_avatars": Protocol(
        "GaussianAvatars (Qian et al. 2024), novel views: the camera of index 8 is held out", _gaussian_avatars
    ),
    "insta": Protocol("INSTA (Zielonka et al. 2023): the last 350 frames of a clip are held out", _insta),
    "tail": Protocol("the last 20 % of the frames are held out", _tail),
}


def held_out_keys(name: str, capture: Capture, trained: Split | None) -> Split:
    """What a protocol judges of a capture.

    Args:
        name: of the protocol.
        capture: the photos.
        trained: the timesteps and cameras that the avatar was trained on, where they are known.

    Raises:
        StudioError: no such protocol, a capture that does not fit, or a photo that training has seen.
    """
    if name not in PROTOCOLS:
        raise StudioError("unknown protocol", got=name, expected=" | ".join(PROTOCOLS))
    chosen = PROTOCOLS[name].choose(capture)
    if trained is not None:
        times, cameras = set(chosen.timesteps) & set(trained.timesteps), set(chosen.cameras) & set(trained.cameras)
        if times and cameras:
            raise StudioError(
                f"the avatar was trained on what the protocol {name} holds out",
                got=f"{len(times) * len(cameras)} of {len(chosen.timesteps) * len(chosen.cameras)} photos",
                next="train on a capture with that split",
            )
    return chosen
