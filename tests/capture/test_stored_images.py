"""Stored images are read one at a time, when asked for."""

import numpy as np

from capture.stored_images import StoredImages


def test_only_what_is_asked_for_is_read():
    asked = []

    def read(index):
        asked.append(index)
        return np.full((2, 2), index)

    images = StoredImages(read, [3, 5, 7, 9])
    assert len(images) == 4
    assert len(images[::2]) == 2
    assert asked == []
    assert [int(image[0, 0]) for image in images[1:]] == [5, 7, 9]
    assert int(images[-1][0, 0]) == 9
    assert asked == [5, 7, 9, 9]
