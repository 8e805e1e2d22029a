"""An avatar's codes as somebody moves now: from a camera, a stream of the network, Live Link Face, or a voice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from reenact.audio.stream import SpeechStream
from reenact.curves.livelink_udp import PORT, LinkReceiver
from reenact.live import LiveFace, LiveState, to_avatar
from reenact.retarget import RetargetConfig
from studio.code_guard import guarded
from studio.code_range import CodeRange, measure_range
from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError

_LEARNED = 2.0  # seconds of Live Link Face from which neutral state and range of the driver are taken


class Driven(Protocol):
    """What is needed of an avatar."""

    @property
    def space(self) -> CodeSpace: ...

    @property
    def code_range(self) -> CodeRange: ...


@dataclass(frozen=True)
class LiveCodes:
    """What the avatar does now.

    Args:
        seconds: since the beginning.
        codes: for the avatar (no batch), within what it has learned.
        settled: whether the driver is known by now; before, expressions are taken as they are and the head rests.
    """

    seconds: float
    codes: Codes
    settled: bool


def live_codes(
    source: str,
    avatar: Driven,
    fps: float = 25.0,
    head: str = "auto",
    config: RetargetConfig | None = None,
    patience: float = 10.0,
    keep_looking: Callable[[], bool] = lambda: True,
) -> Iterator[LiveCodes]:
    """Codes for an avatar as they come; closing the iterator ends it.

    Args:
        source: ``camera`` or ``camera:1``; ``udp`` or ``udp:PORT``, Live Link Face; the address of a stream
            (``rtsp://…``, ``http://…``), or a video file, taken as if it were filmed now.
        avatar: whose codes they become.
        fps: pictures a second, of cameras and streams.
        head: the head model that the face is fitted with.
        config: strengths.
        patience: seconds without a packet after which Live Link Face has ended.
        keep_looking: called for each picture without a face, see ``LiveFace``.

    Raises:
        StudioError: no such source, or the avatar has other codes.
    """
    avatar.space.require(ARKIT52, f"the driver {source}")
    kind, _, rest = source.partition(":")
    if kind == "udp" and (not rest or rest.isdigit()):
        return _from_link(int(rest or PORT), avatar, config, patience)
    if kind == "camera" and (not rest or rest.isdigit()):
        return _from_pictures(int(rest or 0), avatar, fps, head, config, keep_looking)
    if "://" in source or Path(source).is_file():
        return _from_pictures(source, avatar, fps, head, config, keep_looking)
    raise StudioError(
        "no such live driver", got=source, expected="camera | camera:1 | udp | an address with :// | a video file"
    )


def seen_codes(
    pictures: Iterator[tuple[int, np.ndarray]],
    avatar: Driven,
    fps: float = 25.0,
    head: str = "auto",
    config: RetargetConfig | None = None,
    keep_looking: Callable[[], bool] = lambda: True,
) -> Iterator[LiveCodes]:
    """Codes for an avatar from pictures that the caller brings; closing the iterator ends both.

    Args:
        pictures: number at ``fps`` and picture [H, W, 3] uint8 sRGB, as they are seen.
        avatar: whose codes they become.
        fps: of the numbers.
        head: the head model that the face is fitted with.
        config: strengths.
        keep_looking: called for each picture without a face, see ``LiveFace``.

    Raises:
        StudioError: the avatar has other codes.
    """
    from studio.heads import load_head

    avatar.space.require(ARKIT52, "a driver of pictures")
    face = LiveFace(load_head(head), fps, keep_looking=keep_looking)
    with closing(face.states(pictures)) as states:  # type: ignore[type-var]
        for state in states:
            yield _told(state, state.number / fps, face.range, avatar, config)


def _from_pictures(
    source: int | str,
    avatar: Driven,
    fps: float,
    head: str,
    config: RetargetConfig | None,
    keep_looking: Callable[[], bool],
) -> Iterator[LiveCodes]:
    from capture.live import from_camera, paced

    is_file = isinstance(source, str) and "://" not in source
    pictures = paced(Path(str(source)), fps) if is_file else from_camera(source, fps)
    yield from seen_codes(pictures, avatar, fps, head, config, keep_looking)


def _from_link(port: int, avatar: Driven, config: RetargetConfig | None, patience: float) -> Iterator[LiveCodes]:
    seen: list[Codes] = []
    known: CodeRange | None = None
    with LinkReceiver(port) as receiver:
        began = None
        for number, frame in enumerate(receiver.frames(patience)):
            began = time.monotonic() if began is None else began
            codes, seconds = frame.codes(), time.monotonic() - began
            if known is None:
                seen.append(codes)
                if seconds >= _LEARNED:
                    track = CodeTrack(Codes.stack(seen), len(seen) / seconds, torch.ones(len(seen), dtype=torch.bool))
                    known = measure_range(track)
            yield _told(LiveState(number, codes, 0.0, known is not None), seconds, known, avatar, config)


def _told(
    state: LiveState, seconds: float, driver: CodeRange | None, avatar: Driven, config: RetargetConfig | None
) -> LiveCodes:
    if state.settled and driver is not None:
        return LiveCodes(seconds, to_avatar(state, driver, avatar.code_range, config), True)
    codes = replace(avatar.code_range.neutral, expression=state.codes.expression)
    return LiveCodes(seconds, guarded(Codes.stack([codes]), avatar.code_range)[0][0], False)


def spoken_codes(
    blocks: Iterable[np.ndarray],  # [N] at 16 kHz, any size, as a microphone gives them
    avatar: Driven,
    fps: float = 25.0,
) -> Iterator[LiveCodes]:
    """Codes for an avatar while somebody speaks, at most 200 ms behind; all but mouth and jaw rests."""
    avatar.space.require(ARKIT52, "a voice")
    stream, number, neutral = SpeechStream(fps), 0, avatar.code_range.neutral
    for block in blocks:
        for weights in stream.push(block):
            codes = replace(neutral, expression=neutral.expression + torch.from_numpy(weights).float())
            yield LiveCodes(number / fps, guarded(Codes.stack([codes]), avatar.code_range)[0][0], True)
            number += 1
