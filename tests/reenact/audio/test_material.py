"""What the network is trained on: talks out of a game's file, and a neural voice where it is installed."""

import struct

import numpy as np
import pytest

from reenact.audio.amazon_queen import find_lines
from reenact.audio.corpus import prose
from reenact.audio.engines import draw_voice, installed, speak
from reenact.audio.neural_voice import has_hibari, say
from reenact.audio.recordings import find_recordings


def _game():
    """A file of one talk with two sentences, one of two pieces, and their sounds."""
    said = struct.pack(">HB", 6, 9) + b"Who's me?" + b"\0" + struct.pack(">HB", 31, 4) + b"\x01\x02\x03\x04"
    others = struct.pack(">HB", 6, 20) + b"Go away!*02And do*05" + struct.pack(">HB", 7, 0)
    head = bytearray(48)
    head[22:24], head[42:44] = struct.pack(">H", 2), struct.pack(">H", 48 + len(said))
    parts = {
        "AND1.DOG": bytes(head) + said + others,
        "020006J1.SB": b"one",
        "020006P1.SB": b"two2",
        "020006P2.SB": b"3",
    }
    start = 15 + 21 * len(parts)
    table, data = b"", b""
    for name, content in parts.items():
        table += name.encode().ljust(12, b"\0") + b"\1" + struct.pack(">II", start + len(data), len(content))
        data += content
    return b"QTBLCEM10\0\0\0\1" + struct.pack(">H", len(parts)) + table + data


def test_talks_are_found_with_their_sounds(tmp_path):
    path = tmp_path / "game/usr/share/scummvm/queen/queen.1c"
    path.parent.mkdir(parents=True)
    path.write_bytes(_game())
    lines = {line.name: line for line in find_lines(path)}
    assert {name: line.text for name, line in lines.items()} == {
        "020006J1.SB": "Who's me?",
        "020006P1.SB": "Go away!",
        "020006P2.SB": "And do",
    }
    sound = lines["020006P1.SB"]
    assert path.read_bytes()[sound.start : sound.start + sound.size] == b"two2"
    assert [item.part for item in find_recordings(tmp_path)] == [(line.start, line.size) for line in find_lines(path)]
    path.write_bytes(b"another game")
    assert find_lines(path) == []


def test_prose_is_something_to_say():
    assert len(prose(np.random.default_rng(0)).split()) >= 2


@pytest.mark.skipif(not has_hibari(), reason="hibari-tts or pocketsphinx is not installed")
def test_the_neural_voice_speaks_in_many_voices():
    assert "hibari" in installed()
    low, high = say("My mother bought a boat.", 1.0, 0.6, 1.15, 0), say("My mother bought a boat.", 1.0, 1.2, 0.9, 0)
    assert [p.name for p in low.phones if p.name != "SIL"] == [p.name for p in high.phones if p.name != "SIL"]
    assert speak(draw_voice("hibari", np.random.default_rng(0)), 1, np.random.default_rng(0))[0].audio.duration > 0.5
    assert say("Zzyzx qwrtp.", 1.0, 1.0, 1.0, 0) is None
