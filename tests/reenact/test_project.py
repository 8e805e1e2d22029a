"""The timeline: what a project file may say, what each channel becomes, and that only what changed is made anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from capture.synthetic.phones import schedule
from capture.synthetic.speech import synthesise
from reenact.audio.espeak import find_espeak
from reenact.drivers import driver_class
from reenact.project.channels import CHANNELS, assembled, members, mixed, part_of, seconds_needed
from reenact.project.compose import Played, compose
from reenact.project.handover import carried_over, gaps
from reenact.project.job import compose_project, render_project
from reenact.project.scene import keyed_cameras, scene_camera, staged
from reenact.project.schema import CameraKey, Place, Route, parse_project, read_project
from reenact.torso import torso_to_world
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.errors import StudioError
from studio.media.audio import Audio, write_wav
from studio.media.video_reader import read_frames
from studio.rotations import axis_angle_to_matrix, rigid

FPS = 25.0


def talk(frames: int = 100, seed: int = 0, fps: float = FPS) -> CodeTrack:
    """A talking, nodding person: every channel moves."""
    time = torch.arange(frames) / fps
    generator = torch.Generator().manual_seed(seed)
    phases = 6.3 * torch.rand(52, generator=generator)
    weights = 0.25 + 0.25 * torch.sin(2 * math.pi * time[:, None] * (0.5 + 0.05 * torch.arange(52) / 5) + phases)
    turns = 0.15 * torch.stack((torch.sin(time + seed), torch.sin(1.7 * time), 0.5 * torch.sin(2 * time)), dim=-1)
    rotation, pivot = axis_angle_to_matrix(turns), torch.tensor((0.0, -0.12, -0.08))
    codes = replace(
        Codes.neutral(batch=(frames,)),
        expression=weights,
        neck_pose=turns,
        head_to_world=rigid(rotation, pivot - rotation @ pivot),
    )
    return CodeTrack(codes, fps, torch.ones(frames, dtype=torch.bool), {"expression": f"talk {seed}"})


def save(folder: Path, **tracks: CodeTrack) -> None:
    for name, track in tracks.items():
        track.save(folder / name)


def project(folder: Path, **changes: Any) -> dict[str, Any]:
    """A project whose mouth and jaw come from one track and the rest from another."""
    data: dict[str, Any] = {
        "avatar": "anna",
        "fps": FPS,
        "sources": {
            "voice": {"kind": "track", "source": "voice"},
            "actor": {"kind": "track", "source": "actor"},
        },
        "channels": {"all": "actor", "mouth": "voice", "jaw": {"source": "voice"}},
        "guard": False,
        "alive": None,
        "render": {"size": [64, 64], "background": "grey"},
    }
    return {**data, **changes}


def _write(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "scene.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def _same_frames(one: Path, two: Path) -> bool:
    """Whether two videos show the same; their bytes differ, since seals tell the time."""
    return all(np.array_equal(a, b) for a, b in zip(read_frames(one), read_frames(two), strict=True))


def _loader(avatar: Any) -> Callable[[Path, str, int | None], Any]:
    return lambda folder, kernels, gaussians: avatar


def _compose(folder: Path, avatar: Any, data: dict[str, Any]) -> CodeTrack:
    parsed = parse_project(data, folder)
    return compose_project(parsed, dict.fromkeys(parsed.characters, avatar), folder / "cache").tracks["avatar"]


def _channel(codes: Codes, channel: str) -> torch.Tensor:
    return codes.expression[:, members(channel, ARKIT52)]


def test_the_channels_are_all_of_a_face() -> None:
    indices = [index for channel in CHANNELS for index in members(channel, ARKIT52)]
    assert sorted(indices) == list(range(52))
    codes = talk().codes
    back = assembled({channel: part_of(channel, codes) for channel in CHANNELS}, ARKIT52)
    for name, value in codes.tensors().items():
        assert torch.allclose(back.tensors()[name], value, atol=1e-5), name


def test_each_channel_takes_its_own_source(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    made = _compose(tmp_path, avatar, project(tmp_path))
    for channel in CHANNELS:
        expected = talk(seed=1 if channel in ("mouth", "jaw") else 2).codes
        assert torch.allclose(_channel(made.codes, channel), _channel(expected, channel), atol=1e-6), channel
    assert torch.allclose(made.codes.head_to_world, talk(seed=2).codes.head_to_world, atol=1e-5)
    assert made.provenance["mouth"] == "voice from 0 s"


def test_gain_offset_and_delay(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    route = {"source": "voice", "gain": 0.5, "offset": {"mouthSmileLeft": 0.1}, "delay": 0.2}
    made = _compose(
        tmp_path,
        avatar,
        project(tmp_path, channels={"mouth": route, "head": {"source": "actor", "offset": {"yaw": 10}}}),
    )
    plain = talk(seed=1).codes.expression
    smile, pucker = ARKIT52.index("mouthSmileLeft"), ARKIT52.index("mouthPucker")
    assert torch.allclose(made.codes.expression[5:, pucker], 0.5 * plain[:-5, pucker], atol=1e-5)
    assert torch.allclose(made.codes.expression[5:, smile], 0.5 * plain[:-5, smile] + 0.1, atol=1e-5)
    assert made.codes.expression[:, ARKIT52.index("browInnerUp")].abs().max() == 0
    yaw = axis_angle_to_matrix(torch.tensor([0.0, math.radians(10), 0.0]))
    expected = talk(seed=2).codes.head_to_world[:, :3, :3] @ yaw
    assert torch.allclose(made.codes.head_to_world[:, :3, :3], expected, atol=1e-5)


def test_smoothing_calms_and_keeps_the_mean(tmp_path: Path, avatar: Any) -> None:
    rough = talk(seed=1)
    noisy = rough.codes.expression + 0.1 * torch.randn(100, 52, generator=torch.Generator().manual_seed(0))
    save(tmp_path, voice=replace(rough, codes=replace(rough.codes, expression=noisy.clamp(0, 1))), actor=talk(seed=2))
    raw = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": "voice"}))
    calm = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": {"source": "voice", "smoothing": 0.06}}))
    a, b = _channel(raw.codes, "mouth"), _channel(calm.codes, "mouth")
    assert b.diff(n=2, dim=0).abs().mean() < 0.4 * a.diff(n=2, dim=0).abs().mean()
    assert torch.allclose(a.mean(0), b.mean(0), atol=0.02)


def test_a_cross_fade_goes_from_one_source_to_the_other(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    routes = [{"source": "voice", "end": 2.0}, {"source": "actor", "start": 2.0, "fade": 0.4}]
    made = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": routes, "head": routes}))
    mouth, first, second = (_channel(item.codes, "mouth") for item in (made, talk(seed=1), talk(seed=2)))
    assert torch.allclose(mouth[:51], first[:51], atol=1e-6)
    assert torch.allclose(mouth[61:], second[61:], atol=1e-6)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    assert bool(((mouth >= low - 1e-5) & (mouth <= high + 1e-5)).all())  # never by way of rest
    natural = torch.maximum(first.diff(dim=0).abs().max(), second.diff(dim=0).abs().max())
    assert mouth.diff(dim=0).abs().max() < natural + 0.5 / 10 * 1.6


def test_sources_begin_where_they_are_put(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(50, seed=1), actor=talk(100, seed=2))
    data = project(tmp_path, channels={"mouth": {"source": "voice", "start": 1.0, "missing": "fade"}, "brows": "actor"})
    data["sources"]["voice"]["at"] = 1.0
    made = _compose(tmp_path, avatar, data)
    assert len(made) == 100
    assert torch.allclose(
        _channel(made.codes, "mouth")[40:74], _channel(talk(50, seed=1).codes, "mouth")[15:49], atol=1e-5
    )
    assert _channel(made.codes, "mouth")[:25].abs().max() == 0


def test_another_frame_rate(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(120, seed=1, fps=30.0), actor=talk(seed=2))
    made = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": "voice"}))
    assert len(made) == 100
    exact = talk(100, seed=1)
    assert torch.allclose(_channel(made.codes, "mouth"), _channel(exact.codes, "mouth"), atol=5e-3)


def test_the_same_project_gives_the_same_codes(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    data = project(tmp_path, alive=3, emotion=[{"at": 1.0, "do": "smile, nod"}])
    first, second = (_compose(tmp_path, avatar, data) for _ in range(2))
    for name, value in first.codes.tensors().items():
        assert torch.equal(value, second.codes.tensors()[name]), name


def test_channels_without_a_source_are_alive_or_at_rest(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    still = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": "voice"}))
    assert _channel(still.codes, "lids").abs().max() == 0
    alive = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": "voice"}, alive=1, seconds=12.0))
    assert _channel(alive.codes, "lids").max() > 0.9
    assert alive.codes.neck_pose.abs().max() > 0.01
    assert alive.provenance["lids"] == "procedural, seed 1"


def test_emotion_keys_last_until_the_next(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    keys = [{"at": 0.0, "do": "brows up"}, {"at": 2.0, "do": "brows down", "strength": 0.5}]
    made = _compose(tmp_path, avatar, project(tmp_path, channels={"mouth": "voice"}, emotion=keys))
    up = made.codes.expression[:, ARKIT52.index("browInnerUp")]
    down = made.codes.expression[:, ARKIT52.index("browDownLeft")]
    assert up[40] > 0.7
    assert up[75] < 0.01
    assert down[40] < 0.01
    assert down[80] == pytest.approx(0.4)
    felt = _compose(
        tmp_path, avatar, project(tmp_path, channels={"mouth": "voice"}, emotion=[{"valence": 0.8, "arousal": 0.45}])
    )
    assert felt.codes.expression[60, ARKIT52.index("cheekSquintLeft")] > 0.3


# Hand-over ----------------------------------------------------------------------------------------------------------


def _lost(
    start: int, stop: int, policy: str, channel: str = "mouth", fade: float = 0.25
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights of a channel with a segment removed (what is there instead is nonsense), and what they were."""
    track, away = talk(seed=4), talk(seed=9)
    channel, broken = "mouth", track.codes.expression.clone()
    broken[start:stop] = 1.0
    present = torch.ones(100, dtype=torch.bool)
    present[start:stop] = False
    rest = part_of(channel, Codes.neutral(batch=(100,)))
    part = part_of(channel, replace(track.codes, expression=broken))
    made = carried_over(part, present, rest, part_of(channel, away.codes), policy, 0.25, FPS)  # type: ignore[arg-type]
    return made.values["weights"], _channel(track.codes, channel)


@pytest.mark.parametrize("policy", ["hold", "fade", "procedural"])
@pytest.mark.parametrize(("start", "stop"), [(30, 70), (30, 38), (0, 30), (0, 6), (60, 100), (0, 100), (40, 41)])
def test_no_jump_is_larger_than_natural_motion(policy: str, start: int, stop: int) -> None:
    """With a segment removed, the largest step is that of the motion itself and of 4 units a second."""
    made, whole = _lost(start, stop, policy)
    natural = float(whole.diff(dim=0).abs().max())
    assert float(made.diff(dim=0).abs().max()) <= natural + 4.0 / FPS + 1e-5
    assert float(made.max()) <= float(whole.max()) + 0.5  # nothing of what the tracker made up is left
    outside = torch.ones(100, dtype=torch.bool)
    outside[start : min(stop + 15, 100)] = False
    assert torch.equal(made[outside], whole[outside])


def test_the_three_policies() -> None:
    held, whole = _lost(30, 70, "hold")
    assert torch.allclose(held[69], whole[29])
    faded, _ = _lost(30, 70, "fade")
    assert faded[55:69].abs().max() < 1e-6
    gone_on, _ = _lost(30, 70, "procedural")
    assert torch.allclose(gone_on[55:69], _channel(talk(seed=9).codes, "mouth")[55:69])
    bridged, whole = _lost(40, 45, "fade")
    assert (bridged[40:45] - whole[40:45]).abs().max() < 0.15  # short gaps are crossed, whatever the policy


def test_heads_that_leave_come_back_slowly() -> None:
    """A head is lost turned to one side and found turned to the other."""
    codes = Codes.neutral(batch=(100,))
    turns = torch.zeros(100, 3)
    turns[:40, 1], turns[40:, 1] = 0.5, -0.5
    codes = replace(codes, head_to_world=rigid(axis_angle_to_matrix(turns), torch.zeros(100, 3)))
    present = torch.ones(100, dtype=torch.bool)
    present[20:60] = False
    part, rest = part_of("head", codes), part_of("head", Codes.neutral(batch=(100,)))
    for policy in ("hold", "fade"):
        made = carried_over(part, present, rest, rest, policy, 0.1, FPS).values["head_to_world"]  # type: ignore[arg-type]
        yaw = torch.atan2(made[:, 0, 2], made[:, 2, 2])
        assert float(yaw.diff().abs().max()) <= 1.2 / FPS * 1.05
        assert float(yaw[-1]) == pytest.approx(-0.5, abs=1e-4)


def test_gaps() -> None:
    present = torch.tensor([False, True, True, False, False, True, False])
    assert gaps(present) == [(0, 1), (3, 5), (6, 7)]
    assert gaps(torch.ones(3, dtype=torch.bool)) == []


def test_an_invalid_stretch_of_a_source_is_handed_over(tmp_path: Path, avatar: Any) -> None:
    actor = talk(seed=2)
    valid = torch.ones(100, dtype=torch.bool)
    valid[30:70] = False
    nonsense = actor.codes.expression.clone()
    nonsense[30:70] = 0.99
    save(
        tmp_path, actor=replace(actor, valid=valid, codes=replace(actor.codes, expression=nonsense)), voice=talk(seed=1)
    )
    made = _compose(
        tmp_path,
        avatar,
        project(tmp_path, channels={"brows": {"source": "actor", "missing": "fade"}, "mouth": "voice"}),
    )
    assert _channel(made.codes, "brows")[50:69].abs().max() < 1e-6
    assert torch.allclose(_channel(made.codes, "mouth"), _channel(talk(seed=1).codes, "mouth"), atol=1e-6)


def test_mixing_and_time_needed() -> None:
    first, second = part_of("head", talk(seed=1).codes), part_of("head", talk(seed=2).codes)
    assert mixed(first, second, torch.zeros(100)).values["head_to_world"].equal(first.values["head_to_world"])
    assert mixed(first, second, torch.ones(100)).values["head_to_world"].equal(second.values["head_to_world"])
    half = mixed(first, second, torch.full((100,), 0.5)).values["head_to_world"][:, :3, :3]
    assert torch.allclose(half @ half.transpose(1, 2), torch.eye(3).expand(100, 3, 3), atol=1e-5)
    assert seconds_needed(first, first, 3) < 1e-3
    assert seconds_needed(first, second, 30) > 0.01


# The file -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chanels": {}}, r"unknown setting chanels; expected channels"),
        ({"channels": {"mout": "voice"}}, r"unknown channel; got mout; expected mouth"),
        ({"channels": {"mouth": "voise"}}, r"names a source that is not there; got voise; expected voice"),
        ({"channels": {"mouth": {"source": "voice", "gian": 2}}}, r"unknown setting .*gian; expected gain"),
        ({"channels": {"mouth": {"source": "voice", "gain": "big"}}}, r"wrong value of .*gain; got 'big'"),
        ({"channels": {"mouth": {"source": "voice", "offset": {"mouthSmileLef": 1}}}}, r"expected mouthSmileLeft"),
        ({"channels": {"mouth": {"source": "voice", "missing": "panic"}}}, r"expected hold \| fade \| procedural"),
        ({"channels": {"mouth": {"source": "voice", "start": 3, "end": 2}}}, "ends before it begins"),
        ({"sources": {"voice": {"kind": "vidio"}}}, r"unknown kind of source voice; got vidio; expected video"),
        ({"sources": {"voice": {"source": "x"}}}, "source voice needs a kind"),
        ({"sources": 3}, "a project needs sources"),
        ({"sound": "vocie"}, "the sound names a source"),
        ({"fps": 0}, "impossible project"),
        ({"render": {"sise": [2, 2]}}, r"unknown setting render\.sise; expected size"),
        ({"cameras": [{"at": 0, "yaww": 3}]}, r"unknown setting cameras\[0\]\.yaww; expected yaw"),
        ({"cameras": [{"zoom": 0}]}, "impossible camera key"),
        ({"characters": {"a": {}}}, "settings of a single character beside characters"),
    ],
)
def test_mistakes_are_answered_with_the_nearest_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(StudioError, match=message):
        parse_project(project(tmp_path, **change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system [ls]", "a tag"),
        ("a: !!binary aGVsbG8=", "a tag"),
        ("a: &x 1\nb: *x", "aliases are not used"),
        ("a: 1\na: 2", "a is given twice in line 1"),
        ("- 1", "a project is a mapping; got list"),
        ("a: [1", "cannot read the project"),
        ("a: \x00", "cannot read the project"),
        ("", "a project is a mapping"),
    ],
)
def test_files_that_are_no_project(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(StudioError, match=message):
        read_project(tmp_path / "a.yaml")


def test_a_missing_project_and_a_route_of_a_source(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="no such project"):
        read_project(tmp_path / "a.yaml")
    read = read_project(_write(tmp_path, project(tmp_path)))
    assert read.characters["avatar"].channels["mouth"] == (Route("voice"),)
    assert read.folder == tmp_path


# Rendering ----------------------------------------------------------------------------------------------------------


def test_only_what_changed_is_made_anew(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(16, seed=1), actor=talk(16, seed=2))
    data = project(tmp_path, seconds=0.64)
    first = render_project(_write(tmp_path, data), tmp_path / "1.mp4", load=_loader(avatar))
    assert (first.frames, first.drawn, first.computed) == (16, 16, ("voice", "actor"))
    again = render_project(_write(tmp_path, data), tmp_path / "2.mp4", load=_loader(avatar))
    assert (again.drawn, again.computed) == (0, ())
    assert np.array_equal(
        *(np.stack(list(read_frames(tmp_path / name))) for name in ("1.mp4", "2.mp4"))
    )  # seals tell the time
    # The brows are another's from 0.4 s on: sources are kept, earlier frames are kept.
    data["channels"]["brows"] = [
        {"source": "actor", "end": 0.4, "fade": 0.0},
        {"source": "voice", "start": 0.4, "fade": 0.08},
    ]
    third = render_project(_write(tmp_path, data), tmp_path / "3.mp4", load=_loader(avatar))
    assert third.computed == ()
    assert 0 < third.drawn <= 6
    # Another recording behind the same name is noticed.
    import shutil

    shutil.rmtree(tmp_path / "voice")
    save(tmp_path, voice=talk(16, seed=7))
    assert render_project(_write(tmp_path, data), tmp_path / "4.mp4", load=_loader(avatar)).computed == ("voice",)


def test_a_damaged_cache_is_made_anew(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(6, seed=1), actor=talk(6, seed=2))
    path = _write(tmp_path, project(tmp_path))
    render_project(path, tmp_path / "1.mp4", load=_loader(avatar))
    for file in (tmp_path / ".scene.cache").rglob("*"):
        if file.suffix in (".png", ".npz"):
            file.write_bytes(file.read_bytes()[:50])
    made = render_project(path, tmp_path / "2.mp4", load=_loader(avatar))
    assert (made.drawn, made.computed) == (6, ("voice", "actor"))
    assert np.array_equal(
        *(np.stack(list(read_frames(tmp_path / name))) for name in ("1.mp4", "2.mp4"))
    )  # seals tell the time


def test_preview_sound_and_manifest(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, actor=talk(10, seed=2))
    write_wav(tmp_path / "line.wav", Audio(np.full((8000, 1), 0.1, np.float32), 16_000))
    sources = {"alive": {"kind": "procedural", "source": "line.wav"}, "actor": {"kind": "track", "source": "actor"}}
    data = project(tmp_path, sources=sources, channels={"all": "alive", "mouth": "actor"}, sound="alive")
    data["render"] = {"size": [640, 480]}
    path = _write(tmp_path, data)
    render_project(path, tmp_path / "a.mp4", "preview", load=_loader(avatar))
    frames = list(read_frames(tmp_path / "a.mp4"))
    assert len(frames) == 12  # half a second of sound
    assert frames[0].shape == (192, 256, 3)
    note = yaml.safe_load((tmp_path / "a.json").read_text())
    assert note["synthetic"] is True
    assert note["body"]["characters"]["avatar"]["mouth"] == "actor from 0 s"
    with pytest.raises(StudioError, match="exists already"):
        render_project(path, tmp_path / "a.mp4", load=_loader(avatar))
    render_project(path, tmp_path / "pictures", "preview", load=_loader(avatar))
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 12
    assert (tmp_path / "pictures" / "audio.wav").exists()


def test_two_characters_in_one_scene_without_crosstalk(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(8, seed=1), actor=talk(8, seed=2))
    one = {"avatar": "a", "channels": {"all": "voice"}, "guard": False, "alive": None}
    two = {"avatar": "b", "channels": {"all": "actor"}, "guard": False, "alive": None}
    data = project(tmp_path)
    data = {name: data[name] for name in ("fps", "sources", "render")} | {"characters": {"one": one, "two": two}}
    parsed = parse_project(data, tmp_path)
    avatars = {"one": avatar, "two": avatar}
    made = compose_project(parsed, avatars, tmp_path / "cache").tracks
    for name, seed in (("one", 1), ("two", 2)):
        assert torch.equal(made[name].codes.expression, talk(8, seed=seed).codes.expression)
    stages = staged(avatars, {name: item.place for name, item in parsed.characters.items()})
    camera, target = scene_camera(list(avatars.values()), list(stages.values()))
    centers = torch.stack([stage[:3, 3] for stage in stages.values()])
    seen, depth = camera.project(centers)
    assert bool((depth > 0.5).all())
    assert bool(((seen > 0.1 * camera.width) & (seen < 0.9 * camera.width))[0, :, 0].all())
    assert float(seen[0, 1, 0] - seen[0, 0, 0]) > 0.2 * camera.width  # side by side
    assert float(target[0]) == pytest.approx(0.0, abs=1e-5)
    out = render_project(_write(tmp_path, data), tmp_path / "two.mp4", load=_loader(avatar))
    assert out.drawn == 8
    # Only one of them changes: the other half of the picture stays.
    before = next(iter(read_frames(tmp_path / "two.mp4"))).astype(int)
    data["characters"]["two"]["channels"] = {"mouth": "actor"}
    render_project(_write(tmp_path, data), tmp_path / "changed.mp4", load=_loader(avatar))
    after = next(iter(read_frames(tmp_path / "changed.mp4"))).astype(int)
    half = before.shape[1] // 2
    changed = np.abs(before - after).max(-1)
    assert changed[:, half + 4 :].max() > 30
    assert np.median(changed[:, : half - 4]) <= 2


def test_camera_keys(avatar: Any) -> None:
    target = torch.tensor([0.0, -0.02, -0.08])
    keys = [CameraKey(0.0), CameraKey(1.0, yaw=30.0), CameraKey(2.0, yaw=30.0, zoom=2.0)]
    path = keyed_cameras(keys, avatar.camera, target, 51, FPS)
    assert torch.allclose(path.viewmats[0], avatar.camera.viewmats[0], atol=1e-6)
    seen, _ = path.project(target[None])
    assert torch.allclose(seen, seen[:1].expand_as(seen), atol=0.05)  # what it turns round stays in the picture
    assert float(path.centers[50, 0] - target[0]) > 0.1  # to the subject's left
    assert float(path.Ks[50, 0, 0]) == pytest.approx(2 * float(avatar.camera.Ks[0, 0, 0]), rel=1e-4)
    higher = keyed_cameras([CameraKey(pitch=20.0)], avatar.camera, target, 1, FPS)
    assert float(higher.centers[0, 1] - target[1]) > 0.1
    assert path.viewmats[26:].diff(dim=0).abs().max() < 1e-6
    assert path.viewmats.diff(n=2, dim=0).abs().max() < 6e-3


def test_places_of_two() -> None:
    class Stand:
        codes = Codes.neutral()

    stages = staged({"a": Stand(), "b": Stand()}, {"a": Place(), "b": Place(right=0.5, turn=90.0)})  # type: ignore[dict-item]
    assert torch.allclose(stages["a"], torch.eye(4), atol=1e-6)
    assert stages["b"][:3, 3].tolist() == pytest.approx([0.5, 0.0, 0.0])


def test_the_torso_stays_when_head_and_neck_have_different_sources(tmp_path: Path, avatar: Any) -> None:
    save(tmp_path, voice=talk(seed=1), actor=talk(seed=2))
    made = _compose(tmp_path, avatar, project(tmp_path, channels={"head": "actor", "neck": "voice", "mouth": "voice"}))
    assert torch.allclose(torso_to_world(made.codes), torso_to_world(talk(seed=1).codes), atol=1e-4)


def test_a_source_of_closures_keeps_lips_closed_under_an_emotion(avatar: Any) -> None:
    track = CodeTrack(Codes.neutral(batch=(50,)).with_channels(jawOpen=0.2), FPS, torch.ones(50, dtype=torch.bool))
    closed = np.zeros(50, np.float32)
    closed[20:25] = 1
    character = parse_project(
        {"avatar": "a", "sources": {"v": {"kind": "track", "source": "v"}}, "channels": {"all": "v"}, "alive": None}
        | {"guard": False, "emotion": [{"do": "surprise"}]}
    ).characters["avatar"]
    made, _ = compose(character, avatar, {"v": Played(track, closed)}, 50, FPS)
    jaw = made.codes.expression[:, ARKIT52.index("jawOpen")]
    assert torch.allclose(jaw[21:24], torch.tensor(0.2), atol=1e-5)
    assert jaw[40] > 0.25


def test_a_voice_and_a_text_are_sources_of_a_timeline(tmp_path: Path, avatar: Any) -> None:
    """Lips and jaw from sound, then from words, each at its time; everything else from an actor."""
    phones = schedule("SIL M AA P AA SIL", 0.0, 1.2)
    write_wav(tmp_path / "line.wav", synthesise(phones, 1.2))
    save(tmp_path, actor=talk(100))
    sources: dict[str, Any] = {
        "voice": {"kind": "audio", "source": "line.wav", "fps": FPS},
        "actor": {"kind": "track", "source": "actor"},
    }
    mouth: list[Any] = [{"source": "voice", "end": 1.2}]
    if find_espeak() is not None:
        sources["words"] = {"kind": "text", "text": "Papa", "fps": FPS, "at": 2.0}
        mouth.append({"source": "words", "start": 2.0, "fade": 0.1})
    data = project(
        tmp_path,
        sources=sources,
        channels={"all": "actor", "mouth": mouth, "jaw": mouth},
        alive=None,
        seconds=3.0,
    )
    codes = _compose(tmp_path, avatar, data).codes
    alone = driver_class("audio")(source=tmp_path / "line.wav", fps=FPS).drive().track  # type: ignore[call-arg]
    jaw = ARKIT52.index("jawOpen")
    heard = alone.codes.expression[:30, jaw]
    assert float(heard.max()) > 0.1
    assert float(torch.corrcoef(torch.stack((codes.expression[2:24, jaw], heard[2:24])))[0, 1]) > 0.95
    assert torch.allclose(
        _channel(codes, "brows"), _channel(talk(100).codes, "brows")[: len(codes.expression)], atol=1e-5
    )
    if find_espeak() is not None:
        assert float(codes.expression[52:70, jaw].max()) > 0.05
    assert float(codes.expression[35:48, jaw].max()) < 0.05
