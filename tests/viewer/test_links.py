"""Views as text: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.codes import Codes
from studio.errors import StudioError
from studio.rotations import axis_angle_to_matrix, rigid
from viewer.links import Viewing, from_text, to_text
from viewer.session import Scene, Split

SCENE = Scene(Codes.neutral(), (104, 108, 116))
VIEWING = Viewing((0.1, 0.2, 1.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 0.4)


def posed() -> Scene:
    codes = Codes.neutral().with_channels(jawOpen=0.3, mouthSmileLeft=0.72)
    turn = rigid(axis_angle_to_matrix(torch.tensor((0.1, -0.4, 0.2))), torch.tensor((0.01, 1.5, -0.3)))
    codes = replace(codes, head_to_world=turn, eye_pose=torch.full((2, 3), 0.05))
    return Scene(codes, (1, 2, 3), mode="depth", frame=17, split=Split("footage", "wipe", 0.25))


def unpacked(text: str) -> dict[str, object]:
    data = zlib.decompress(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return dict(json.loads(data))


def packed(state: object) -> str:
    return base64.urlsafe_b64encode(zlib.compress(json.dumps(state).encode())).decode()


def test_a_view_comes_back_as_it_was() -> None:
    text = to_text(posed(), VIEWING)
    assert len(text) < 700
    scene, viewing = from_text(text, SCENE)
    for name, value in posed().codes.tensors().items():
        torch.testing.assert_close(getattr(scene.codes, name), value, atol=1e-4, rtol=0)
    assert (scene.mode, scene.frame, scene.backdrop, scene.split) == ("depth", 17, (1, 2, 3), posed().split)
    assert viewing == VIEWING


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("w", {"jawOpen": float("nan")}),
        ("w", {"jawOpen": "1"}),
        ("h", [1.0] * 12),
        ("h", [float("inf")] * 12),
        ("j", {}),
        ("c", [[0, 0, 1], [0, 0, 1], [0, 1, 0], 0.4]),
        ("c", [[0, 0, 1], [0, 0, 0], [0, 1, 0], 9]),
        ("f", 1e30),
        ("b", [1, 2]),
    ],
)
def test_what_is_no_view_is_refused(name: str, value: object) -> None:
    state = unpacked(to_text(posed(), VIEWING))
    with pytest.raises(StudioError, match="shows no view"):
        from_text(packed({**state, name: value}), SCENE)


def test_unknown_names_and_weights_out_of_range_do_no_harm() -> None:
    state = unpacked(to_text(posed(), VIEWING)) | {"m": "../../etc", "s": ["rival", "nowhere", 2], "z": 1}
    state["w"] = {"jawOpen": 40.0, "nose": 1.0}
    scene, _ = from_text(packed(state), SCENE)
    assert scene.mode == "colour"
    assert scene.split == Split()
    assert float(scene.codes.expression.max()) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200), st.none(), st.integers()))
def test_anything_else_is_an_error_and_nothing_worse(text: object) -> None:
    with pytest.raises(StudioError):
        from_text(text, SCENE)


def test_small_links_do_not_unpack_to_much() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b"[" * 10_000_000, 9)).decode()
    with pytest.raises(StudioError):
        from_text(bomb[:12_000], SCENE)
