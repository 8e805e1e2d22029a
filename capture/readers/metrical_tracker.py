"""metrical-tracker's output: ``checkpoint/<t>.frame`` and the cropped images that it read, ``input/<t>.png``.

For the checkpoints and their conventions see ``capture.formats.metrical``. Images have the checkpoints' names, or are
as many, in order. The rate is not stored: 25 by default.
"""

from __future__ import annotations

from pathlib import Path

from capture.formats.footage import Footage, stills
from capture.formats.metrical import FOLDER, checkpoints, read_checkpoints
from capture.formats.pictures import IMAGE_SUFFIXES
from capture.formats.rates import TimedConfig, rate
from capture.readers import footage_reader
from studio.errors import StudioError

USUAL_FPS = 25.0
IMAGES = ("input", "images")


def accepts(source: Path) -> bool:
    """Whether it is such a folder (FlashAvatar's and INSTA's have other images beside the checkpoints)."""
    return (
        any((source / name).is_dir() for name in IMAGES)
        and not (source / "transforms.json").exists()
        and bool(checkpoints(source / FOLDER))
    )


def describe(source: Path, config: TimedConfig) -> Footage:
    """The images and the tracking."""
    paths = checkpoints(source / FOLDER)
    tracked, fps = read_checkpoints(paths, config.frames), rate(config, USUAL_FPS)
    images = _images(source, tracked.names, len(paths))
    return Footage(
        format="metrical_tracker",
        viewmats=tracked.viewmats,
        Ks=tracked.K[None],
        size=tracked.size,
        camera_ids=["0"],
        timestep_ids=tracked.names,
        fps=fps,
        streams=[stills(images)],
        described_by=paths[:1],
        tracks={"flame": tracked.track(fps, str(source))},
        beside=source,
    )


def _images(source: Path, names: list[str], total: int) -> list[Path]:
    """The images of the checkpoints ``names``, the first of ``total``."""
    folder = next((source / name for name in IMAGES if (source / name).is_dir()), source / IMAGES[0])
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    by_name = {path.stem: path for path in files}
    if all(name in by_name for name in names):
        return [by_name[name] for name in names]
    if len(files) != total:
        raise StudioError(f"images and checkpoints of {source} do not fit", got=f"{len(files)} images", expected=total)
    return files[: len(names)]


READER = footage_reader(TimedConfig, accepts, describe)
