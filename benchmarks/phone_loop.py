"""Pocketsphinx's free phone recognition: English phones from sound alone, the baseline of the speech network."""

from __future__ import annotations

import numpy as np

from capture.synthetic.phones import TimedPhone
from reenact.audio.align import has_pocketsphinx
from reenact.audio.features import RATE
from reenact.audio.phones import SILENCE, filled, from_arpabet
from studio.errors import StudioError


def phone_loop(samples: np.ndarray) -> list[TimedPhone]:  # [N] at 16 kHz
    """What pocketsphinx hears. Raises StudioError when it is not installed."""
    if not has_pocketsphinx():
        raise StudioError("pocketsphinx is not installed", next="pip install pocketsphinx")
    from pocketsphinx import Decoder, get_model_path

    decoder = Decoder(
        hmm=get_model_path("en-us/en-us"),
        allphone=get_model_path("en-us/en-us-phone.lm.bin"),
        lm=None,
        dict=None,
        lw=2.0,
        pip=0.3,
        beam=1e-20,
        pbeam=1e-20,
        loglevel="FATAL",
    )
    decoder.start_utt()
    decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    frame = 1.0 / decoder.config["frate"]
    found = [
        TimedPhone(from_arpabet(item.word) or SILENCE, item.start_frame * frame, (item.end_frame + 1) * frame)
        for item in decoder.seg()
    ]
    return filled(found, len(samples) / RATE)
