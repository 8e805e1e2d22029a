"""FLAME's parameters as a code track, and back without loss.

Code spaces ``flame2023/100`` and ``flame2020/100``: the expression coefficients; ``jaw_pose``, ``neck_pose`` and
``eye_pose`` (left, right) are FLAME's own axis-angle joints. ``head_to_world`` is FLAME's global rotation and
translation (metres, y up, z out of the face) and then its neck about ``NECK_PIVOT``, as in ``reenact.curves.flame``:
where FLAME's joints are only its model knows. The numbers as they were read are kept in the extras "flame/…".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from capture.formats.files import numbers
from studio.codes import FLAME100, FLAME2020_100, NECK_PIVOT, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, matrix_to_axis_angle, rigid, rigid_inverse

FLAME_SPACES = (FLAME100, FLAME2020_100)
POSES = {"rotation": 3, "translation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}
MAX_SHAPE = 400
_PROVENANCE = {"expression": "FLAME", "head": "FLAME, its neck about an assumed place"}
_SAME_PLACE = 1e-5


def flame_track(
    parameters: Mapping[str, np.ndarray],
    fps: float,
    what: str,
    camera: np.ndarray | None = None,  # [T, 4, 4]
    space: CodeSpace = FLAME100,
) -> CodeTrack:
    """A track in one of FLAME's spaces.

    Args:
        parameters: "expr" [T, E ≤ 100]; each of ``POSES`` [T, n], zero where it is missing; "shape" [S]; whatever else
            (offsets, eyelids, scale) is kept as it is in the extras.
        fps: frames per second.
        what: the source, for messages.
        camera: transforms put before FLAME's own (the head moves where the source moved its camera).
        space: that of the edition of FLAME.

    Raises:
        StudioError: parameters are missing, of another size, or not finite.
    """
    if "expr" not in parameters:
        raise StudioError(f"{what} has no FLAME expression", got=", ".join(parameters), expected="expr")
    expr = numbers(parameters["expr"], (-1, -1), f"FLAME's expression in {what}")
    frames = len(expr)
    if frames < 1 or expr.shape[1] > len(space):
        raise StudioError(f"FLAME's expression in {what}", got=expr.shape, expected=f"frames x at most {len(space)}")
    poses = {
        name: numbers(parameters.get(name, np.zeros((frames, size))), (frames, size), f"FLAME's {name} in {what}")
        for name, size in POSES.items()
    }
    shape = numbers(parameters.get("shape", np.zeros(0)), (-1,), f"FLAME's shape in {what}")
    if len(shape) > MAX_SHAPE:
        raise StudioError(f"FLAME's shape in {what}", got=len(shape), expected=f"at most {MAX_SHAPE} numbers")
    placed = _skull(poses["rotation"], poses["translation"], poses["neck_pose"])
    if camera is not None:
        placed = torch.from_numpy(numbers(camera, (frames, 4, 4), f"cameras of {what}")) @ placed
    padded = np.zeros((frames, len(space)))
    padded[:, : expr.shape[1]] = expr
    jaw, neck, eyes = (torch.from_numpy(poses[name]).float() for name in ("jaw_pose", "neck_pose", "eyes_pose"))
    expression = torch.from_numpy(padded).float()
    codes = Codes(space, expression, jaw, neck, torch.zeros(frames, 3), eyes.reshape(frames, 2, 3), placed.float())
    more = {name: np.asarray(value) for name, value in parameters.items() if name not in {"expr", *POSES}}
    extras = {f"flame/{name}": value for name, value in {**more, "shape": shape.astype(np.float32)[None]}.items()}
    extras |= {f"flame/{name}": poses[name].astype(np.float32) for name in ("rotation", "translation")}
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), _PROVENANCE, extras)


def flame_parameters(track: CodeTrack) -> dict[str, np.ndarray]:
    """FLAME's parameters of a track: "expr" [T, 100], those of ``POSES`` [T, n], "shape" [S] and what else was kept.

    Raises:
        StudioError: the track is of another code space.
    """
    if track.codes.space.hash not in {space.hash for space in FLAME_SPACES}:
        FLAME100.require(track.codes.space, "the track")
    frames, codes = len(track), track.codes
    found = {name.removeprefix("flame/"): value for name, value in track.extras.items() if name.startswith("flame/")}
    found |= {
        "expr": codes.expression.numpy(),
        "jaw_pose": codes.jaw_pose.numpy(),
        "neck_pose": codes.neck_pose.numpy(),
        "eyes_pose": codes.eye_pose.reshape(frames, 6).numpy(),
        "shape": found["shape"][0] if "shape" in found else np.zeros(300, np.float32),
    }
    kept = {"rotation", "translation"} <= found.keys() and np.allclose(
        _skull(found["rotation"], found["translation"], found["neck_pose"]), codes.head_to_world, atol=_SAME_PLACE
    )
    if not kept:  # the head was moved since: y up, a standing camera
        body = codes.head_to_world.double() @ rigid_inverse(_neck(found["neck_pose"]))
        found["rotation"] = matrix_to_axis_angle(body[:, :3, :3].contiguous()).float().numpy()
        found["translation"] = body[:, :3, 3].float().numpy()
    return found


def _skull(rotation: np.ndarray, translation: np.ndarray, neck: np.ndarray) -> Tensor:
    """Where FLAME's skull is [T, 4, 4] float64, from axis-angles [T, 3] and metres [T, 3]."""
    turned = axis_angle_to_matrix(torch.from_numpy(rotation).double())
    return rigid(turned, torch.from_numpy(translation).double()) @ _neck(neck)


def _neck(neck: np.ndarray) -> Tensor:
    turn, pivot = axis_angle_to_matrix(torch.from_numpy(neck).double()), torch.tensor(NECK_PIVOT, dtype=torch.float64)
    return rigid(turn, pivot - turn @ pivot)


def axis_angle_from_6d(
    rotation: np.ndarray,  # [..., 6] the first two rows of a matrix (Zhou et al., 2019, as PyTorch3D stores them)
) -> np.ndarray:
    """Axis-angle vectors [..., 3]. Raises StudioError where the rows are no basis."""
    first, second = rotation[..., :3], rotation[..., 3:]
    lengths = np.linalg.norm(first, axis=-1, keepdims=True)
    across = np.cross(first, second)
    if min(lengths.min(initial=1.0), np.linalg.norm(across, axis=-1).min(initial=1.0)) < 1e-8:
        raise StudioError("a rotation of six numbers is degenerate", expected="two independent rows")
    x = first / lengths
    z = across / np.linalg.norm(across, axis=-1, keepdims=True)
    matrix = np.stack((x, np.cross(z, x), z), axis=-2)
    return matrix_to_axis_angle(torch.from_numpy(matrix)).numpy()
