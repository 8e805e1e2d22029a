"""What the renders of a job start from: where it lies, what it is, and how much there is to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reenact.curves.hashing import source_hash
from reenact.jobs.render import Extent, RenderJob, gaussians_of, project_of
from reenact.project.sources import make_source
from studio.captures import open_capture
from studio.errors import StudioError
from studio.folders import MANIFEST, content_hash, read_manifest

_PATHS = ("project", "avatar")
_SECONDS = 10.0  # how long a driver is believed to last of whose length nobody knows before it was run


@dataclass
class Inputs:
    """The content hashes of everything that a job starts from, by path."""

    hashes: dict[str, str] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Note a file or folder."""
        is_folder = path.is_dir() and (path / MANIFEST).is_file()
        self.hashes[str(path)] = content_hash(path) if is_folder else source_hash(path)


def with_absolute_paths(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A render's settings with paths that are no longer relative to the job file."""
    result = dict(values)
    for key in _PATHS:
        if isinstance(result.get(key), str):
            result[key] = str((base / Path(result[key]).expanduser()).resolve())
    if isinstance(result.get("driver"), Mapping):
        result["driver"] = _located(result["driver"], base, but=("kind", "name", "split"))
    if isinstance(result.get("render"), Mapping):
        result["render"] = _located(result["render"], base, but=("codec", "quality", "images", "timecode", "watermark"))
        if isinstance(result["render"].get("camera"), Mapping):
            result["render"]["camera"] = _located(result["render"]["camera"], base, but=("kind",))
    return result


def _located(values: Mapping[str, Any], base: Path, but: tuple[str, ...]) -> dict[str, Any]:
    """The values with absolute paths where they name something that is there."""
    result = dict(values)
    for key, value in values.items():
        if isinstance(value, str) and key not in but and (base / Path(value).expanduser()).exists():
            result[key] = str((base / Path(value).expanduser()).resolve())
    return result


def frames_of(job: RenderJob, inputs: Inputs) -> int:
    """Build every driver of a render, note what it reads, and tell how many frames it will have, roughly."""
    seconds: float | None = None
    if job.project is None:
        listed: Mapping[str, Mapping[str, Any]] = {"driver": job.driver}
        base, fps = Path(), job.render.fps
    else:
        project = project_of(job)
        listed, base, fps, seconds = project.sources, project.folder, project.fps, project.seconds
        inputs.add(job.project)
    longest = 0.0
    for name, settings in listed.items():
        driver, _ = make_source(name, settings, base)
        for value in vars(driver).values():
            if isinstance(value, Path):
                if not value.exists():
                    raise StudioError(f"no such source of {name}: {value}", next="check the path")
                inputs.add(value)
        own_fps, frames = _length(driver)
        fps = fps or own_fps
        longest = max(longest, frames / own_fps)
    return max(1, round((seconds if seconds is not None else longest) * (fps or 25.0)))


def _length(driver: Any) -> tuple[float, float]:
    """(frames per second, frames) of a driver, as far as its source tells them without being driven."""
    source = getattr(driver, "source", None)
    if not isinstance(source, Path):
        return 25.0, _SECONDS * 25.0
    if source.is_dir():
        manifest = read_manifest(source, kind=None)
        if manifest.kind == "capture":
            capture = open_capture(source)
            return capture.fps or 25.0, len(capture.split(getattr(driver, "split", "all")).timesteps)
        return float(manifest.body.get("fps", 25.0)), float(manifest.body.get("frames", 250))
    from studio.media.video_reader import probe

    try:
        found = probe(source)
        return float(found.fps), float(found.frames)
    except (StudioError, OSError, AttributeError):
        return 25.0, _SECONDS * 25.0


def extent_of(job: RenderJob, own: Extent | None, inputs: Inputs) -> Extent:
    """How much a render draws; ``own`` is what is known of an avatar that the job itself trains."""
    frames, project = frames_of(job, inputs), project_of(job) if job.project is not None else None
    if own is not None:
        gaussians, pixels = own.gaussians, own.pixels
    else:
        folders = [job.avatar] if job.avatar else []
        if project is not None:
            folders = [project.folder / item.avatar.expanduser() for item in project.characters.values()]
        gaussians = pixels = 0
        for folder in folders:
            manifest = read_manifest(folder, kind="avatar")
            inputs.add(folder)
            gaussians += gaussians_of(folder, job.gaussians)
            shown = manifest.body.get("camera", {})
            pixels = max(pixels, int(shown.get("width", 512)) * int(shown.get("height", 512)))
    size = job.render.size if project is None else project.render.size
    return Extent(frames, size[0] * size[1] if size else pixels, gaussians)
