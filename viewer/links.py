"""A view as text that fits in a link, and back. What comes back is somebody else's: only known numbers are taken."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from studio.codes import Codes
from studio.errors import StudioError
from viewer.modes import MODES
from viewer.session import Color, Scene, Split

_MOST_TEXT, _MOST_BYTES = 12_000, 60_000
_JOINTS = ("jaw_pose", "neck_pose", "neck_translation", "eye_pose")
_MOST = 10.0  # radians, metres or weights
_DIGITS = 4


@dataclass(frozen=True)
class Viewing:
    """Where a browser looks from; world coordinates, metres, radians."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float]
    fov: float


def to_text(scene: Scene, viewing: Viewing) -> str:
    """The scene and where it is seen from, for a link."""
    codes = scene.codes
    weights = codes.expression.tolist()
    state: dict[str, Any] = {
        "w": {
            name: round(weight, _DIGITS) for name, weight in zip(codes.space.channels, weights) if abs(weight) > 1e-4
        },
        "h": _rounded(codes.head_to_world[:3].flatten().tolist()),
        "j": {name: _rounded(getattr(codes, name).flatten().tolist()) for name in _JOINTS},
        "c": [*(_rounded(point) for point in (viewing.position, viewing.target, viewing.up)), round(viewing.fov, 5)],
        "m": scene.mode,
        "f": scene.frame,
        "b": list(scene.backdrop),
        "s": [scene.split.other, scene.split.layout, round(scene.split.at, 3)],
    }
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def from_text(text: object, scene: Scene) -> tuple[Scene, Viewing]:
    """What a link says, with whatever it does not say as it is in ``scene``.

    Raises:
        StudioError: it is damaged, or holds what no view is.
    """
    try:
        state = _unpacked(text)
        codes = _codes(scene.codes, state)
        position, target, up, fov = state["c"]
        viewing = Viewing(_point(position), _point(target), _point(up), _number(fov, 3.1))
        if not viewing.fov > 0.01 or viewing.position == viewing.target or viewing.up == (0.0, 0.0, 0.0):
            raise ValueError("no camera")
        mode = state["m"] if state["m"] in MODES else "colour"
        frame = int(_number(state["f"], 1e7))
        red, green, blue = (min(max(int(_number(level, 255)), 0), 255) for level in state["b"])
        backdrop: Color = (red, green, blue)
        return replace(scene, codes=codes, mode=mode, frame=frame, backdrop=backdrop, split=_split(state["s"])), viewing
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, zlib.error) as error:
        raise StudioError("this link shows no view", got=str(error)[:100], next="copy the whole link") from error


def _unpacked(text: object) -> Mapping[str, Any]:
    if not isinstance(text, str) or len(text) > _MOST_TEXT:
        raise ValueError("no link")
    packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    data = zlib.decompressobj().decompress(packed, _MOST_BYTES)
    state = json.loads(data)
    if not isinstance(state, dict):
        raise ValueError("no mapping")
    return state


def _codes(codes: Codes, state: Mapping[str, Any]) -> Codes:
    space = codes.space
    known = {name: value for name, value in state["w"].items() if name in space.channels}
    weights = {name: min(max(_number(value, 1e6), space.low), space.high) for name, value in known.items()}
    result = replace(codes, expression=torch.zeros_like(codes.expression)).with_channels(**weights)
    joints: dict[str, Any] = {}
    for name in _JOINTS:
        shape = getattr(codes, name).shape
        numbers = [_number(value, _MOST) for value in state["j"][name]]
        joints[name] = torch.tensor(numbers).reshape(shape)
    head = torch.tensor([*(_number(value, 1e4) for value in state["h"]), 0, 0, 0, 1]).reshape(4, 4)
    turn = head[:3, :3].double()
    if float((turn @ turn.T - torch.eye(3)).abs().max()) > 0.01 or float(torch.linalg.det(turn)) < 0:
        raise ValueError("a head that is not turned but bent")
    return replace(result, **joints, head_to_world=head)


def _split(value: Sequence[Any]) -> Split:
    other, layout, at = value
    if other not in ("none", "footage", "rival") or layout not in ("side", "wipe"):
        return Split()
    return Split(other, layout, min(max(_number(at, 1.0), 0.0), 1.0))


def _point(values: Sequence[Any]) -> tuple[float, float, float]:
    x, y, z = (_number(value, 1e4) for value in values)
    return x, y, z


def _number(value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > most:
        raise ValueError(f"no number: {value!r}"[:60])
    return float(value)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), _DIGITS + 1) for value in values]
