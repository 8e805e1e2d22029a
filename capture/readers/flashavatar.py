"""FlashAvatar: ``imgs/``, ``alpha/`` and ``parsing/`` beside metrical-tracker's checkpoints.

For the checkpoints and their conventions see ``capture.formats.metrical``. They are in ``checkpoint/`` of the folder,
or where FlashAvatar looks for them, ``../../metrical-tracker/output/<name>/checkpoint``. **The image of checkpoint t
is t + 1** (the tracker leaves out the first). Splits: the last 500 frames (at most a third) are "test". The rate is
not stored: 25 by default.
"""

from __future__ import annotations

from pathlib import Path

from capture.formats.footage import Footage, stills
from capture.formats.metrical import FOLDER, checkpoints, read_checkpoints
from capture.formats.rates import TimedConfig, rate
from capture.readers import footage_reader
from studio.captures import Split
from studio.errors import StudioError

USUAL_FPS = 25.0
_TEST_FRAMES = 500


def _checkpoints(source: Path) -> list[Path]:
    beside = source.absolute().parent.parent / "metrical-tracker" / "output" / source.name / FOLDER
    return checkpoints(source / FOLDER) or checkpoints(beside)


def accepts(source: Path) -> bool:
    """Whether it is such a folder."""
    return (source / "imgs").is_dir() and bool(_checkpoints(source))


def describe(source: Path, config: TimedConfig) -> Footage:
    """The images, mattes and the tracking."""
    paths = _checkpoints(source)
    tracked, fps = read_checkpoints(paths, config.frames), rate(config, USUAL_FPS)
    numbers = [_number(name, source) + 1 for name in tracked.names]
    images = [_file(source / "imgs", number) for number in numbers]
    if images[0] is None:
        raise StudioError(
            f"no image {numbers[0]:05d} in {source / 'imgs'}", expected="the image of checkpoint t is t + 1"
        )
    cut = len(paths) - min(_TEST_FRAMES, len(paths) // 3)
    times = range(len(tracked.names))
    parts = {"train": [time for time in times if time < cut], "test": [time for time in times if time >= cut]}
    return Footage(
        format="flashavatar",
        viewmats=tracked.viewmats,
        Ks=tracked.K[None],
        size=tracked.size,
        camera_ids=["0"],
        timestep_ids=tracked.names,
        fps=fps,
        streams=[
            stills(
                [path or source / "imgs" / f"{number:05d}.jpg" for path, number in zip(images, numbers, strict=True)],
                [_file(source / "alpha", number) for number in numbers],
            )
        ],
        described_by=paths[:1],
        splits={name: Split(tuple(part), (0,)) for name, part in parts.items() if part},
        tracks={"flame": tracked.track(fps, str(source))},
        beside=source,
    )


def _number(name: str, source: Path) -> int:
    if not name.isdigit() or len(name) > 12:
        raise StudioError(f"a checkpoint of {source} has no number", got=name, expected="00000.frame …")
    return int(name)


def _file(folder: Path, number: int) -> Path | None:
    candidates = (folder / f"{number:05d}{suffix}" for suffix in (".jpg", ".png"))
    return next((path for path in candidates if path.is_file()), None)


READER = footage_reader(TimedConfig, accepts, describe)
