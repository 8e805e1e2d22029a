"""Lens distortion, removed while reading: a capture's cameras are pinholes. Models and order as in OpenCV."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from studio.errors import StudioError

MAX_COEFFICIENT = 100.0


Sampling = tuple[np.ndarray, np.ndarray]  # x and y [H, W] of the distorted image for each pixel


@dataclass(frozen=True)
class Lens:
    """A distorting lens.

    Args:
        K: [3, 3] in pixels, the centre of the top-left pixel at (0.5, 0.5); kept by the undistorted image.
        coefficients: OpenCV's k1 k2 p1 p2 [k3 k4 k5 k6], or k1 … k4 of a fisheye.
        fisheye: which of the two.
    """

    K: np.ndarray
    coefficients: tuple[float, ...]
    fisheye: bool = False

    def sampling(self, width: int, height: int) -> Sampling:
        """Where the pixels of the pinhole image with the same K lie in the distorted one."""
        K = self.K.copy()
        K[:2, 2] -= 0.5  # OpenCV counts from the centre of the first pixel
        coefficients = np.array(self.coefficients)
        method = cv2.fisheye if self.fisheye else cv2
        x, y = method.initUndistortRectifyMap(K, coefficients, np.eye(3), K, (width, height), cv2.CV_32FC1)
        return x, y


def undistort(
    image: np.ndarray,  # [H, W] or [H, W, 3] uint8
    sampling: Sampling,
) -> np.ndarray:
    """The pinhole image; what the lens did not see is black."""
    return cv2.remap(image, *sampling, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def make_lens(K: np.ndarray, coefficients: tuple[float, ...], what: str, *, fisheye: bool = False) -> Lens | None:
    """A lens, or None where it does not distort. Raises StudioError for coefficients of no real lens."""
    largest = max(map(abs, coefficients), default=0.0)
    if largest > MAX_COEFFICIENT:
        raise StudioError(f"{what} has impossible lens distortion", got=largest, expected=f"at most {MAX_COEFFICIENT}")
    return Lens(K, coefficients, fisheye) if largest > 0 else None
