"""FLAME as a head model, in its own code space and in ARKit's.

Joints: FLAME's neck joint carries the skull (our "head"), its root the shoulders (our "torso", which turns the other
way round FLAME's neck joint), jaw and eyes are what they are. Pose correctives (``posedirs``) of the jaw are a part of
the ARKit shapes; in FLAME's own space they are left out. Teeth are added as others do: 120 vertices and 168 triangles
after FLAME's own, so that indices stay the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from studio.assets import require_asset
from studio.codes import ARKIT52, FLAME100, FLAME2020_100, Codes
from studio.heads.flame_files import FlameFiles, read_flame
from studio.heads.flame_look import atlas, paint
from studio.heads.flame_teeth import TEETH, with_teeth
from studio.heads.mesh_codes import fit_codes
from studio.heads.model import LANDMARKS, HeadModel, to_tensor
from studio.heads.surface_points import transferred_landmarks
from studio.logs import say
from studio.rotations import axis_angle_to_matrix

REGIONS = ("face", "eye_left", "eye_right", "teeth_upper", "teeth_lower")
_EYE_LEFT, _EYE_RIGHT = 3, 4  # joints of FLAME: root, neck, jaw, eyes
_MOVED_BY = (1, 0, 2, 3, 4)  # which of them carries what our joints carry
_PIVOTS = (1, 1, 2, 3, 4)  # and where ours turn
_JAW_FEATURES = slice(9, 18)  # of the correctives: neck, jaw, eyes


def load_flame(path: Path | None = None) -> HeadModel:
    """FLAME with the 52 ARKit channels, each fitted by FLAME's own expressions and jaw.

    Args:
        path: the user's file; found through ``studio.assets`` when not given.

    Raises:
        StudioError: not found, damaged or another model.
    """
    return _load(require_asset("flame", path).resolve())


@lru_cache(maxsize=2)
def _load(path: Path) -> HeadModel:
    from studio.heads import load_head

    donor, files = load_head("auto"), read_flame(path)
    return in_arkit(native(files, donor), files, donor)


def native(files: FlameFiles, donor: HeadModel) -> HeadModel:
    """FLAME in its own code space, with teeth; ``donor`` tells where MediaPipe's points lie on a face."""
    joints = files.regressor @ files.vertices
    origin = joints[[_EYE_LEFT, _EYE_RIGHT]].mean(0)
    vertices, pivots = files.vertices - origin, list(_PIVOTS)
    modes = np.einsum("jv,svd->sjd", files.regressor, files.shapes)
    owner = files.weights.argmax(axis=1)[files.faces[:, 0]]
    region = np.where(owner == _EYE_LEFT, 1, np.where(owner == _EYE_RIGHT, 2, 0))
    uvs = atlas(vertices, files.faces, region, (joints - origin)[[_EYE_LEFT, _EYE_RIGHT]])
    head = HeadModel(
        name="flame",
        space=FLAME100 if files.edition == "2023" else FLAME2020_100,
        template=to_tensor(vertices),
        identity_basis=to_tensor(files.shapes),
        identity_names=tuple(f"shape{index:03d}" for index in range(len(files.shapes))),
        expression_basis=to_tensor(files.expressions),
        absent=(),
        joint_positions=to_tensor((joints - origin)[pivots]),
        joint_identity_basis=to_tensor(modes[:, pivots]),
        skin_weights=to_tensor(files.weights[:, list(_MOVED_BY)]),
        faces=to_tensor(files.faces),
        uvs=to_tensor(uvs.reshape(-1, 2)),
        faces_uv=torch.arange(3 * len(files.faces)).reshape(-1, 3),
        face_region=to_tensor(region),
        region_names=REGIONS,
        texture=to_tensor(paint()),
        landmark_faces=torch.zeros(LANDMARKS, dtype=torch.int64),
        landmark_bary=torch.full((LANDMARKS, 3), 1 / 3),
        landmark_valid=torch.zeros(LANDMARKS, dtype=torch.bool),
    )
    on, bary, valid, error = transferred_landmarks(donor, head)
    say(f"FLAME {files.edition}: MediaPipe's points are those of {donor.name}, {1000 * error:.1f} mm from its surface")
    return with_teeth(replace(head, landmark_faces=on, landmark_bary=bary, landmark_valid=valid))


def in_arkit(head: HeadModel, files: FlameFiles, donor: HeadModel) -> HeadModel:
    """The same head with ARKit's channels: each moves the face as ``donor``'s does, as far as FLAME can."""
    shapes = replace(Codes.neutral(ARKIT52, (len(ARKIT52),)), expression=torch.eye(len(ARKIT52)))
    fitted, report = fit_codes(donor, head, shapes)
    fitted = replace(fitted, eye_pose=torch.zeros_like(fitted.eye_pose))  # the model turns eyeballs by itself
    still = torch.zeros(head.num_identity)
    posed = []
    for index, corrective in enumerate(_jaw_correctives(files, fitted.jaw_pose)):
        moved = replace(head, template=head.template + torch.nn.functional.pad(corrective, (0, 0, 0, TEETH)))
        posed.append(moved.vertices_head(still, fitted[index]) - head.template)
    say(f"ARKit's shapes on FLAME miss {1000 * report.error:.2f} of {1000 * report.motion:.2f} mm of motion")
    return replace(head, space=ARKIT52, expression_basis=torch.stack(posed), absent=donor.absent)


def _jaw_correctives(files: FlameFiles, jaw_pose: torch.Tensor) -> torch.Tensor:
    """[T, V, 3] offsets by which FLAME mends the skin about a turned jaw."""
    turned = (axis_angle_to_matrix(jaw_pose) - torch.eye(3)).flatten(1)
    by_jaw = torch.from_numpy(files.correctives[_JAW_FEATURES])
    return torch.einsum("tf,fvd->tvd", turned, by_jaw)
