"""The picture shown while an avatar is being opened."""

import numpy as np

from viewer.poster import framed


def test_a_poster_keeps_its_proportions_and_fills_the_window() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    wide, tall = framed(picture, 2.0), framed(picture, 0.5)
    assert wide.shape == (4, 8, 3)
    assert tall.shape == (12, 6, 3)
    np.testing.assert_array_equal(wide[:, 1:7], picture)
    np.testing.assert_array_equal(tall[4:8], picture)
    np.testing.assert_array_equal(wide[:, 0], picture[:, 0])
    np.testing.assert_array_equal(tall[-1], picture[-1])
