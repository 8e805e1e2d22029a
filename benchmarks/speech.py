"""How well the audio drivers speak.

    python -m benchmarks.speech voices --engine flite [--network FILE]     # synthesised voices of one engine
    python -m benchmarks.speech aligned RECORDING.wav PHONES.TextGrid      # real speech of known phones
    python -m benchmarks.speech capture FOLDER [--track NAME]              # against a tracked mouth
    python -m benchmarks.speech adapter FOLDER [--track NAME]              # the subject's own mouth, held-out tail
    python -m benchmarks.speech memory                                     # peak of processes: files of 10 and 60 min
    python -m benchmarks.speech speed                                      # stream, latency, an hour, its seams

visemes     share of 10-ms frames with the right one of 13 visemes and silence; speech: where the truth is no silence
closure     share of P, B, M in which the lips touch, 40 ms early or late; false: share of other speech in which they do
opening     Pearson correlation of the gap between the lips, both band-passed .7 to 6 Hz, at the best lag within 400 ms;
            null: the 95th percentile of the same with the sound shifted against the picture in a circle
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt

from benchmarks.measuring import print_table, write_json
from benchmarks.phone_loop import phone_loop
from capture.synthetic.phones import TimedPhone
from reenact.audio.adapter import MOUTH_CHANNELS, learn_adapter
from reenact.audio.articulation import CLOSE, codes_of, movements
from reenact.audio.engines import ENGINES, draw_voice, is_shared
from reenact.audio.features import RATE
from reenact.audio.listen import LATENCY, hear_all
from reenact.audio.network import OUTPUTS_PER_SECOND, SHIPPED, SpeechNetwork, load_network
from reenact.audio.scores import (
    band_passed,
    closure_score,
    heard_visemes,
    lagged_correlation,
    viseme_score,
    viseme_track,
)
from reenact.audio.speaking import Speech, blocks, mono, speak_codes
from reenact.audio.stream import Sampler, SpeechStream
from reenact.audio.takes import spoken_take
from reenact.audio.textgrid import read_textgrid
from studio.captures import open_capture
from studio.codes import ARKIT52, Codes, CodeTrack
from studio.heads import load_head
from studio.media.audio import Audio, write_wav
from studio.media.video_reader import read_audio

_LAGS = np.arange(-0.4, 0.401, 0.04)
_SHIFTS = 40  # circular shifts of the null


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("voices", "aligned", "capture", "adapter", "memory", "speed"))
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--engine", default="flite", choices=ENGINES)
    parser.add_argument("--takes", type=int, default=24)
    parser.add_argument("--network", type=Path, default=SHIPPED)
    parser.add_argument("--track")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    network = load_network(options.network)
    if options.what == "voices":
        rows = voices(options.engine, options.takes, network)
    elif options.what == "aligned":
        rows = aligned(*options.paths, network)
    elif options.what == "capture":
        rows = against_capture(options.paths[0], options.track, network)
    elif options.what == "adapter":
        rows = adapters(options.paths[0], options.track)
    elif options.what == "memory":
        rows = {f"{minutes} min": memory(minutes) for minutes in (10, 60)}
    else:
        rows = speed()
    print_table([{"": name, **row} for name, row in rows.items()])
    if options.out:
        write_json(options.out, f"speech {options.what}", [{"": name, **row} for name, row in rows.items()])


Rows = dict[str, dict[str, float]]


def voices(engine: str, takes: int, network: SpeechNetwork) -> Rows:
    """Visemes and closures on clean takes of an engine, by voice; speakers that other engines have too are left out."""
    rng = np.random.default_rng(99)
    found: dict[str, list[dict[str, float]]] = {}
    while sum(len(items) for items in found.values()) < takes:
        voice = draw_voice(engine, rng)
        if is_shared(voice):
            continue
        samples, phones = spoken_take(voice, rng)
        name = voice.name.split("+")[0]
        found.setdefault(name, []).append(_scores(_by_network(samples, network), phones, samples))
    rows = {name: _mean(items) for name, items in sorted(found.items())}
    return {**rows, "all": _mean([item for items in found.values() for item in items])}


def aligned(recording: Path, grid: Path, network: SpeechNetwork) -> Rows:
    """The network, pocketsphinx and controls on real speech of known phones."""
    samples, phones = mono(_sound(recording)), read_textgrid(grid)
    shifted = np.roll(samples, len(samples) // 2)
    silent = np.full(int(len(samples) / RATE / 0.01), 0)
    still = np.zeros(len(samples) * OUTPUTS_PER_SECOND // RATE)
    return {
        "network": _scores(_by_network(samples, network), phones, samples),
        "phone loop": _scores(_by_loop(samples), phones, samples),
        "shuffled sound": _scores(_by_network(shifted, network), phones, samples),
        "energy only": _scores(_by_energy(samples), phones, samples),
        "constant": _scores((silent, still), phones, samples),
    }


Guess = tuple[np.ndarray, np.ndarray]  # visemes at 100 Hz, closure at 50 Hz


def _by_network(samples: np.ndarray, network: SpeechNetwork) -> Guess:
    heard = hear_all(samples, network)
    return heard_visemes(heard.phones, OUTPUTS_PER_SECOND, len(samples) / RATE), heard.moved[:, CLOSE]


def _by_loop(samples: np.ndarray) -> Guess:
    phones = phone_loop(samples)
    times = np.arange(len(samples) * OUTPUTS_PER_SECOND // RATE) / OUTPUTS_PER_SECOND
    return viseme_track(phones, len(samples) / RATE), movements(phones, times)[:, CLOSE]


def _by_energy(samples: np.ndarray) -> Guess:
    """Loud is AA, quiet is silence and shut."""
    level = envelope(samples, np.arange(int(len(samples) / RATE / 0.01)) * 0.01)
    loud = level > 0.3 * np.quantile(level, 0.95)
    return np.where(loud, 9, 0), (~loud[::2]).astype(float)


def _scores(guess: Guess, phones: list[TimedPhone], samples: np.ndarray) -> dict[str, float]:
    visemes, close = guess
    seen = viseme_score(visemes, viseme_track(phones, len(samples) / RATE))
    shut = closure_score(phones, np.arange(len(close)) / OUTPUTS_PER_SECOND, close)
    return {
        "visemes": seen.all,
        "visemes, speech": seen.speech,
        "closure": shut.recall,
        "false closure": shut.false_share,
    }


def against_capture(folder: Path, name: str | None, network: SpeechNetwork) -> Rows:
    """Opening of the mouth against a tracked one."""
    track, samples = _recorded(folder, name)
    truth = lip_gap(track.codes.expression.numpy(), track.codes)
    times = np.arange(len(truth)) / track.fps
    rng = np.random.default_rng(0)
    guesses: dict[str, np.ndarray] = {
        "network": _opening_of_network(samples, track.fps, len(truth), network),
        "phone loop": lip_gap(codes_of(movements(phone_loop(samples), times))),
        "energy only": envelope(samples, times),
        "shuffled sound": _opening_of_network(np.roll(samples, len(samples) // 2), track.fps, len(truth), network),
        "constant": np.full(len(truth), 0.5) + 1e-6 * rng.normal(size=len(truth)),
    }
    return {label: _opening_row(guess, truth, track.fps) for label, guess in guesses.items()}


def _opening_of_network(samples: np.ndarray, fps: float, count: int, network: SpeechNetwork) -> np.ndarray:
    moved = Sampler(fps).push(hear_all(samples, network).moved, last=True)[:count]
    return lip_gap(codes_of(moved))


def _opening_row(guess: np.ndarray, truth: np.ndarray, fps: float) -> dict[str, float]:
    scores = lagged_correlation(guess, truth, fps, _LAGS)
    edge = len(truth) // 10
    shifts = np.linspace(edge, len(truth) - edge, _SHIFTS).astype(int)
    null = [lagged_correlation(guess, np.roll(truth, shift), fps, _LAGS).max() for shift in shifts]
    length = min(len(guess), len(truth))
    spread = band_passed(guess[:length], fps).std() / band_passed(truth[:length], fps).std()
    return {
        "opening": float(scores.max()),
        "lag ms": 1000 * float(_LAGS[scores.argmax()]),
        "null": float(np.quantile(null, 0.95)),
        "range": float(spread),
    }


def adapters(folder: Path, name: str | None) -> Rows:
    """The last fifth of a capture, from adapters of ever more of what is before it."""
    track, samples = _recorded(folder, name)
    expression, fps = track.codes.expression.numpy().astype(np.float64), track.fps
    first = round(0.8 * len(track))
    heard = hear_all(samples)
    times = np.arange(len(track)) / fps
    moved = np.stack([np.interp(times, heard.times, curve) for curve in heard.moved.T], axis=1)
    plain = codes_of(moved)
    rows = {"network": _tail_row(plain, expression, first, fps)}
    rows["network, rescaled"] = _tail_row(_rescaled(plain, expression, first), expression, first, fps)
    resting = np.repeat(expression[:first].mean(0, keepdims=True), len(track), axis=0)
    rows["mean mouth"] = _tail_row(resting, expression, first, fps)
    for seconds in (5.0, 8.0, 12.0, 16.0, first / fps):
        frames = range(max(first - round(seconds * fps), 0), first)
        if seconds * fps > first:
            continue
        part = samples[round(frames.start / fps * RATE) : round(frames.stop / fps * RATE)]
        adapter = learn_adapter(part, expression[frames.start : frames.stop], fps)
        codes = adapter.codes(adapter.reduced(heard.hidden), heard.moved, times - adapter.lag)
        rows[f"adapter of {seconds:.0f} s"] = _tail_row(codes, expression, first, fps)
    return rows


def _rescaled(plain: np.ndarray, expression: np.ndarray, first: int) -> np.ndarray:
    """Each channel of layer 2 with the mean and the spread that the subject's has."""
    mean, spread = plain[:first].mean(0), plain[:first].std(0) + 1e-6
    return np.clip((plain - mean) / spread * expression[:first].std(0) + expression[:first].mean(0), 0, 1)


def _tail_row(codes: np.ndarray, truth: np.ndarray, first: int, fps: float) -> dict[str, float]:
    mouth = [ARKIT52.index(channel) for channel in MOUTH_CHANNELS]
    gaps = lip_gap(codes)[first:], lip_gap(truth)[first:]
    return {
        "code error": float(np.abs(codes[first:, mouth] - truth[first:, mouth]).mean()),
        "gap error mm": 1000 * float(np.abs(gaps[0] - gaps[1]).mean()),
        "opening": float(lagged_correlation(*gaps, fps, _LAGS).max()),
    }


def memory(minutes: int) -> dict[str, float]:
    """Peak memory of a process of its own that hears a file of so much made-up sound and writes its track."""
    script = (
        "import sys; from pathlib import Path;"
        "from reenact.audio.long import speak_file;"
        "frames = speak_file(Path(sys.argv[1]), Path(sys.argv[2]));"
        # Not ru_maxrss: a new process takes over that of the process that started it.
        "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0];"
        "print(frames, int(peak) / 1024)"
    )
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path, track = Path(folder) / "noise.wav", Path(folder) / "track"
        write_wav(path, Audio(np.resize(noise, minutes * 60 * RATE)[:, None], RATE))
        command = [sys.executable, "-c", script, str(path), str(track)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        stored = sum(item.stat().st_size for item in track.iterdir())
    frames, peak = (float(value) for value in done.stdout.split()[-2:])
    return {"frames": frames, "peak MB": peak, "track on disk, MB": stored / 2**20}


def speed() -> Rows:
    """Streaming and an hour of speech from the formant voice."""
    rng = np.random.default_rng(5)
    samples, _ = spoken_take(draw_voice("formant", rng), rng)
    minute = np.resize(samples, 60 * RATE)
    stream, chunk = SpeechStream(), 640
    began = time.process_time()
    for start in range(0, 10 * RATE, chunk):
        stream.push(minute[start : start + chunk])
    streaming = 10.0 / (time.process_time() - began)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sound = Audio(np.resize(minute, 3600 * RATE).astype(np.float32)[:, None], RATE)
    began = time.process_time()
    track = speak_codes(sound, Speech(), 30.0, layer="network")
    hour = 3600.0 / (time.process_time() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    at, elsewhere = _seams(track, sound)
    found = {
        "pieces of 40 ms: times real time": streaming,
        "pieces of 40 ms: latency, ms": 1000 * (LATENCY + 1 / OUTPUTS_PER_SECOND + chunk / RATE),
        "an hour: times real time": hour,
        "an hour: memory beside the sound, MB": grown - sound.samples.nbytes / 2**20,
        "an hour: of it the track, MB": sum(value.nbytes for value in track.codes.tensors().values()) / 2**20,
        "an hour: 99th percentile of speed at borders of blocks, 1/s": at,
        "an hour: the same elsewhere, 1/s": elsewhere,
    }
    return {name: {"value": float(value)} for name, value in found.items()}


def _seams(track: CodeTrack, sound: Audio) -> tuple[float, float]:
    """The 99th percentile of the fastest channel's speed, per second: at the borders of blocks, and elsewhere."""
    speeds = np.abs(np.diff(track.codes.expression.numpy(), axis=0)).max(1) * track.fps
    lengths = np.cumsum([len(block) for block in blocks(sound)])[:-1] / RATE
    near = np.zeros(len(speeds), dtype=bool)
    for border in lengths:
        middle = round(border * track.fps)
        near[middle - 2 : middle + 3] = True
    return float(np.quantile(speeds[near], 0.99)), float(np.quantile(speeds[~near], 0.99))


def lip_gap(weights: np.ndarray, like: Codes | None = None) -> np.ndarray:
    """Distance in metres [T] between the inner lips of a head that does weights [T, 52]."""
    head = load_head("procedural")
    head = head.with_identity(torch.zeros(head.num_identity)).landmark_submodel()
    codes = Codes.neutral(ARKIT52, (len(weights),))
    codes = replace(codes, expression=torch.from_numpy(np.asarray(weights, dtype=np.float32)))
    codes = codes if like is None else replace(codes, jaw_pose=like.jaw_pose)
    points = head.landmarks(head.vertices_head(torch.zeros(0), codes))
    return (points[:, 13, 1] - points[:, 14, 1]).numpy()


def envelope(samples: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Root of the mean level [T] of the band of speech, 300 to 3400 Hz, over 40 ms."""
    band = sosfiltfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), samples)
    total = np.concatenate(([0.0], np.cumsum(np.abs(band))))
    middle = (times * RATE).astype(int)
    low, high = np.clip(middle - 320, 0, len(samples)), np.clip(middle + 320, 0, len(samples))
    return np.sqrt((total[high] - total[low]) / np.maximum(high - low, 1))


def _recorded(folder: Path, name: str | None) -> tuple[CodeTrack, np.ndarray]:
    capture = open_capture(folder)
    track = capture.track(name or sorted(path.name for path in (folder / "tracks").iterdir())[0])
    assert capture.audio is not None
    return track, mono(_sound(capture.audio).between(0.0, len(track) / track.fps))


def _sound(path: Path) -> Audio:
    sound = read_audio(path)
    assert sound is not None
    return sound


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}


if __name__ == "__main__":
    main()
