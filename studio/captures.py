"""A capture: synchronised images of a head from C cameras over T timesteps, read lazily from its folder.

captures/<subject>/<sequence>/
    manifest.json cameras.json images/<camera id>/<timestep id>.png [alpha/…png] [background/<camera id>.png]
    [depth/<camera id>/<timestep id>.png] [audio.wav] tracks/<name>/{manifest.json,track.npz}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from studio.cameras import Camera
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import MANIFEST, Manifest, read_manifest, write_json
from studio.media.ahead import ahead
from studio.media.depth import read_depth
from studio.media.images import read_image

_NAME = re.compile(r"[\w+@=-][\w.+@=,() -]*")  # what may be the name of a file on every system


@dataclass(frozen=True)
class Split:
    """Which part of a capture something is done with: dense indices, not ids."""

    timesteps: tuple[int, ...]
    cameras: tuple[int, ...]


@dataclass(frozen=True)
class Frame:
    """One image of a capture.

    Args:
        image: [H, W, 3] uint8 sRGB.
        alpha: [H, W] uint8 matte, or None where the capture has none.
        camera: the camera (C = 1).
        camera_index: which camera of the capture.
        timestep_index: which timestep.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    camera: Camera
    camera_index: int
    timestep_index: int


@dataclass(frozen=True)
class Capture:
    """A capture folder. Open one with ``open_capture``.

    Args:
        folder: where it is.
        manifest: what it says of itself.
        cameras: all C cameras.
        timestep_ids: T names, in time order.
        fps: frames per second; 0 for a static capture.
        splits: named parts, such as "train", "test", "novel_view", "novel_expression".
    """

    folder: Path
    manifest: Manifest
    cameras: Camera
    timestep_ids: tuple[str, ...]
    fps: float
    splits: Mapping[str, Split]

    def __len__(self) -> int:
        return len(self.timestep_ids)

    def frame(self, timestep_index: int, camera_index: int = 0) -> Frame:
        """Read one image (and its matte) from disk. Raises StudioError when the file is missing or damaged."""
        image, path = self.image(timestep_index, camera_index), self._path("alpha", timestep_index, camera_index)
        alpha = self.matte(timestep_index, camera_index) if path.exists() else None
        return Frame(image, alpha, self.cameras[camera_index], camera_index, timestep_index)

    def frames(self, keys: Iterable[tuple[int, int]]) -> Iterator[Frame]:
        """The images of (timestep_index, camera_index) pairs in order, decoded by threads ahead of their use."""
        return ahead(partial(self.frame, *key) for key in keys)

    def image(self, timestep_index: int, camera_index: int = 0) -> np.ndarray:
        """Read one image [H, W, 3] uint8. Raises StudioError when the file is missing or damaged."""
        return read_image(self._path("images", timestep_index, camera_index))

    def matte(self, timestep_index: int, camera_index: int = 0) -> np.ndarray:
        """Read one matte [H, W] uint8. Raises StudioError when the file is missing or damaged."""
        return read_image(self._path("alpha", timestep_index, camera_index), gray=True)

    def depth(self, timestep_index: int, camera_index: int = 0) -> np.ndarray | None:
        """Camera z [H, W] float32 in metres, 0 where nothing is known, or None where the capture has no depth."""
        path = self._path("depth", timestep_index, camera_index)
        return read_depth(path) if path.exists() else None

    def is_matted(self, camera_index: int = 0) -> bool:
        """Whether every image of a camera has a matte."""
        return all(self._path("alpha", index, camera_index).exists() for index in range(len(self)))

    def file(self, kind: str, timestep_index: int, camera_index: int = 0) -> Path:
        """Where a picture of a kind ("images", "alpha") lies, whether it is there or not."""
        return self._path(kind, timestep_index, camera_index)

    def _path(self, kind: str, timestep_index: int, camera_index: int) -> Path:
        return self.folder / kind / self.cameras.ids[camera_index] / f"{self.timestep_ids[timestep_index]}.png"

    def background(self, camera_index: int = 0) -> np.ndarray | None:
        """The static background [H, W, 3] uint8 that a camera sees, or None where it is not known."""
        path = self.folder / "background" / f"{self.cameras.ids[camera_index]}.png"
        return read_image(path) if path.exists() else None

    @property
    def audio(self) -> Path | None:
        """The sound, in sync with timestep 0 at its start, or None."""
        path = self.folder / "audio.wav"
        return path if path.exists() else None

    def track(self, name: str) -> CodeTrack:
        """Load a track of this capture. Raises StudioError naming the tracks that exist when it is not there."""
        folder = self.folder / "tracks" / name
        if not folder.is_dir():
            made = sorted(path.name for path in (self.folder / "tracks").glob("*") if not path.name.startswith("."))
            raise StudioError(
                f"no track {name} in {self.folder}", got=made or "no tracks", next=f"studio track capture={self.folder}"
            )
        track = CodeTrack.load(folder)
        if len(track) != len(self):
            raise StudioError(
                f"track {name} does not fit {self.folder}", got=f"{len(track)} frames", expected=f"{len(self)}"
            )
        return track

    def split(self, name: str) -> Split:
        """A named split; "all" always exists. Raises StudioError naming the splits that exist."""
        if name == "all":
            return Split(tuple(range(len(self))), tuple(range(len(self.cameras))))
        if name not in self.splits:
            raise StudioError(f"no split {name} in {self.folder}", got=name, expected=", ".join(["all", *self.splits]))
        return self.splits[name]


def write_cameras(path: Path, cameras: Camera) -> None:
    """Write cameras.json."""
    listed = [
        {"id": name, "K": K.tolist(), "world_to_camera": viewmat.tolist()}
        for name, K, viewmat in zip(cameras.ids, cameras.Ks.double(), cameras.viewmats.double(), strict=True)
    ]
    write_json(path, {"width": cameras.width, "height": cameras.height, "cameras": listed})


def read_cameras(path: Path) -> Camera:
    """Read cameras.json. Raises StudioError when it is missing or malformed."""
    try:
        data = json.loads(path.read_text())
        listed = data["cameras"]
        return Camera(
            torch.tensor([item["world_to_camera"] for item in listed], dtype=torch.float32),
            torch.tensor([item["K"] for item in listed], dtype=torch.float32),
            int(data["width"]),
            int(data["height"]),
            tuple(str(item["id"]) for item in listed),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudioError(
            f"cannot read the cameras {path}",
            got=repr(error),
            expected="width, height and cameras with id, K, world_to_camera",
        ) from error


def check_names(names: Sequence[str], what: str) -> None:
    """Raise StudioError unless all names are different and can be names of files; ``what`` says whose they are."""
    if not names:
        raise StudioError(f"{what}: there are none", expected="at least one")
    for name in names:
        if not _NAME.fullmatch(name) or len(name) > 200:
            raise StudioError(
                f"{what} have a name that no file can have", got=repr(name)[:100], expected="a plain name"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StudioError(f"{what} have a name twice", got=twice, expected="different names")


def capture_body(timestep_ids: Sequence[str], fps: float, splits: Mapping[str, Split]) -> dict[str, object]:
    """The body of a capture's manifest."""
    listed = {name: {"timesteps": list(s.timesteps), "cameras": list(s.cameras)} for name, s in splits.items()}
    return {"timestep_ids": list(timestep_ids), "fps": fps, "splits": listed}


def open_capture(folder: Path, complete: bool = True) -> Capture:
    """Open a capture folder; images are read when asked for.

    Args:
        folder: where it is.
        complete: refuse a capture from which files are missing.

    Raises:
        StudioError: it is no capture, or damaged.
    """
    manifest = read_manifest(folder, kind="capture", complete=complete)
    cameras = read_cameras(folder / "cameras.json")
    body = manifest.body
    try:
        listed = body.get("splits", {})
        splits = {name: Split(tuple(item["timesteps"]), tuple(item["cameras"])) for name, item in listed.items()}
        capture = Capture(folder, manifest, cameras, tuple(body["timestep_ids"]), float(body["fps"]), splits)
        check_names(capture.timestep_ids, f"the frames of {folder}")
        check_names(capture.cameras.ids, f"the cameras of {folder}")
        if capture.splits:
            check_names(tuple(capture.splits), f"the splits of {folder}")
        return capture
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudioError(
            f"damaged manifest: {folder / MANIFEST}",
            got=repr(error),
            expected="timestep_ids, fps and splits in its body",
            next="restore or remake it",
        ) from error
