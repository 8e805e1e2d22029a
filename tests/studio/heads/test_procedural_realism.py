"""A face detector that was trained on people takes the built-in head for one, and reads its expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.codes import Codes
from studio.heads.contact_sheet import picture, sheet_camera
from studio.heads.model import HeadModel
from studio.heads.procedural import build

Detect = Callable[..., tuple[np.ndarray, dict[str, float]]]
SIZE = 448


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return build()


@pytest.fixture(scope="module")
def detect(shared: Path, head: HeadModel) -> Iterator[Detect]:
    """Render channels at a yaw and detect: points [478, 2] in pixels and blendshape scores."""
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    base = mediapipe.tasks.BaseOptions(model_asset_path=str(shared / "assets" / "face_landmarker.task"))
    options = vision.FaceLandmarkerOptions(base_options=base, output_face_blendshapes=True)
    with vision.FaceLandmarker.create_from_options(options) as landmarker:

        def run(yaw: float = 0.0, **channels: float) -> tuple[np.ndarray, dict[str, float]]:
            codes = Codes.neutral(head.space)
            for name, value in channels.items():
                codes.expression[head.space.index(name)] = value
            pixels = picture(head, torch.zeros(head.num_identity), codes, camera(yaw))
            found = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
            assert found.face_landmarks, f"no face found at yaw {yaw}"
            points = np.array([[p.x, p.y] for p in found.face_landmarks[0]]) * SIZE
            return points, {item.category_name: item.score for item in found.face_blendshapes[0]}

        yield run


def camera(yaw: float) -> object:
    return sheet_camera(SIZE, (0.0, -0.03, -0.03), 0.28, yaw)


@pytest.mark.parametrize(("yaw", "tolerance"), [(0.0, 0.03), (0.5, 0.045), (-0.5, 0.045)])
def test_landmarks_agree_with_the_detector(head: HeadModel, detect: Detect, yaw: float, tolerance: float) -> None:
    points, _ = detect(yaw)
    expected, _ = camera(yaw).project(head.landmarks(head.template))  # type: ignore[attr-defined]
    frontal, _ = camera(0.0).project(head.joint_positions[3:])  # type: ignore[attr-defined]
    between_eyes = float((frontal[0, 0] - frontal[0, 1]).norm())
    error = np.linalg.norm(points - expected[0].numpy(), axis=1) / between_eyes
    assert error.mean() < tolerance


@pytest.mark.parametrize(
    ("channels", "at_least"),
    [
        (("jawOpen",), 0.4),
        (("eyeBlinkLeft", "eyeBlinkRight"), 0.35),
        (("mouthSmileLeft", "mouthSmileRight"), 0.4),
        (("browInnerUp",), 0.4),
        (("mouthPucker",), 0.5),
        (("mouthRollLower",), 0.25),
        (("browDownLeft", "browDownRight"), 0.1),
        (("eyeLookOutLeft", "eyeLookInRight"), 0.2),
    ],
)
def test_the_detector_reads_the_shapes(detect: Detect, channels: tuple[str, ...], at_least: float) -> None:
    _, neutral = detect()
    _, scores = detect(**dict.fromkeys(channels, 1.0))
    for name in channels:
        assert scores[name] - neutral[name] > at_least
