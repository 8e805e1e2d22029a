"""Driving codes: a named space of channels, one state in it, and a track of states over time."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from studio.errors import StudioError
from studio.folders import Manifest, read_manifest, write_folder

_LEFT_EYE = ("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft")
_EYES = tuple(name.replace("Left", side) for side in ("Left", "Right") for name in (*_LEFT_EYE, "eyeWideLeft"))
ARKIT_CHANNELS: tuple[str, ...] = (
    *_EYES,
    *("jawForward", "jawLeft", "jawRight", "jawOpen"),
    *("mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight"),
    *("mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight"),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut"),
)


@dataclass(frozen=True)
class CodeSpace:
    """A named, ordered set of expression channels with the range that each may take."""

    name: str
    channels: tuple[str, ...]
    low: float = 0.0
    high: float = 1.0

    def __len__(self) -> int:
        return len(self.channels)

    @property
    def hash(self) -> str:
        """What two spaces must share for their codes to be interchangeable."""
        text = json.dumps([self.name, self.channels, self.low, self.high])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def index(self, channel: str) -> int:
        """Position of a channel. Raises StudioError for a name that the space does not have."""
        if channel not in self.channels:
            raise StudioError(
                f"no channel of that name in the code space {self.name}", got=channel, expected=", ".join(self.channels)
            )
        return self.channels.index(channel)

    def require(self, other: CodeSpace, holder: str) -> None:
        """Raise StudioError unless ``other`` is this space; ``holder`` names who brought the other codes."""
        if other is not self and other.hash != self.hash:
            raise StudioError(
                f"the codes of {holder} are of another space",
                got=f"{other.name} ({len(other)} channels)",
                expected=f"{self.name} ({len(self)} channels)",
                next=f"retarget them first: a retargeter {other.name} -> {self.name} is needed",
            )


ARKIT52 = CodeSpace("arkit52", ARKIT_CHANNELS)
# FLAME's first hundred expression coefficients: standard deviations of a basis, not weights of shapes.
FLAME100 = CodeSpace("flame2023/100", tuple(f"expression_{index}" for index in range(100)), -10.0, 10.0)
FLAME2020_100 = CodeSpace("flame2020/100", FLAME100.channels, -10.0, 10.0)  # another basis: not interchangeable
# Metres, head frame: where heads turn, near enough for all models. It cancels unless head or torso are changed.
NECK_PIVOT = (0.0, -0.12, -0.08)
# What follows the expression in ``Codes.vector``, in that order: field -> numbers.
JOINT_SIZES: Mapping[str, int] = {"jaw_pose": 3, "neck_pose": 3, "neck_translation": 3, "eye_pose": 6}
SPACES: Mapping[str, CodeSpace] = {space.name: space for space in (ARKIT52, FLAME100, FLAME2020_100)}


@dataclass(frozen=True)
class Codes:
    """Driving states of a head, batched over leading dimensions.

    Args:
        space: what the expression channels mean.
        expression: [..., E] weights in the range of the space.
        jaw_pose: [..., 3] axis-angle, radians, added to what the jaw channels do.
        neck_pose: [..., 3] axis-angle of the head relative to the torso, about the neck joint.
        neck_translation: [..., 3] metres in the head frame: moves the torso where one pivot does not explain it.
        eye_pose: [..., 2, 3] axis-angle of left and right eyeball, added to what the eyeLook channels do.
        head_to_world: [..., 4, 4] rigid, places the skull.
    """

    space: CodeSpace
    expression: Tensor
    jaw_pose: Tensor
    neck_pose: Tensor
    neck_translation: Tensor
    eye_pose: Tensor
    head_to_world: Tensor

    def __post_init__(self) -> None:
        batch = self.expression.shape[:-1]
        expected = {name: (*batch, *shape) for name, shape in _trailing_shapes(self.space).items()}
        wrong = [name for name, shape in expected.items() if tuple(getattr(self, name).shape) != shape]
        if wrong:
            raise StudioError(
                "codes have the wrong shape",
                got=", ".join(f"{name} {tuple(getattr(self, name).shape)}" for name in wrong),
                expected=", ".join(f"{name} {expected[name]}" for name in wrong),
            )

    @staticmethod
    def neutral(space: CodeSpace = ARKIT52, batch: tuple[int, ...] = ()) -> Codes:
        """The rest state: zero expression and joints, the head frame at the world's origin."""
        tensors = {name: torch.zeros(*batch, *shape) for name, shape in _trailing_shapes(space).items()}
        tensors["head_to_world"] = torch.eye(4).expand(*batch, 4, 4).clone()
        return Codes(space, **tensors)

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.expression.shape[:-1])

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by field name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "space"}

    def __getitem__(self, index: int | slice | Tensor | list[int]) -> Codes:
        """A selection along the first batch dimension."""
        return Codes(self.space, **{name: value[index] for name, value in self.tensors().items()})

    def to(self, device: torch.device | str) -> Codes:
        return Codes(self.space, **{name: value.to(device) for name, value in self.tensors().items()})

    def with_channels(self, **weights: float | Tensor) -> Codes:
        """A copy with some expression channels replaced, by name."""
        expression = self.expression.clone()
        for channel, weight in weights.items():
            expression[..., self.space.index(channel)] = weight
        return replace(self, expression=expression)

    def vector(self) -> Tensor:
        """[..., E + 15]: expression, jaw, neck pose, neck translation, eyes: what an avatar is conditioned on.

        The head's place in the world is left out: it must not change the face.
        """
        joints = (getattr(self, name).reshape(*self.batch, size) for name, size in JOINT_SIZES.items())
        return torch.cat((self.expression, *joints), dim=-1)

    def with_vector(
        self,
        vector: Tensor,  # [..., E + 15]
    ) -> Codes:
        """A copy with other numbers in ``vector``; the head stays where it is."""
        sizes = [len(self.space), *JOINT_SIZES.values()]
        parts = dict(zip(("expression", *JOINT_SIZES), vector.split(sizes, dim=-1), strict=True))
        shapes = _trailing_shapes(self.space)
        return replace(self, **{name: part.reshape(*self.batch, *shapes[name]) for name, part in parts.items()})

    @staticmethod
    def stack(states: list[Codes]) -> Codes:
        """States of one space stacked along a new first dimension."""
        names = states[0].tensors()
        return Codes(states[0].space, **{n: torch.stack([s.tensors()[n] for s in states]) for n in names})


def _trailing_shapes(space: CodeSpace) -> dict[str, tuple[int, ...]]:
    return {
        "expression": (len(space),),
        "jaw_pose": (3,),
        "neck_pose": (3,),
        "neck_translation": (3,),
        "eye_pose": (2, 3),
        "head_to_world": (4, 4),
    }


@dataclass(frozen=True)
class CodeTrack:
    """Codes over time.

    Args:
        codes: batch [T].
        fps: frames per second, constant.
        valid: [T] bool: False where the source showed no face (the codes there are interpolated).
        provenance: where each group of channels came from, e.g. {"expression": "landmarks", "neck": "optical flow"}.
        extras: further arrays of the tracker by name (identity, landmarks …), stored beside the codes.
    """

    codes: Codes
    fps: float
    valid: Tensor
    provenance: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.codes.batch) != 1 or tuple(self.valid.shape) != self.codes.batch:
            raise StudioError(
                "a code track needs one state and one valid flag per frame",
                got=f"codes {self.codes.batch}, valid {tuple(self.valid.shape)}",
                expected="codes [T] and valid [T]",
            )

    def __len__(self) -> int:
        return self.codes.batch[0]

    @property
    def hash(self) -> str:
        """Of everything that is learned from a track: codes, validity, rate, identity and the other extras."""
        digest = hashlib.sha256(json.dumps([self.codes.space.hash, self.fps]).encode())
        arrays = {name: value.numpy() for name, value in self.codes.tensors().items()}
        arrays |= {"valid": self.valid.numpy(), **{f"extra/{name}": value for name, value in self.extras.items()}}
        for name in sorted(arrays):
            digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
        return digest.hexdigest()[:16]

    def save(
        self, folder: Path, *, parents: Mapping[str, str] | None = None, report: Mapping[str, Any] | None = None
    ) -> None:
        """Write a track folder (manifest.json, track.npz).

        Args:
            folder: a new folder.
            parents: what it was made from, with content hashes.
            report: figures of the tracker, added to the body of the manifest.

        Raises:
            StudioError: the folder exists and is not empty.
        """
        arrays: dict[str, Any] = {name: value.numpy() for name, value in self.codes.tensors().items()}
        arrays |= {f"extra/{name}": value for name, value in self.extras.items()}
        manifest = Manifest(
            kind="track",
            code_space=self.codes.space.name,
            parents=dict(parents or {}),
            body={
                "code_space_hash": self.codes.space.hash,
                "channels": list(self.codes.space.channels),
                "fps": self.fps,
                "frames": len(self),
                "provenance": dict(self.provenance),
                **(report or {}),
            },
        )
        with write_folder(folder, manifest) as temporary:
            np.savez_compressed(temporary / "track.npz", valid=self.valid.numpy(), **arrays)

    @staticmethod
    def load(folder: Path) -> CodeTrack:
        """Read a track folder. Raises StudioError when it is missing, damaged or of an unknown space."""
        manifest = read_manifest(folder, kind="track")
        space = SPACES.get(manifest.code_space or "")
        if space is None or space.hash != manifest.body.get("code_space_hash"):
            raise StudioError(
                f"unknown code space in {folder}", got=manifest.code_space, expected=f"one of {sorted(SPACES)}"
            )
        path, body = folder / "track.npz", manifest.body
        try:
            with np.load(path, allow_pickle=False) as data:
                tensors = {name: torch.from_numpy(data[name]) for name in _trailing_shapes(space)}
                extras = {name.removeprefix("extra/"): data[name] for name in data.files if name.startswith("extra/")}
                valid = torch.from_numpy(data["valid"])
            for name, value in tensors.items():
                if not bool(torch.isfinite(value).all()):
                    raise ValueError(f"{name} is not finite")
            if not all(isinstance(value, np.ndarray) for value in extras.values()):
                raise ValueError("a member is no array")
            return CodeTrack(Codes(space, **tensors), float(body["fps"]), valid, body["provenance"], extras)
        except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            raise StudioError(
                f"damaged track: {path}", got=error, expected="a track written by studio", next="restore or remake it"
            ) from error
