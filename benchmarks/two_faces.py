"""Two persons in one video: how much each one's codes differ from those of the same person filmed alone.

    python -m benchmarks.two_faces LEFT.mp4 RIGHT.mp4 [--frames 75]

The clips are put side by side, ``driver=video driver.face=0|1`` reads each, and ``driver=video`` reads the clips alone.

error       mean difference of the codes from those of the clip alone; in brackets: between the two clips alone
crosstalk   Pearson correlation of the opening of the jaw with the other person's, and of the two clips alone
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from benchmarks.measuring import print_table, write_json
from reenact.drivers.video import VideoDriver
from studio.codes import ARKIT52, CodeTrack
from studio.media.video_reader import probe, read_frames
from studio.media.video_writer import VideoWriter

_HEIGHT = 720


def write_clip(out: Path, clips: Sequence[Path], frames: int) -> Path:
    """The first frames of one or more clips, beside each other."""
    fps = float(probe(clips[0]).fps)
    readers = [read_frames(clip, fps=fps, stop=frames) for clip in clips]
    writer: VideoWriter | None = None
    with ExitStack() as stack:
        for pictures in zip(*readers, strict=False):
            picture = np.concatenate([_scaled(frame) for frame in pictures], axis=1)
            writer = writer or stack.enter_context(VideoWriter(out, fps, picture.shape[1::-1]))
            writer.write(picture)
    return out


def _scaled(frame: np.ndarray) -> np.ndarray:
    width = round(frame.shape[1] * _HEIGHT / frame.shape[0] / 2) * 2
    return cv2.resize(frame, (width, _HEIGHT), interpolation=cv2.INTER_AREA)


def compared(found: CodeTrack, alone: CodeTrack, other: CodeTrack) -> dict[str, object]:
    """One person's row."""
    count = min(len(found), len(alone), len(other))
    a, b, c = (track.codes.expression[:count].numpy() for track in (found, alone, other))
    jaw = ARKIT52.index("jawOpen")
    return {
        "error": float(np.abs(a - b).mean()),
        "(other person)": float(np.abs(b - c).mean()),
        "jaw r": float(np.corrcoef(a[:, jaw], b[:, jaw])[0, 1]),
        "crosstalk": float(np.corrcoef(a[:, jaw], c[:, jaw])[0, 1]),
        "(of the clips alone)": float(np.corrcoef(b[:, jaw], c[:, jaw])[0, 1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs=2, type=Path)
    parser.add_argument("--frames", type=int, default=75)
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks/two_faces.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        both = write_clip(Path(folder) / "both.mp4", options.clips, options.frames)
        alone = [
            VideoDriver(write_clip(Path(folder) / f"{number}.mp4", [clip], options.frames)).drive().track
            for number, clip in enumerate(options.clips)
        ]
        found = [VideoDriver(both, face=number).drive().track for number in (0, 1)]
    rows: list[dict[str, object]] = [
        {"face": number, **compared(found[number], alone[number], alone[1 - number])} for number in (0, 1)
    ]
    print_table(rows)
    write_json(options.out, "two_faces", rows)


if __name__ == "__main__":
    main()
