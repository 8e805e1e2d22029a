"""A process of its own that speaks through the user's espeak-ng; see ``reenact.audio.espeak``.

Run as a script with nothing but the standard library: ``espeak_process.py LIBRARY [DATA]``. Reads requests as lines of
JSON, answers each with a line of JSON (rate, samples, phonemes as [IPA, sample]) and the samples as 16-bit numbers.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_RETRIEVAL, _PHONEME_EVENTS_IPA = 2, 3  # AUDIO_OUTPUT_RETRIEVAL; espeakINITIALIZE_PHONEME_EVENTS | _IPA
_UTF8, _PHONEME, _END = 1, 7, 0
_RATE, _PITCH = 1, 3  # espeakRATE, espeakPITCH


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        *(("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int)),
        *(("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int)),
        *(("user_data", ctypes.c_void_p), ("id", _Id)),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        *(("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p)),
        *(("gender", ctypes.c_ubyte), ("age", ctypes.c_ubyte), ("variant", ctypes.c_ubyte), ("xx1", ctypes.c_ubyte)),
        *(("score", ctypes.c_int), ("spare", ctypes.c_void_p)),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Speaker:
    def __init__(self, library: str, data: str | None) -> None:
        self.library = ctypes.CDLL(library)
        self.rate = self.library.espeak_Initialize(
            _RETRIEVAL, 200, data.encode() if data else None, _PHONEME_EVENTS_IPA
        )
        self.library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        self.pieces: list[bytes] = []
        self.phonemes: list[tuple[str, int]] = []
        self.callback = _Callback(self._receive)  # kept, or it would be collected while in use
        self.library.espeak_SetSynthCallback(self.callback)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self.pieces.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != _END:
            if events[index].type == _PHONEME:
                ipa = ctypes.string_at(ctypes.addressof(events[index].id), 8).split(b"\0")[0].decode("utf-8", "ignore")
                self.phonemes.append((ipa, events[index].sample))
            index += 1
        return 0

    def _choose(self, voice: str) -> bool:
        """Take a voice by its name or, as some have another name, by its language."""
        language, _, variant = voice.partition("+")
        by_name = [voice.encode()]
        wanted = _Voice(languages=language.encode())
        if self.library.espeak_SetVoiceByProperties(ctypes.byref(wanted)) == 0:
            current = self.library.espeak_GetCurrentVoice().contents
            spoken = bytes(current.languages or b"")[1:].split(b"\0")[0].decode()
            if spoken.split("-")[0] == language.split("-")[0].lower():
                by_name.append(b"+".join(filter(None, (current.identifier, variant.encode()))))
        return any(self.library.espeak_SetVoiceByName(name) == 0 for name in by_name)

    def speak(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        self.pieces, self.phonemes = [], []
        if not self._choose(request["voice"]):
            return {"error": "voice"}, b""
        self.library.espeak_SetParameter(_RATE, int(request["rate"]), 0)
        self.library.espeak_SetParameter(_PITCH, int(request["pitch"]), 0)
        text = request["text"].encode() + b"\0"
        self.library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, _UTF8, None, None)
        self.library.espeak_Synchronize()
        sound = b"".join(self.pieces)
        return {"rate": self.rate, "samples": len(sound) // 2, "phonemes": self.phonemes}, sound


def _main() -> None:
    speaker = _Speaker(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    if speaker.rate <= 0:
        sys.exit("espeak-ng finds none of its data")
    for line in sys.stdin:
        header, sound = speaker.speak(json.loads(line))
        sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + sound)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
