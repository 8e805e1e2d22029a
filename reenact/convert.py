"""From one code space to another.

Joints mean the same in all spaces. Expression is taken over by a linear map that is fitted where the same performance
was tracked in both spaces; without one, only what the joints say is known: FLAME's jaw and eyes become channels.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from studio.codes import ARKIT52, SPACES, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.heads.model import EYE_PITCH_RADIANS, EYE_YAW_RADIANS

JAW_OPEN_RADIANS = 0.33  # what jawOpen = 1 turns the chin of our head models by
_RIDGE = 1e-2  # of the mean squared feature
_LEAST_FRAMES = 50


@dataclass(frozen=True)
class CodeMap:
    """A linear map between the expressions of two spaces.

    Args:
        source: the space that is read.
        target: the space that is made.
        weights: [F + 1, E] from the features of the source (expression, jaw, eyes; a one at the end) to expression.
        error: mean absolute error on frames that it was not fitted to.
    """

    source: CodeSpace
    target: CodeSpace
    weights: Tensor
    error: float

    def save(self, path: Path) -> None:
        """Write an npz file. Raises StudioError when it exists."""
        from reenact.curves.files import written_whole

        with written_whole(path.with_suffix(".npz")) as temporary:
            spaces = {"source": self.source.name, "target": self.target.name}
            np.savez(temporary, weights=self.weights.numpy(), error=self.error, **spaces)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> CodeMap:
        """Read it back. Raises StudioError when it is missing, damaged or of spaces that are not known."""
        try:
            with np.load(path, allow_pickle=False) as data:
                spaces = [SPACES[str(data[name])] for name in ("source", "target")]
                return CodeMap(spaces[0], spaces[1], torch.from_numpy(data["weights"]), float(data["error"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise StudioError(f"cannot read the map {path}", got=error, expected="a map between code spaces") from error


def fit_map(source: CodeTrack, target: CodeTrack) -> CodeMap:
    """The map between two tracks of the same frames, by ridge regression; the last fifth is kept to tell its error.

    Raises:
        StudioError: tracks of other lengths, or too few valid frames.
    """
    both = source.valid & target.valid if len(source) == len(target) else torch.zeros(0, dtype=torch.bool)
    if int(both.sum()) < _LEAST_FRAMES:
        raise StudioError(
            "two tracks of the same clip are needed to fit a map",
            got=f"{len(source)} and {len(target)} frames, {int(both.sum())} of them valid in both",
            expected=f"the same frames, at least {_LEAST_FRAMES} valid",
        )
    x, y = _features(source.codes[both]).double(), target.codes.expression[both].double()
    count = round(0.8 * len(x))
    weights = _ridge(x[:count], y[:count])
    error = (x[count:] @ weights - y[count:]).abs().mean()
    return CodeMap(source.codes.space, target.codes.space, weights.float(), float(error))


def convert(track: CodeTrack, target: CodeSpace = ARKIT52, using: CodeMap | None = None) -> CodeTrack:
    """A track in another space; the provenance says by what.

    Raises:
        StudioError: no way from the one space to the other is known.
    """
    space = track.codes.space
    if space.hash == target.hash:
        return track
    codes = track.codes
    still = Codes.neutral(target, codes.batch)
    moved = Codes(target, **{**codes.tensors(), "expression": still.expression})
    if using is not None:
        if (using.source.hash, using.target.hash) != (space.hash, target.hash):
            raise StudioError(
                "the map is of other code spaces",
                got=f"{using.source.name} -> {using.target.name}",
                expected=f"{space.name} -> {target.name}",
            )
        values = (_features(codes) @ using.weights).clamp(target.low, target.high)
        moved = replace(moved, expression=values, jaw_pose=still.jaw_pose, eye_pose=still.eye_pose)
        how = f"{space.name} by a map fitted on two tracks (mean error {using.error:.3f})"
    elif target.hash == ARKIT52.hash:
        moved, how = _from_joints(moved), f"jaw and eyes of {space.name}; its expression has no map and is left out"
    else:
        raise StudioError(
            "no way between these code spaces", got=f"{space.name} -> {target.name}", next="fit a map (reenact.convert)"
        )
    return replace(track, codes=moved, extras={}, provenance={**track.provenance, "expression": how})


def _features(codes: Codes) -> Tensor:
    """[T, F + 1]"""
    ones = torch.ones(*codes.batch, 1)
    return torch.cat((codes.expression, codes.jaw_pose, codes.eye_pose.flatten(-2), ones), dim=-1)


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    """Least squares with shrinking, each feature by its own size, the constant not at all."""
    size = x.square().mean(0)
    penalty = _RIDGE * len(x) * size.clamp(min=1e-8)
    penalty[-1] = 1e-9
    return torch.linalg.solve(x.T @ x + torch.diag(penalty), x.T @ y)


def _from_joints(codes: Codes) -> Codes:
    """Jaw and eye turns as ARKit channels; what they do not say stays in the joints."""
    opened = (codes.jaw_pose[..., 0] / JAW_OPEN_RADIANS).clamp(0, 1)
    jaw = codes.jaw_pose.clone()
    jaw[..., 0] = jaw[..., 0] - JAW_OPEN_RADIANS * opened
    channels: dict[str, float | Tensor] = {"jawOpen": opened}
    for index, (side, outward) in enumerate((("Left", 1.0), ("Right", -1.0))):
        yaw = outward * codes.eye_pose[..., index, 1] / EYE_YAW_RADIANS
        pitch = codes.eye_pose[..., index, 0] / EYE_PITCH_RADIANS
        ends = {"Out": yaw, "In": -yaw, "Down": pitch, "Up": -pitch}
        channels |= {f"eyeLook{where}{side}": value.clamp(0, 1) for where, value in ends.items()}
    return replace(codes, jaw_pose=jaw, eye_pose=torch.zeros_like(codes.eye_pose)).with_channels(**channels)
