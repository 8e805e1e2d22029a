"""Live Link Face over the network: one UDP packet for each frame, and recordings of such packets.

A packet (big-endian): version u8 = 6, device id and subject name (u32 length, text), frame u32, sub-frame f32,
numerator and denominator of the frame rate u32, number of values u8, that many f32: 52 ARKit channels in Apple's order,
then the nine angles.

A recording of packets (gzip): version u8, number of packets u32, then u32 length and the packet itself.
"""

from __future__ import annotations

import gzip
import math
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reenact.curves.columns import Columns, with_source
from reenact.curves.livelink_channels import ANGLES, decode, encode, titled
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError

PORT = 11111
_VERSION = 6
_NAMES = (*(titled(name) for name in ARKIT52.channels), *ANGLES)
_LONGEST = 65_536  # bytes of a packet
_MOST_PACKETS = 1_000_000  # of a recording: four hours at 60 a second
_TEXT = 1024  # most bytes of an id or a name


@dataclass(frozen=True)
class LinkFrame:
    """One packet.

    Args:
        device: id of the sending device.
        name: of the subject, as set in the app.
        time: seconds of the sender's clock.
        fps: frames per second of the sender's clock.
        values: [N] float32: channels, then angles; fewer where the app sends no angles.
    """

    device: str
    name: str
    time: float
    fps: float
    values: np.ndarray

    def codes(self) -> Codes:
        """The state (no batch)."""
        return decode(_columns([self]))[0]


class NotAPacket(ValueError):
    """Bytes that are no packet of Live Link Face."""


def parse_packet(data: bytes) -> LinkFrame:
    """One packet.

    Raises:
        NotAPacket: it is something else, cut short or holds values that are no numbers.
    """
    try:
        if not data or data[0] != _VERSION:
            raise NotAPacket("another version")
        device, at = _text(data, 1)
        name, at = _text(data, at)
        frame, part, rate, scale, count = struct.unpack_from(">IfIIB", data, at)
        values = np.frombuffer(data, ">f4", count, at + struct.calcsize(">IfIIB")).astype(np.float32)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise NotAPacket(str(error)) from error
    if count < len(ARKIT52) or rate == 0 or scale == 0 or not np.isfinite(values).all() or not math.isfinite(part):
        raise NotAPacket("not the values of a face")
    return LinkFrame(device, name, (frame + part) * scale / rate, rate / scale, values)


def make_packet(frame: LinkFrame) -> bytes:
    """Inverse of ``parse_packet`` for whole frame rates."""
    number, part = divmod(frame.time * frame.fps, 1.0)
    texts = b"".join(struct.pack(">I", len(text)) + text for text in (frame.device.encode(), frame.name.encode()))
    head = struct.pack(">IfIIB", int(number), part, round(frame.fps), 1, len(frame.values))
    return bytes([_VERSION]) + texts + head + frame.values.astype(">f4").tobytes()


def packets_of(track: CodeTrack, name: str = "studio") -> list[bytes]:
    """A track as packets, one for each frame. Raises StudioError when it is of another space."""
    ARKIT52.require(track.codes.space, "the track")
    curves = encode(track.codes)
    table = np.stack([curves[column] for column in _NAMES], axis=-1).astype(np.float32)
    frames = (LinkFrame("STUDIO", name, index / track.fps, 60.0, row) for index, row in enumerate(table))
    return [make_packet(frame) for frame in frames]


def read_packets(path: Path) -> list[bytes]:
    """The packets of a recording.

    Raises:
        StudioError: no such file, or not a whole recording.
    """
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected="recorded Live Link packets", next="check the path")
    packets = []
    try:
        with gzip.open(path) as stream:
            (count,) = struct.unpack(">xI", stream.read(5))
            if count > _MOST_PACKETS:
                raise NotAPacket(f"{count} packets")
            for _ in range(count):
                (length,) = struct.unpack(">I", stream.read(4))
                data = stream.read(length) if length <= _LONGEST else b""
                if len(data) < length or not data:
                    raise NotAPacket("it is cut short")
                packets.append(data)
    except (OSError, EOFError, struct.error, zlib.error, NotAPacket) as error:
        raise StudioError(
            f"{path} is no recording of packets", got=error, expected="a .gesichter file, gzip-compressed"
        ) from error
    return packets


def track_of(frames: list[LinkFrame], ignored: int = 0) -> CodeTrack:
    """Received frames as a track at a constant rate: the nearest frame in time, invalid where none is near.

    Args:
        frames: in any order, of one sender.
        ignored: how many packets were not of this kind, for the provenance.

    Raises:
        StudioError: there is no frame.
    """
    if not frames:
        raise StudioError(
            "no Live Link packet arrived",
            got=f"{ignored} packets of another kind" if ignored else "nothing",
            expected=f"Live Link Face sending to this machine, port {PORT}",
            next="set this machine's address in the app's Live Link settings",
        )
    frames = sorted(frames, key=lambda frame: frame.time)
    times = np.array([frame.time for frame in frames])
    steps = np.diff(times)
    steps = steps[steps > 0]
    # The sender's clock counts 60ths whatever the camera's rate; the rate is what really came.
    fps = min(round(1 / float(np.median(steps))), 240) if len(steps) else round(frames[0].fps)
    fps = max(fps, 1)
    count = max(1, round((times[-1] - times[0]) * fps) + 1)
    if count > _MOST_PACKETS:
        raise StudioError("times of packets make no sense", got=f"{times[0]:.0f} to {times[-1]:.0f} s")
    grid = times[0] + np.arange(count) / fps
    nearest = _nearest(grid, times)
    valid = torch.from_numpy(np.abs(times[nearest] - grid) <= 1.5 / fps)
    columns = _columns([frames[index] for index in nearest])
    provenance = {"expression": "Live Link Face", "head": "Live Link Face", "gaze": "eyeLook channels"}
    if ignored:
        provenance["packets ignored"] = str(ignored)
    return with_source(CodeTrack(decode(columns), float(fps), valid, provenance), "livelink", columns)


def read_recording(path: Path) -> CodeTrack:
    """A recording of packets as a track. Raises StudioError when it is none."""
    found, ignored = sort_out(read_packets(path))
    return track_of(found, ignored)


def sort_out(packets: list[bytes]) -> tuple[list[LinkFrame], int]:
    """The frames among packets, and how many were something else."""
    parsed = [_parsed(data) for data in packets]
    found = [frame for frame in parsed if frame is not None]
    return found, len(parsed) - len(found)


def _parsed(data: bytes) -> LinkFrame | None:
    try:
        return parse_packet(data)
    except NotAPacket:
        return None


class LinkReceiver:
    """Listens for packets; what is no packet is counted and ignored. Use it in a ``with`` statement.

    Args:
        port: UDP port; 0 takes any free one.
        host: address to listen on; all of this machine by default.

    Raises:
        StudioError: the port is taken.
    """

    def __init__(self, port: int = PORT, host: str = "0.0.0.0") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise StudioError(f"cannot listen on UDP port {port}", got=error, next="choose another port") from error
        self.port: int = self._socket.getsockname()[1]
        self.ignored = 0

    def __enter__(self) -> LinkReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def frames(self, patience: float = 5.0) -> Iterator[LinkFrame]:
        """Frames as they arrive, until none does for ``patience`` seconds."""
        last = time.monotonic()
        while (left := last + patience - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(_LONGEST)
            except TimeoutError:
                return
            frame = _parsed(data)
            if frame is None:
                self.ignored += 1
                continue
            last = time.monotonic()
            yield frame

    def record(self, seconds: float, patience: float = 5.0) -> CodeTrack:
        """What arrives in so many seconds, counted from the first frame. Raises StudioError when nothing does."""
        found: list[LinkFrame] = []
        began = None
        for frame in self.frames(patience):
            began = time.monotonic() if began is None else began
            found.append(frame)
            if time.monotonic() - began >= seconds:
                break
        return track_of(found, self.ignored)


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", data, at)
    if length > _TEXT or at + 4 + length > len(data):
        raise NotAPacket("a text that is too long")
    return data[at + 4 : at + 4 + length].decode("utf-8"), at + 4 + length


def _columns(frames: list[LinkFrame]) -> Columns:
    table = np.zeros((len(frames), len(_NAMES)))
    for row, frame in zip(table, frames):
        known = min(len(frame.values), len(row))
        row[:known] = frame.values[:known]
    return Columns(_NAMES, table)


def _nearest(grid: np.ndarray, times: np.ndarray) -> np.ndarray:
    if len(times) == 1:
        return np.zeros(len(grid), np.int64)
    after = np.searchsorted(times, grid).clip(1, len(times) - 1)
    return np.where(grid - times[after - 1] <= times[after] - grid, after - 1, after)
