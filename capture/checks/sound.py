"""Sound that is missing, silent, too short, or out of step with the lips."""

from __future__ import annotations

import numpy as np

from capture.checking.evidence import Evidence
from capture.checking.finding import Figure, Finding, Lines, Verdict, unknown
from capture.checks import Check
from capture.sound_sync import RATE, estimate, heard_jaw, lags, loudness
from studio.errors import StudioError
from studio.media.audio import Audio, read_wav

_SILENT = 1e-3  # of full scale, root mean square of the loudest tenth
_LENGTH = 0.15  # seconds by which sound and pictures may differ
_LATE = 0.12  # seconds: beyond, people see it (and speech itself leads or follows by less)
_CLIPPED = 0.01  # share of samples at the end of the range


def ask(evidence: Evidence) -> Verdict:
    capture = evidence.capture
    if capture.fps <= 0:
        return unknown("a single moment has no sound")
    if capture.audio is None:
        advice = "record or add audio.wav if speech is to drive the avatar; nothing else needs it"
        return Verdict([Finding("note", "sound_missing", "there is no sound", advice)])
    try:
        sound = read_wav(capture.audio)
    except StudioError as error:
        return Verdict([Finding("bad", "sound_damaged", str(error), "extract the sound again")])
    findings = [*_level(sound), *_length(sound, len(capture) / capture.fps)]
    figures: list[Figure] = []
    if not any(item.kind == "sound_silent" for item in findings):
        _synchrony(evidence, sound, findings, figures)
    return Verdict(findings, figures)


def _level(sound: Audio) -> list[Finding]:
    samples = np.abs(sound.samples).max(1) if len(sound.samples) else np.zeros(1)
    loud = float(np.sqrt(np.mean(np.sort(samples)[-max(len(samples) // 10, 1) :] ** 2)))
    if loud < _SILENT:
        return [Finding("bad", "sound_silent", "the sound is silent", "check the recording's channels and level")]
    clipped = float((samples > 0.999).mean())
    if clipped > _CLIPPED:
        advice = "record with less gain: clipped speech misleads recognisers"
        return [Finding("note", "sound_clipped", f"{100 * clipped:.0f} % of the sound is clipped", advice)]
    return []


def _length(sound: Audio, seconds: float) -> list[Finding]:
    if abs(sound.duration - seconds) <= _LENGTH:
        return []
    text = f"the sound lasts {sound.duration:.2f} s, the pictures {seconds:.2f} s"
    advice = "cut both from the same stretch: is the frame rate right, and does the sound start with the pictures?"
    return [Finding("bad", "sound_length", text, advice)]


def mouth_opening(evidence: Evidence) -> np.ndarray | None:
    """[N] gap of the lips over the distance of the eyes, at ``RATE`` from timestep 0 on; None without a face."""
    if evidence.no_face or len(evidence.timesteps) < 2:
        return None
    best = int(np.argmax(evidence.trust.mean((0, 2))))
    run = np.r_[evidence.follows[1:], False] | evidence.follows
    end = int(np.argmax(~evidence.follows[1:])) + 1 if not evidence.follows[1:].all() else len(run)
    points = evidence.points[:end, best, :, :2]
    gap = np.linalg.norm(points[:, 13] - points[:, 14], axis=-1)
    width = np.linalg.norm(points[:, 33] - points[:, 263], axis=-1)
    known = np.isfinite(gap)
    if known.mean() < 0.5 or evidence.timesteps[0] != 0:
        return None
    # A frame is exposed about its timestamp: no shift of half a frame.
    times = np.arange(end) / evidence.capture.fps
    grid = np.arange(0, times[-1], 1 / RATE)
    return np.asarray(np.interp(grid, times[known], (gap / np.nanmedian(width))[known]))


def _synchrony(evidence: Evidence, sound: Audio, findings: list[Finding], figures: list[Figure]) -> None:
    mouth = mouth_opening(evidence)
    if mouth is None:
        why = evidence.no_face or "too few frames with a face"
        findings.append(Finding("unknown", "", f"synchrony of sound and lips not measured: {why}"))
        return
    part = sound.between(0.0, len(mouth) / RATE)
    jaw = heard_jaw(part)
    found = estimate(mouth, [loudness(part), *([] if jaw is None else [jaw])])
    if found is not None:
        curves = list(zip(("loudness", "phones"), found.curves, strict=False))
        figures.append(Lines("Agreement of lips and sound, by how late the sound is", lags(), curves, "seconds"))
    if found is None or found.seconds is None:
        why = "the clip is too short" if found is None else "the estimators disagree, or chance would do as well"
        if jaw is None:
            why = 'phones need pocketsphinx (pip install "head-avatar-studio[speech]")'
        findings.append(Finding("unknown", "", f"synchrony of sound and lips not measured: {why}"))
        return
    late = found.seconds
    text = f"the sound is {abs(1000 * late):.0f} ms {'later' if late > 0 else 'earlier'} than the lips"
    if abs(late) > _LATE:
        findings.append(Finding("bad", "sound_late", text, f"shift audio.wav by {-1000 * late:+.0f} ms"))
    else:
        findings.append(Finding("ok", "", text))


CHECK = Check(130, "Sound", "Is there sound, and is it in step with the lips?", ask)
