"""Action units: values by hand, the gaps of the table, and the file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from reenact.curves import write_curves
from studio.action_units import UNITS, action_units
from studio.codes import ARKIT52, FLAME100, Codes, CodeTrack
from studio.errors import StudioError


def test_units_are_the_channels_that_show_them() -> None:
    codes = Codes.neutral(ARKIT52).with_channels(
        browInnerUp=0.4, mouthSmileLeft=0.8, mouthSmileRight=0.6, jawLeft=0.2, jawRight=0.1, eyeBlinkLeft=1.0
    )
    units = action_units(codes)
    shown = {"AU01": 0.4, "AU12": 0.7, "AU30": 0.2, "AU43": 0.5, "AU45": 0.5}
    for name, value in units.items():
        assert float(value) == pytest.approx(shown.get(name, 0.0)), name


def test_an_opening_mouth_parts_its_lips_drops_the_jaw_then_stretches() -> None:
    opening = torch.tensor([0.0, 0.15, 0.35, 0.6, 0.8, 1.0])
    units = action_units(Codes.neutral(ARKIT52, (6,)).with_channels(jawOpen=opening))
    torch.testing.assert_close(units["AU25"], torch.tensor([0.0, 1, 1, 1, 1, 1]))
    torch.testing.assert_close(units["AU26"], torch.tensor([0.0, 0.1, 0.5, 1, 1, 1]))
    torch.testing.assert_close(units["AU27"], torch.tensor([0.0, 0, 0, 0, 0.5, 1]))
    closed = action_units(Codes.neutral(ARKIT52).with_channels(jawOpen=0.4, mouthClose=0.4))
    assert float(closed["AU25"]) == 0.0
    assert float(closed["AU26"]) == pytest.approx(0.6)


def test_units_that_no_channel_shows_are_absent() -> None:
    assert not {"AU11", "AU13", "AU21", "AU31", "AU32", "AU33", "AU35"} & set(UNITS)
    assert list(UNITS) == sorted(UNITS)


def test_codes_of_flame_have_none() -> None:
    with pytest.raises(StudioError, match="another space"):
        action_units(Codes.neutral(FLAME100))


def test_a_track_is_written_as_csv(tmp_path: Path) -> None:
    codes = Codes.neutral(ARKIT52, (3,)).with_channels(browInnerUp=torch.tensor([0.0, 0.5, 1.0]))
    track = CodeTrack(codes, 25.0, torch.tensor([True, True, False]))
    write_curves(tmp_path / "units.csv", track, "action_units")
    with (tmp_path / "units.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["AU01"] for row in rows] == ["0.0000", "0.5000", "1.0000"]
    assert [row["time"] for row in rows] == ["0.0000", "0.0400", "0.0800"]
    assert [row["valid"] for row in rows] == ["1", "1", "0"]
    with pytest.raises(StudioError):
        write_curves(tmp_path / "units.csv", track, "action_units")
