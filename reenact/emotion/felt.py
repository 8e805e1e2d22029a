"""What a driver feels, as far as its voice and its words tell: valence and arousal over time, and a layer of them.

The voice tells arousal, relative to the speaker (``reenact.audio.prosody``); the words tell both, by a short list that
can be read and edited (lexicon.yaml). Neither knows irony, and a list knows no context. A user's own network
takes the place of the voice: sound [1, N] at 16 kHz in, valence and arousal [1, 2] in -1..1 out (ONNX).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from reenact.audio.features import RATE
from reenact.audio.prosody import arousal_of, cues_of
from reenact.emotion.directions import Action, read_direction
from reenact.emotion.layer import add_emotion, of_affect, perform
from studio.building import build
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.onnx_files import open_onnx

OWN = Path(__file__).with_name("lexicon.yaml")
_ENDINGS = ("", "s", "es", "ed", "d", "ing", "ly", "er", "est", "ful")
_REACH = 3  # words over which a negation or an amount holds
_TURNED = -0.6  # "not good" is less bad than "bad"
_VOICE, _WORDS = 0.6, 0.4  # shares of arousal where both tell it
_STEP = 1.0  # seconds that one feeling of the layer lasts
_LIVELY = 0.35  # intensity of raised brows at full arousal whose valence nobody tells
_HEARD = 8 * RATE  # samples that a user's network hears at a time


@dataclass(frozen=True)
class Group:
    """Words that tell the same: valence and arousal, and the words with blanks between."""

    place: tuple[float, float]
    words: str


@dataclass(frozen=True)
class Lexicon:
    """Words that tell a feeling, words that turn it round, and words that say how much."""

    groups: tuple[Group, ...]
    turns: str
    amounts: Mapping[str, float]
    places: Mapping[str, tuple[float, float]] = field(init=False)

    def __post_init__(self) -> None:
        places = {word: group.place for group in self.groups for word in group.words.split()}
        if any(not -1 <= number <= 1 for place in places.values() for number in place):
            raise StudioError("the lexicon has a place off the circle", expected="valence and arousal in -1..1")
        object.__setattr__(self, "places", places)

    def place(self, word: str) -> tuple[float, float] | None:
        """Valence and arousal of a word in small letters, also with a usual ending; None where it tells nothing."""
        for ending in _ENDINGS:
            if word.endswith(ending):
                stem = word.removesuffix(ending) if ending else word
                for candidate in (stem, f"{stem}e", re.sub(r"i$", "y", stem), re.sub(r"(.)\1$", r"\1", stem)):
                    if candidate in self.places:
                        return self.places[candidate]
        return None


@cache
def read_lexicon(path: Path = OWN) -> Lexicon:
    """Read a lexicon. Raises StudioError when it is damaged."""
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudioError(f"cannot read the lexicon {path}", got=error, expected="YAML as lexicon.yaml") from error
    if not isinstance(data, Mapping):
        raise StudioError(f"{path} is no lexicon", got=type(data).__name__, expected="YAML as lexicon.yaml")
    return build(Lexicon, data, path.name)


@dataclass(frozen=True)
class Felt:
    """A feeling over time; NaN where nothing tells it.

    Args:
        times: [K] seconds.
        valence: [K] -1..1.
        arousal: [K] -1..1.
        told: where it comes from, for people.
    """

    times: np.ndarray
    valence: np.ndarray
    arousal: np.ndarray
    told: str

    def summary(self) -> str:
        """One line: means and where they come from."""

        def mean(values: np.ndarray) -> str:
            return f"{np.nanmean(values):+.2f}" if np.isfinite(values).any() else "unknown"

        return f"{self.told}: valence {mean(self.valence)}, arousal {mean(self.arousal)}"


def felt(
    seconds: float,
    samples: np.ndarray | None = None,  # [N] at 16 kHz
    words: str | None = None,
    baseline: np.ndarray | None = None,  # [N] at 16 kHz: the same speaker, calm
    model: Path | None = None,
) -> Felt:
    """What voice and words tell of a feeling, fused: valence from the words, arousal from both."""
    times = np.arange(0.0, max(seconds, _STEP), _STEP / 2)
    valence, arousal = np.full(len(times), np.nan), np.full(len(times), np.nan)
    told = []
    if samples is not None and model is not None:
        rows = np.array(model_affect(samples, model))
        place = np.minimum((times * RATE / _HEARD).astype(int), len(rows) - 1)
        valence, arousal = rows[place, 0], rows[place, 1]
        told.append(f"your network {model.name}")
    elif samples is not None:
        cues = cues_of(samples)
        heard = arousal_of(cues, cues_of(baseline).typical() if baseline is not None else None)
        known = np.isfinite(heard)
        if known.any():
            arousal = np.interp(times, cues.times[known], heard[known])
            told.append("voice against its baseline" if baseline is not None else "voice against itself")
    if words:
        pleasant, excited = words_affect(words, times / max(seconds, 1e-6))
        valence = np.where(np.isnan(valence), pleasant, valence)
        both = _VOICE * arousal + _WORDS * excited
        arousal = np.where(np.isnan(arousal), excited, np.where(np.isnan(excited), arousal, both))
        told.append("words")
    return Felt(times, valence, arousal, " and ".join(told) or "nothing")


def words_affect(
    text: str,
    places: np.ndarray,  # [K] 0..1 of the way through the text
    lexicon: Lexicon | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Valence and arousal [K] of the sentence at each place; NaN where its words tell nothing."""
    lexicon = lexicon or read_lexicon()
    sentences = [part for part in re.split(r"(?<=[.!?;])\s+", text.strip()) if part]
    ends = np.cumsum([len(part) for part in sentences]) / max(sum(map(len, sentences)), 1)
    found = np.array([_sentence(part, lexicon) for part in sentences]).reshape(-1, 2)
    if not len(found):
        return np.full(len(places), np.nan), np.full(len(places), np.nan)
    at = found[np.minimum(np.searchsorted(ends, places), len(found) - 1)]
    return at[:, 0], at[:, 1]


def _sentence(text: str, lexicon: Lexicon) -> tuple[float, float]:
    """Mean of what its words tell, turned and scaled by what stands shortly before them."""
    words = re.findall(r"[a-z']+", text.lower().replace("’", "'"))
    turns, found = set(lexicon.turns.split()), []
    for index, word in enumerate(words):
        place = lexicon.place(word)
        if place is None or word in turns:
            continue
        before = words[max(index - _REACH, 0) : index]
        amount = float(np.prod([lexicon.amounts.get(item, 1.0) for item in before]))
        turned = _TURNED if turns.intersection(before) else 1.0
        found.append((place[0] * amount * turned, place[1] * amount * abs(turned)))
    if not found:
        return float("nan"), float("nan")
    loud = 1.2 if text.rstrip().endswith("!") else 1.0
    valence, arousal = np.clip(np.mean(found, axis=0) * loud, -1, 1)
    return float(valence), float(arousal)


def model_affect(samples: np.ndarray, path: Path) -> list[tuple[float, float]]:
    """Valence and arousal of each 8 s by a user's network.

    Raises:
        StudioError: no onnxruntime, no such file, or the network gives something else.
    """
    session = open_onnx(path, "a network of emotion in speech")
    name, rows = session.get_inputs()[0].name, []
    for start in range(0, max(len(samples), 1), _HEARD):
        piece = np.asarray(samples[start : start + _HEARD], np.float32)
        try:
            value = np.asarray(session.run(None, {name: np.pad(piece, (0, max(RATE - len(piece), 0)))[None]})[0])
        except Exception as error:
            raise StudioError(f"{path} failed", got=str(error)[:200], expected="sound [1, N] at 16 kHz") from error
        if value.shape != (1, 2) or not np.isfinite(value).all():
            raise StudioError(f"{path} gives no emotion", got=value.shape, expected="[1, 2]: valence, arousal")
        rows.append((float(np.clip(value[0, 0], -1, 1)), float(np.clip(value[0, 1], -1, 1))))
    return rows


def actions_of(feeling: Felt, strength: float) -> tuple[Action, ...]:
    """A feeling as actions; arousal without valence only raises the brows."""
    actions: list[Action] = []
    for start in feeling.times[::2]:
        here = (feeling.times >= start) & (feeling.times < start + _STEP)
        valence = _mean(feeling.valence[here])
        arousal = _mean(feeling.arousal[here])
        if valence is not None:
            parts = of_affect(valence, arousal or 0.0, _STEP)
        else:
            lively = _LIVELY * max(arousal or 0.0, 0.0)
            parts = (Action("AU1", lively, 0.0, _STEP), Action("AU2", lively, 0.0, _STEP)) if lively > 0.02 else ()
        for item in parts:
            amount = min(item.intensity * strength, 2.0)
            # Neighbours of the same kind cross over where one goes and the other comes.
            actions.append(
                replace(item, start=item.start + start, end=item.end + start, intensity=amount, rise=0.45, fall=0.45)
            )
    return tuple(actions)


def _mean(values: np.ndarray) -> float | None:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else None


def with_feeling(track: CodeTrack, feeling: Felt, strength: float, direction: str | None = None) -> CodeTrack:
    """A track with what is felt told in its provenance and extras, and shown on the face.

    Args:
        track: what is said.
        feeling: from ``felt``.
        strength: 0 only tells it.
        direction: plain words that are shown in its place.
    """
    seconds = len(track) / track.fps
    frames = np.arange(len(track)) / track.fps
    curves = np.stack([np.interp(frames, feeling.times, item) for item in (feeling.valence, feeling.arousal)], axis=1)
    shown = f"shown: {direction}" if direction else f"shown with strength {strength:g}" if strength else "not shown"
    told = dict(track.provenance) | {"emotion": f"{feeling.summary()}; {shown}"}
    extras = {**track.extras, "felt": curves.astype(np.float32)}
    actions = read_direction(direction, seconds) if direction else actions_of(feeling, strength) if strength else ()
    closed = track.extras.get("closure")
    moved = add_emotion(track, perform(actions, len(track), track.fps), closed) if actions else track
    return replace(moved, provenance=told, extras=extras)
