"""Colour maps: exact inverses of injected casts in linear light, robust, and never made up where samples say little."""

import json

import cv2
import numpy as np
import pytest

from capture.colour import (
    CHART,
    ColourMap,
    camera_offsets,
    chart_map,
    fit_map,
    match_cameras,
    read_chart,
    to_linear,
    to_srgb,
)
from studio.errors import StudioError

CAST = np.array([[0.8, 0.05, 0.0], [0.03, 1.1, 0.02], [0.0, 0.06, 0.7]])


def chart_picture(light=lambda x: x, corners=((60, 40), (330, 60), (320, 240), (50, 220)), noise=0.0):
    """A picture of a chart on grey, as a camera with a cast shows it."""
    flat = np.full((4 * 40, 6 * 40, 3), 20, np.uint8)
    for index, color in enumerate(CHART):
        row, column = divmod(index, 6)
        flat[row * 40 + 3 : row * 40 + 37, column * 40 + 3 : column * 40 + 37] = color
    whole = np.array([(0, 0), (240, 0), (240, 160), (0, 160)], np.float32)
    matrix = cv2.getPerspectiveTransform(whole, np.array(corners, np.float32))
    picture = cv2.warpPerspective(flat, matrix, (400, 300), borderValue=(110, 110, 110), flags=cv2.INTER_AREA)
    cast = to_srgb(light(to_linear(picture)))
    cast = cast + noise * np.random.default_rng(0).normal(size=cast.shape)
    return (np.clip(cast, 0, 1) * 255 + 0.5).astype(np.uint8)


def test_srgb_round_trip_and_known_values():
    values = np.arange(256, dtype=np.uint8)
    assert np.abs(to_srgb(to_linear(values)) * 255 - values).max() < 1e-9
    assert to_linear(np.array([0.5]))[0] == pytest.approx(0.21404114, abs=1e-7)


@pytest.mark.parametrize("kind", ["gain", "affine", "polynomial"])
def test_identity_leaves_pictures_alone(kind):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert (ColourMap.identity(kind).on_image(image) == image).all()


def test_a_map_acts_in_light_not_on_encoded_values():
    image = np.full((4, 4, 3), 128, np.uint8)
    halved = ColourMap("gain", 0.5 * np.eye(3)).on_image(image)
    assert (halved == round(255 * float(to_srgb(0.5 * to_linear(np.array([128 / 255.0])))[0]))).all()
    assert halved[0, 0, 0] == 92  # one stop down, by hand; encoded values halved would give 64


@pytest.mark.parametrize("kind", ["affine", "polynomial"])
def test_a_cast_is_undone_with_a_chart(kind):
    light = lambda x: x @ CAST.T  # noqa: E731
    picture = chart_picture(light, noise=0.004)
    corners = ((60, 40), (330, 60), (320, 240), (50, 220))
    found = chart_map(read_chart(picture, corners), kind)
    usable = (to_linear(CHART) @ CAST.T < 0.95).all(1)
    back = to_srgb(found.on_light(to_linear(CHART) @ CAST.T)) * 255
    assert np.abs(back - CHART)[usable].mean() < 2.5
    before = np.abs(to_srgb(to_linear(CHART) @ CAST.T) * 255 - CHART)[usable].mean()
    assert before > 9


def test_polynomial_undoes_what_affine_cannot():
    def bend(x):
        return 0.75 * x + 0.25 * x**2

    seen, wanted = bend(to_linear(CHART)), to_linear(CHART)
    errors = {
        kind: np.abs(to_srgb(fit_map(seen, wanted, kind).on_light(seen)) - to_srgb(wanted)).mean()
        for kind in ("affine", "polynomial")
    }
    assert errors["polynomial"] < 0.5 * errors["affine"]


def test_wrong_corners_are_refused():
    picture = chart_picture()
    with pytest.raises(StudioError, match="not the patches of a chart"):
        chart_map(read_chart(picture, ((330, 60), (320, 240), (50, 220), (60, 40))), "gain")
    with pytest.raises(StudioError, match="leaves the picture"):
        read_chart(picture, ((-5, 40), (330, 60), (320, 240), (50, 220)))
    with pytest.raises(StudioError, match="too small"):
        read_chart(picture, ((60, 40), (70, 40), (70, 50), (60, 50)))


def shared_skin(gains, rng, points=40, noise=0.02):
    """Light [C, P, 3] of skin-like points seen by cameras with gains [C, 3]; each camera sees two thirds of them."""
    skin = np.array((0.45, 0.27, 0.19)) * rng.uniform(0.4, 1.2, (points, 1)) * rng.uniform(0.93, 1.07, (points, 3))
    light = skin * np.asarray(gains)[:, None] * (1 + noise * rng.normal(size=(len(gains), points, 3)))
    light[rng.random(light.shape[:2]) < 0.33] = np.nan
    light[:, :3] *= rng.uniform(1.5, 3, (len(gains), 3, 1))  # gloss that each camera sees elsewhere
    return light


def test_offsets_of_cameras():
    rng = np.random.default_rng(2)
    stops = np.array([0.0, 0.5, -0.7, 0.1, 0.0])
    offsets = camera_offsets(shared_skin(2.0 ** stops[:, None] * np.ones(3), rng))
    assert np.abs(offsets.mean(1) - stops).max() < 0.06


@pytest.mark.parametrize("kind", ["gain", "affine", "polynomial"])
def test_cameras_are_matched_by_overlap_and_other_colours_stay_sane(kind):
    rng = np.random.default_rng(3)
    gains = 2.0 ** rng.normal(0, 0.4, (6, 1)) * rng.uniform(0.85, 1.15, (6, 3))
    gains[0] = 1
    maps = match_cameras(shared_skin(gains, rng), kind, reference=0)
    assert np.abs(maps[0].on_light(CHART / 255.0) - CHART / 255.0).max() < 1e-12
    for found, gain in zip(maps[1:], gains[1:], strict=True):
        skin = np.array([(0.4, 0.25, 0.18), (0.25, 0.15, 0.1)])
        assert np.abs(np.log(found.on_light(skin * gain) / skin)).max() < 0.05
        blue = np.array([[0.05, 0.1, 0.4]])  # nothing like it was seen
        assert np.abs(found.on_light(blue * gain) - blue).max() < 0.08


def test_a_camera_without_samples_has_no_map():
    light = shared_skin(np.ones((4, 3)), np.random.default_rng(4))
    light[2] = np.nan
    maps = match_cameras(light, "affine")
    assert maps[2] is None
    assert all(found is not None for index, found in enumerate(maps) if index != 2)
    with pytest.raises(StudioError, match="too few samples"):
        fit_map(np.ones((2, 3)), np.ones((2, 3)), "affine")


def test_a_capture_is_corrected_by_a_chart_into_a_new_folder(tmp_path, little_rig):
    from benchmarks.check_faults import copy_of
    from capture.recolour import ColourConfig, recolour_capture
    from studio.media.images import read_image, write_image

    capture = copy_of(little_rig.folder, tmp_path / "capture")
    name = capture.cameras.ids[1]
    cast = lambda x: x * (0.7, 1.0, 1.2)  # noqa: E731
    write_image(tmp_path / "chart.png", chart_picture(cast))
    chart = {"cameras": {name: {"image": "chart.png", "corners": [[60, 40], [330, 60], [320, 240], [50, 220]]}}}
    (tmp_path / "chart.json").write_text(json.dumps(chart))
    before = {path: path.read_bytes() for path in capture.folder.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    maps = recolour_capture(capture, out, ColourConfig(by="chart", model="gain", chart=tmp_path / "chart.json"))
    assert np.diag(maps[name].matrix) == pytest.approx([1 / 0.7, 1.0, 1 / 1.2], rel=0.03)
    assert {path: path.read_bytes() for path in before} == before
    from studio.captures import open_capture

    made = open_capture(out)
    assert made.manifest.body["colour"]["by"] == "chart"
    assert (made.image(0, 0) == capture.image(0, 0)).all()
    assert (made.image(0, 1) == maps[name].on_image(capture.image(0, 1))).all()
    assert (read_image(out / "background" / f"{name}.png") != capture.background(1)).any()
    assert (made.matte(0, 1) == capture.matte(0, 1)).all()
    with pytest.raises(StudioError, match="exists"):
        recolour_capture(capture, out, ColourConfig(by="chart", chart=tmp_path / "chart.json"))
    for bad in ("{}", '{"cameras": {"nobody": {}}}', '{"cameras": {}}'):
        (tmp_path / "bad.json").write_text(bad)
        with pytest.raises(StudioError, match=r"bad\.json"):
            recolour_capture(capture, tmp_path / "no", ColourConfig(by="chart", chart=tmp_path / "bad.json"))
    assert not (tmp_path / "no").exists()
