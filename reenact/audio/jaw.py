"""How far a voice opens a mouth, as heard: the second estimator of the lag between sound and picture."""

from __future__ import annotations

import numpy as np
import torch

from reenact.audio.articulation import codes_of
from reenact.audio.listen import hear_all
from reenact.audio.network import OUTPUTS_PER_SECOND
from reenact.audio.speaking import mono
from reenact.mouth import lip_gap
from studio.codes import ARKIT52, Codes
from studio.media.audio import Audio

_RATE = 100  # values a second that ``reenact.judge.offset`` wants


def heard_opening(audio: Audio) -> np.ndarray:
    """Metres [N] between the lips at 100 a second, from what the speech network hears, in any language."""
    heard = hear_all(mono(audio))
    codes = Codes.neutral(ARKIT52, (len(heard.moved),))
    codes.expression[:] = torch.from_numpy(codes_of(heard.moved))
    gap = lip_gap(codes).double().numpy()
    times = np.arange(0.0, len(gap) / OUTPUTS_PER_SECOND, 1 / _RATE)
    opening: np.ndarray = np.interp(times, np.arange(len(gap)) / OUTPUTS_PER_SECOND, gap)
    return opening
