"""Curves as a file holds them, kept beside the codes made of them: what nobody edited is written back as read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from studio.codes import Codes, CodeTrack

_SAME = 1e-6  # of a value: it passed through float32 codes and back unedited


@dataclass(frozen=True)
class Columns:
    """Named curves.

    Args:
        names: N names, in the order of the file.
        values: [T, N] float64.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def get(self, name: str) -> np.ndarray:
        """[T] the curve of that name, whatever its case; zeros where there is none."""
        lower = [known.lower() for known in self.names]
        return self.values[:, lower.index(name.lower())] if name.lower() in lower else np.zeros(len(self))

    def has(self, name: str) -> bool:
        return name.lower() in (known.lower() for known in self.names)

    @staticmethod
    def of(curves: Mapping[str, np.ndarray]) -> Columns:
        """From curves [T] by name."""
        return Columns(tuple(curves), np.stack([np.asarray(curve, np.float64) for curve in curves.values()], axis=1))


def with_source(track: CodeTrack, form: str, columns: Columns, **texts: np.ndarray) -> CodeTrack:
    """The track with the curves it was read from in its extras; ``texts`` are further arrays, such as timecodes."""
    kept = {
        f"curves/{form}/names": np.array(columns.names),
        f"curves/{form}/values": columns.values,
        **{f"curves/{form}/{name}": value for name, value in texts.items()},
    }
    return replace(track, extras={**track.extras, **kept})


def source_of(track: CodeTrack, form: str) -> Columns | None:
    """The curves that a track was read from, where they are of this form and still belong to its frames."""
    names, values = (track.extras.get(f"curves/{form}/{part}") for part in ("names", "values"))
    if names is None or values is None or len(values) != len(track):
        return None
    return Columns(tuple(str(name) for name in names), values)


def to_write(
    track: CodeTrack, form: str, encode: Callable[[Codes], Columns], decode: Callable[[Columns], Codes]
) -> Columns:
    """The curves of a track: those it was read from where the codes still say the same, else those that its codes give.

    Args:
        track: the track.
        form: name of the format.
        encode: curves of codes.
        decode: codes of curves.
    """
    fresh = encode(track.codes)
    source = source_of(track, form)
    if source is None:
        return fresh
    again = encode(decode(source))
    curves = {}
    for name in fresh.names:
        here, there = fresh.get(name), again.get(name)
        kept = source.has(name) & (np.abs(here - there) <= _SAME)
        curves[name] = np.where(kept, source.get(name), here)
    lower = {name.lower() for name in fresh.names}
    curves |= {name: source.get(name) for name in source.names if name.lower() not in lower}
    return Columns.of(curves)


def frame_rate(times: np.ndarray, missing: float) -> float:
    """Frames per second of frames at times [T] in seconds, by the median step; ``missing`` where that says nothing."""
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else 0.0
    return float(round(1 / step, 3)) if step > 0 else missing
