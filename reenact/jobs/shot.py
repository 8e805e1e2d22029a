"""A shot on disk: everything that its pictures are drawn from, so that any process can draw any of them.

    shot.json shot.npz actors/<n>/ (tracks)

Bytes of float32 arrays are kept, so that pictures do not depend on who draws them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reenact.backgrounds import background
from reenact.camera_paths import CameraPathConfig
from reenact.pictures import Film, Layers
from reenact.project.job import develop
from reenact.project.scene import Actor
from reenact.render import drawn
from reenact.render_config import RenderConfig
from studio.avatar import Avatar
from studio.building import build
from studio.cameras import Camera
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, write_json
from studio.media.audio import Audio

_SHOT, _ARRAYS = "shot.json", "shot.npz"


@dataclass(frozen=True)
class Cast:
    """An avatar of a shot.

    Args:
        folder: the avatar's.
        gaussians: its finest level with at most so many; all where not given.
        hash: of the folder's content when the shot was made.
    """

    folder: Path
    gaussians: int | None
    hash: str

    def load(self, kernels: str) -> Avatar:
        """The avatar. Raises StudioError when it has changed since the shot was made."""
        if content_hash(self.folder) != self.hash:
            raise StudioError(f"{self.folder} has changed", expected="the avatar that the job began with")
        return _loaded(str(self.folder), self.gaussians, self.hash, kernels)


@functools.lru_cache(maxsize=4)
def _loaded(folder: str, gaussians: int | None, digest: str, kernels: str) -> Avatar:
    """Avatars stay open between the chunks that a process draws."""
    from recon.avatars import load_avatar

    return load_avatar(Path(folder), kernels, gaussians)


@dataclass(frozen=True)
class Shot:
    """Avatars, codes, places, cameras and sound.

    Args:
        cast: the avatars.
        tracks: [T] each, codes in the avatar's own world.
        stages: [A, 4, 4] from each avatar's world to that of the scene.
        cameras: T.
        film: rate, size, sound and timecode.
        config: of the pictures; camera, size and rate are those of ``cameras`` and ``film``.
        manifest: of the video.
    """

    cast: tuple[Cast, ...]
    tracks: tuple[CodeTrack, ...]
    stages: torch.Tensor
    cameras: Camera
    film: Film
    config: RenderConfig
    manifest: Manifest

    def save(self, folder: Path) -> None:
        """Write the shot into an existing folder."""
        arrays: dict[str, Any] = {
            "stages": self.stages.numpy(),
            "viewmats": self.cameras.viewmats.numpy(),
            "Ks": self.cameras.Ks.numpy(),
        }
        if self.film.audio is not None:
            arrays |= {"samples": self.film.audio.samples, "rate": np.array(self.film.audio.rate)}
        np.savez_compressed(folder / _ARRAYS, **arrays)
        for index, track in enumerate(self.tracks):
            track.save(folder / "actors" / str(index))
        cast = [{**dataclasses.asdict(item), "folder": str(item.folder)} for item in self.cast]
        film = {"fps": self.film.fps, "size": self.film.size, "timecode": self.film.timecode}
        config = dataclasses.asdict(dataclasses.replace(self.config, camera=CameraPathConfig()))
        values = {"cast": cast, "film": film, "config": config, "manifest": dataclasses.asdict(self.manifest)}
        write_json(folder / _SHOT, values)

    @staticmethod
    def load(folder: Path) -> Shot:
        """Read what ``save`` wrote. Raises StudioError when it is damaged."""
        try:
            values = json.loads((folder / _SHOT).read_text())
            with np.load(folder / _ARRAYS, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
            config, film = build(RenderConfig, values["config"]), values["film"]
            viewmats, Ks = torch.from_numpy(arrays["viewmats"]), torch.from_numpy(arrays["Ks"])
            cameras = Camera(viewmats, Ks, *film["size"])
            voice = Audio(arrays["samples"], int(arrays["rate"])) if "samples" in arrays else None
            film = Film(film["fps"], tuple(film["size"]), voice, film["timecode"])
            cast = tuple(build(Cast, item) for item in values["cast"])
            manifest = Manifest(**values["manifest"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudioError(f"damaged shot: {folder}", got=repr(error), next="studio jobs resume") from error
        tracks = tuple(CodeTrack.load(folder / "actors" / str(index)) for index in range(len(cast)))
        return Shot(cast, tracks, torch.from_numpy(arrays["stages"]), cameras, film, config, manifest)

    def pictures(self, first: int, last: int, kernels: str) -> Iterator[Layers]:
        """The pictures from ``first`` up to ``last``, in order, with their passes."""
        avatars = [item.load(kernels) for item in self.cast]
        actors = [Actor(avatar, track.codes, stage) for avatar, track, stage in zip(avatars, self.tracks, self.stages)]
        behind = background(self.config.background, avatars[0], *self.film.size)
        return drawn(last - first, lambda k: develop(actors, self.cameras[first + k], first + k, behind, self.config))
