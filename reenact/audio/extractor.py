"""A user's own speech features, such as HuBERT or wav2vec2 as an ONNX file, for the adapter of a subject.

Run by onnxruntime (extra ``matte``); nothing is downloaded. Such networks look at all they are given at once, so that
long sound is heard in windows whose borders are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from reenact.audio.features import RATE
from reenact.audio.network import OUTPUTS_PER_SECOND
from studio.errors import StudioError
from studio.onnx_files import open_onnx

_WINDOW, _BORDER = 10 * RATE, 2 * RATE  # samples that are kept of a window, and heard on either side of them
_STEP = RATE // OUTPUTS_PER_SECOND


class SpeechExtractor:
    """A loaded network: sound [1, N] at 16 kHz in, features [1, T, D] out, T about N / 320.

    Args:
        path: the .onnx file.

    Raises:
        StudioError: no onnxruntime, no such file, or a network of another form.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = open_onnx(path, "a network of speech features")
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 2 or inputs[0].type != "tensor(float)":
            got = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
            raise StudioError(f"{path} takes other inputs", got=got, expected="one float tensor [1, samples]")

    def hear(
        self,
        pieces: Iterable[np.ndarray],  # [N] at 16 kHz that follow each other
    ) -> Iterator[np.ndarray]:
        """Features [T, D] at 50 Hz that follow each other; row k of all is about the moment k / 50 s."""
        waiting, before = np.zeros(0, np.float32), np.zeros(0, np.float32)
        for piece in pieces:
            waiting = np.concatenate((waiting, np.asarray(piece, np.float32)))
            while len(waiting) >= _WINDOW + _BORDER:
                yield self._window(before, waiting[:_WINDOW], waiting[_WINDOW : _WINDOW + _BORDER])
                before, waiting = waiting[_WINDOW - _BORDER : _WINDOW], waiting[_WINDOW:]
        if len(waiting):
            yield self._window(before, waiting, np.zeros(0, np.float32))

    def _window(self, before: np.ndarray, kept: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Features of ``kept``, heard between what is before and after it."""
        sound = np.concatenate((before, kept, after))
        sound = (sound - sound.mean()) / (sound.std() + 1e-5)  # as these networks were trained
        padded = np.pad(sound, (0, max(2 * RATE // 10 - len(sound), 0)))  # the shortest that they take
        try:
            results = self._session.run(None, {self._session.get_inputs()[0].name: padded[None]})
        except Exception as error:
            raise StudioError(f"{self.path} failed", got=str(error)[:200], expected="features of speech") from error
        values = np.asarray(results[0], np.float32)
        expected = len(padded) / _STEP
        if values.ndim != 3 or len(values) != 1 or abs(values.shape[1] - expected) > 2 or not np.isfinite(values).all():
            raise StudioError(
                f"{self.path} gives no features of speech", got=f"{values.shape}", expected=f"[1, {expected:.0f}, D]"
            )
        # Output k is about the middle of what it sees, some milliseconds after k / 50 s: as near as the grid allows.
        places = (len(before) + np.arange(0, len(kept), _STEP)) / _STEP
        return values[0, np.clip(np.rint(places).astype(int), 0, values.shape[1] - 1)]
