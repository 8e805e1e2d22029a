"""A still face: expression by name or from a frame, at any pose, apart from each other."""

import math

import pytest
import torch

from reenact.drivers.still import StillDriver
from reenact.torso import torso_to_world
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid


@pytest.fixture
def source(tmp_path):
    codes = Codes.neutral(ARKIT52, (40,))
    codes.expression[:, ARKIT52.index("jawOpen")] = torch.linspace(0, 0.8, 40)
    codes.head_to_world[:] = rigid(axis_angle_to_matrix(torch.tensor([0.0, 0.1, 0.0])), torch.tensor([0.02, 0.0, 0.5]))
    CodeTrack(codes, 25.0, torch.ones(40, dtype=torch.bool), {"expression": "made"}).save(tmp_path / "talk")
    return tmp_path / "talk"


def test_an_expression_has_no_part_in_the_pose_and_the_pose_none_in_it():
    plain = StillDriver(do="joy").drive().track.codes
    aside = StillDriver(do="joy", yaw=30.0, pitch=-10.0, roll=5.0).drive().track.codes
    assert torch.equal(plain.expression, aside.expression)
    assert plain.expression[0, ARKIT52.index("mouthSmileLeft")] > 0.5
    forward = aside.head_to_world[0, :3, :3] @ torch.tensor([0.0, 0.0, 1.0])
    assert math.degrees(math.atan2(float(forward[0]), float(forward[2]))) == pytest.approx(30.0, abs=1.0)
    assert math.degrees(math.asin(float(forward[1]))) == pytest.approx(-10.0, abs=1.5)
    assert torch.allclose(torso_to_world(aside), torso_to_world(plain), atol=1e-5)


def test_a_frame_is_transplanted_with_its_pose_or_another(source):
    driving = StillDriver(source, frame=30).drive()
    whole = CodeTrack.load(source).codes
    assert torch.equal(driving.track.codes.expression[0], whole.expression[30])
    assert torch.equal(driving.track.codes.head_to_world[0], whole.head_to_world[30])
    assert driving.rest.expression[ARKIT52.index("jawOpen")] < 0.2
    turned = StillDriver(source, frame=30, yaw=0.0).drive().track.codes
    assert torch.allclose(turned.head_to_world[0], driving.rest.head_to_world, atol=1e-5)
    assert torch.equal(turned.expression, driving.track.codes.expression)


def test_it_is_held_as_long_as_asked():
    track = StillDriver(do="surprise", seconds=2.0).drive().track
    assert len(track) == 50
    assert float(track.codes.expression.std(0).max()) == 0.0


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"frame": 99}, "no such frame"), ({"yaw": 120.0}, "no neck"), ({"seconds": 0.0}, "nothing to show")],
)
def test_mistakes_are_one_line(source, change, problem):
    with pytest.raises(StudioError, match=problem):
        StillDriver(source, **change).drive()
