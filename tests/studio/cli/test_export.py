"""``studio export`` that is stopped, and on a full disk: nothing half-written, whatever the format."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.studio.cli.test_bad_input import _on_a_full_disk, names, refused

AVATAR = {
    "ply": ["out={}/a.ply"],
    "compressed_ply": ["out={}/a.compressed.ply"],
    "sog": ["out={}/a.sog"],
    "spz": ["out={}/a.spz"],
    "glb": ["format=glb", "out={}/a.glb", "format.texture=64"],
    "usdz": ["format=usdz", "out={}/a.usdz", "format.texture=64"],
    "obj": ["format=obj", "out={}/a.obj", "format.texture=64"],
    "ply_sequence": ["format=ply_sequence", "out={}/frames"],
    "delta_ply": ["out={}/a.delta.ply"],
    "web": ["format=web", "out={}/page"],
    "smaller": ["out={}/small", "bits=8"],
}
CURVES = {"livelink": ".csv", "mediapipe": ".json", "audio2face": ".json"}
NEEDS = {"sog": "PIL", "spz": "gsply", "compressed_ply": "gsply", "usdz": "pxr", "glb": "pygltflib"}
ALL = (*AVATAR, *CURVES, "vhap", "nerfstudio")


def command(name: str, home: Path, out: Path) -> list[str]:
    """What is typed."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    track = home / "capture/tracks/truth"
    if name in CURVES:
        return ["export", f"track={track}", f"format={name}", f"out={out}/a{CURVES[name]}"]
    if name not in AVATAR:
        return ["export", f"capture={home / 'capture'}", f"format={name}", f"out={out}/theirs"]
    moving = [] if name == "smaller" else [f"track={track}"]
    return ["export", f"avatar={home / 'run/avatar'}", *moving, *(item.format(out) for item in AVATAR[name])]


@pytest.mark.parametrize("name", ALL)
def test_ctrl_c_whenever_a_file_takes_its_name(studio, tiny_demo, tmp_path, monkeypatch, name):
    """Each time one command more: stopped at the first renaming, at the second …, until it comes to its end."""
    take = Path.replace
    stops = 0
    while True:
        left = stops

        def stopped(self: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGINT)
            left -= 1
            return take(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", stopped)
            outcome = studio(*command(name, tiny_demo, tmp_path))
        if outcome.code == 0:
            break
        assert outcome.code == 130, outcome.err
        assert outcome.line.startswith("stopped; nothing lost; continue with: studio export ")
        assert names(tmp_path) == [], stops
        stops = stops + 1 if stops < 3 else 2 * stops  # a folder has many
    assert stops > 0
    assert names(tmp_path) != []
    assert not [item for item in names(tmp_path) if item.startswith(".")]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [0, 1000])
def test_a_full_disk(studio, tiny_demo, tmp_path, name, size):
    assert refused(_on_a_full_disk(studio, size, *command(name, tiny_demo, tmp_path)), "the disk is full")
    assert names(tmp_path) == []
