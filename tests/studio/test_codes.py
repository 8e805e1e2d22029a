"""Code spaces, codes and tracks: names, shapes, round trips, errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from studio.codes import ARKIT52, Codes, CodeSpace, CodeTrack
from studio.errors import StudioError


@pytest.fixture
def track() -> CodeTrack:
    """Seven frames of random codes, one of them without a face, with an extra array."""
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.rand(value.shape, generator=generator) for name, value in _neutral(7).tensors().items()}
    valid = torch.arange(7) != 3
    return CodeTrack(Codes(ARKIT52, **tensors), 25.0, valid, {"expression": "test"}, {"identity": np.arange(4.0)})


def _neutral(frames: int) -> Codes:
    return Codes.neutral(ARKIT52, (frames,))


def test_arkit_channels_are_the_52_in_order():
    assert len(ARKIT52) == len(set(ARKIT52.channels)) == 52
    assert ARKIT52.channels[:7] == (
        *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft"),
        *("eyeSquintLeft", "eyeWideLeft"),
    )
    assert ARKIT52.index("eyeBlinkRight") == 7
    assert ARKIT52.index("jawForward") == 14
    assert ARKIT52.index("jawOpen") == 17
    assert ARKIT52.index("tongueOut") == 51


def test_hash_tells_spaces_apart():
    other = CodeSpace("arkit52", tuple(reversed(ARKIT52.channels)))
    assert other.hash != ARKIT52.hash
    with pytest.raises(StudioError, match=r"of the clip are of another space.*retargeter"):
        ARKIT52.require(other, "the clip")


def test_unknown_channel_is_named():
    with pytest.raises(StudioError, match=r"got jawopen; expected eyeBlinkLeft"):
        Codes.neutral().with_channels(jawopen=1.0)


def test_wrong_shapes_are_named():
    tensors = _neutral(3).tensors()
    with pytest.raises(StudioError, match=r"jaw_pose \(3, 2\); expected jaw_pose \(3, 3\)"):
        Codes(ARKIT52, **{**tensors, "jaw_pose": torch.zeros(3, 2)})


def test_with_channels_changes_a_copy():
    neutral = Codes.neutral()
    opened = neutral.with_channels(jawOpen=0.5)
    assert opened.expression[17] == 0.5
    assert not neutral.expression.any()


def test_stack_and_index_are_inverse(track):
    states = [track.codes[index] for index in range(len(track))]
    again = Codes.stack(states)
    assert all(torch.equal(again.tensors()[name], value) for name, value in track.codes.tensors().items())


def test_conditioning_vector_leaves_the_place_out(track):
    moved = Codes(ARKIT52, **{**track.codes.tensors(), "head_to_world": torch.eye(4).expand(7, 4, 4)})
    assert track.codes.vector().shape == (7, 67)
    assert torch.equal(track.codes.vector(), moved.vector())


def test_track_round_trip_is_exact(track, tmp_path):
    track.save(tmp_path / "tracks" / "one", parents={"clip.mp4": "0" * 16})
    again = CodeTrack.load(tmp_path / "tracks" / "one")
    assert all(torch.equal(again.codes.tensors()[name], value) for name, value in track.codes.tensors().items())
    assert torch.equal(again.valid, track.valid)
    assert (again.fps, dict(again.provenance)) == (25.0, {"expression": "test"})
    assert np.array_equal(again.extras["identity"], track.extras["identity"])


def test_hash_of_a_track_is_of_its_content(track, tmp_path):
    track.save(tmp_path / "a")
    assert CodeTrack.load(tmp_path / "a").hash == track.hash
    valid = track.valid.clone()
    valid[0] = not valid[0]
    changed = [
        replace(track, fps=track.fps + 1),
        replace(track, valid=valid),
        replace(track, codes=track.codes.with_channels(jawOpen=0.123)),
        replace(track, extras={**track.extras, "identity": np.ones(3)}),
    ]
    assert len({track.hash, *(other.hash for other in changed)}) == 5
    assert replace(track, provenance={"expression": "else"}).hash == track.hash


def test_saving_never_overwrites(track, tmp_path):
    track.save(tmp_path / "one")
    before = (tmp_path / "one" / "track.npz").read_bytes()
    with pytest.raises(StudioError, match="exists already"):
        track.save(tmp_path / "one")
    assert (tmp_path / "one" / "track.npz").read_bytes() == before


@pytest.mark.parametrize("damage", [b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_damaged_track_is_one_line(track, tmp_path, damage):
    track.save(tmp_path / "one")
    (tmp_path / "one" / "track.npz").write_bytes(damage)
    with pytest.raises(StudioError, match="damaged track"):
        CodeTrack.load(tmp_path / "one")


def test_truncated_track_is_one_line(track, tmp_path):
    track.save(tmp_path / "one")
    path = tmp_path / "one" / "track.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StudioError, match="damaged track"):
        CodeTrack.load(tmp_path / "one")


def test_track_of_another_space_is_refused(track, tmp_path):
    track.save(tmp_path / "one")
    path = tmp_path / "one" / "manifest.json"
    data = json.loads(path.read_text()) | {"code_space": "smpl/10"}
    path.write_text(json.dumps(data))
    with pytest.raises(StudioError, match=r"unknown code space.*got smpl/10; expected one of \['arkit52', "):
        CodeTrack.load(tmp_path / "one")


def test_track_needs_one_flag_for_each_frame(track):
    with pytest.raises(StudioError, match="one valid flag per frame"):
        CodeTrack(track.codes, 25.0, torch.ones(6, dtype=torch.bool))
