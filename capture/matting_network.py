"""A user's own matting network, an ONNX file, run by onnxruntime (extra ``matte``); nothing is downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from studio.errors import StudioError
from studio.onnx_files import open_onnx

_SIDE, _STEP = 512, 32  # of the pictures that a network with free sizes is given
_CHANNELS = 3


class MattingNetwork:
    """A loaded network: pictures [1, 3, h, w] in, one channel [1, 1, h, w] of alpha 0..1 out.

    Args:
        path: the .onnx file.
        mean: what is subtracted from RGB values 0..1.
        std: what they are divided by then.

    Raises:
        StudioError: no onnxruntime, no such file, or a network of another form.
    """

    def __init__(self, path: Path, mean: float = 0.5, std: float = 0.5) -> None:
        self._session = open_onnx(path, "a matting network")
        self.path, self.mean, self.std = path, mean, std
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        inputs = self._session.get_inputs()
        shape = list(inputs[0].shape)
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != _CHANNELS or inputs[0].type != "tensor(float)":
            got = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
            raise StudioError(f"{path} takes other inputs", got=got, expected="one float tensor [1, 3, height, width]")
        self._size = tuple(side if isinstance(side, int) else None for side in shape[2:])

    def alpha(
        self,
        image: np.ndarray,  # [H, W, 3] uint8 sRGB
    ) -> np.ndarray:
        """The matte [H, W] uint8. Raises StudioError when the network gives something else."""
        height, width = (side or _usual(extent, image.shape[:2]) for side, extent in zip(self._size, image.shape[:2]))
        method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
        small = cv2.resize(image, (width, height), interpolation=method).astype(np.float32) / 255.0
        given = ((small - self.mean) / self.std).transpose(2, 0, 1)[None]
        try:
            results = self._session.run(None, {self._session.get_inputs()[0].name: given})
        except Exception as error:
            raise StudioError(f"{self.path} failed", got=str(error)[:200], expected="a matte") from error
        values = np.asarray(results[0], np.float32)
        if values.size != values.shape[-1] * values.shape[-2] or not np.isfinite(values).all():
            raise StudioError(
                f"{self.path} gives no matte", got=f"{values.shape}", expected="[1, 1, height, width], 0..1"
            )
        matte = cv2.resize(values.reshape(values.shape[-2:]), image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        return np.rint(np.clip(matte, 0, 1) * 255).astype(np.uint8)


def _usual(extent: int, shape: tuple[int, ...]) -> int:
    """A side of the given picture, as multiples of 32 about 512 for the shorter one."""
    return max(round(extent * _SIDE / min(shape) / _STEP), 1) * _STEP
