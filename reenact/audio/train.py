"""``python -m reenact.audio.train --out FOLDER --recordings /``: speech, and the network trained on it.

It is of the synthesisers that are installed, and of recordings of real people in Debian packages that are installed or
unpacked below a folder (``reenact.audio.recordings``). The command says what it found. The takes are kept in the folder
and used again. ``--without flite`` leaves an engine out, for a test of what the network makes of one it never heard.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reenact.audio.articulation import CLOSE, MOVEMENTS
from reenact.audio.engines import Voice, installed
from reenact.audio.features import BANDS
from reenact.audio.network import DELAY, STRIDE, NetworkConfig, SpeechNetwork, load_network, save_network
from reenact.audio.phones import NAMES, VISEME_OF, VISEMES
from reenact.audio.recordings import collections_of
from reenact.audio.takes import Take, make_takes, recorded_takes

_CROP = 400  # features of a training example: 4 s
_KEPT = 250  # steps after which the network is written, should the rest be lost
_AVERAGED = 10  # the kept weights are a running mean over one part in so many of the steps
_WEIGHTS = {"asterisk en": 3.0, "stamps en": 3.0, "amazon queen": 1.0, "hibari": 1.0}
_FOREIGN = 0.25
_UNJUDGED = 25  # outputs at its beginning that lack what came before
_VISEMES_OF_NAMES = torch.tensor([VISEMES.index(VISEME_OF[name]) for name in NAMES])


@dataclass(frozen=True)
class TrainConfig:
    """How much and how long.

    Args:
        out: folder of the takes and of the result, ``speech.safetensors``.
        takes: how many pieces of speech, about 19 s each, before ``views``.
        views: in how many degraded versions each is heard; recordings in one less.
        recordings: folder in which packages with recordings are installed or unpacked; none when empty.
        minutes: at most, of each collection of recordings in another language than English.
        steps: of training.
        batch: examples of 4 s in a step.
        rate: highest learning rate.
        width: channels of the network.
        without: an engine that is left out; none when empty.
        start: file of a network of the same width to begin from; random weights when empty.
        seed: of everything random.
    """

    out: Path
    takes: int = 240
    views: int = 3
    recordings: str = ""
    minutes: float = 12.0
    steps: int = 5000
    batch: int = 24
    rate: float = 2e-3
    width: int = 192
    without: str = ""
    start: str = ""
    seed: int = 1


def prepare(config: TrainConfig) -> list[Take]:
    """The takes of the folder, made where they are missing; prints what engines and recordings there are."""
    config.out.mkdir(parents=True, exist_ok=True)
    path = config.out / f"takes_{config.takes}x{config.views}_{config.seed}.safetensors"
    print("synthesisers:", *installed())
    if not path.exists():
        save_takes(path, list(make_takes(config.takes, config.views, config.seed)))
    takes = load_takes(path)
    if config.recordings:
        path = config.out / f"recorded_{config.minutes:g}x{config.views - 1}_{config.seed}.safetensors"
        root = Path(config.recordings)
        print("recordings:", *(f"{name} ({len(items)})" for name, items in collections_of(root).items()), sep="\n  ")
        if not path.exists():
            save_takes(path, list(recorded_takes(root, config.minutes, config.views - 1, config.seed)))
        takes += load_takes(path)
    return takes


def told(takes: Sequence[Take]) -> str:
    """What takes there are: minutes of each engine, and of each collection of recordings."""
    minutes: dict[str, float] = {}
    for take in takes:
        name = take.voice.name if take.voice.engine == "recorded" else take.voice.engine
        minutes[name] = minutes.get(name, 0.0) + len(take.phones) / 6000
    return ", ".join(f"{name} {count:.0f} min" for name, count in minutes.items())


def save_takes(path: Path, takes: Sequence[Take]) -> None:
    """Takes as one file."""
    arrays = {name: np.concatenate([getattr(take, name) for take in takes]) for name in ("features", "phones", "moved")}
    arrays["lengths"] = np.array([len(take.phones) for take in takes])
    voices = json.dumps([asdict(take.voice) for take in takes])
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)
    path.with_suffix(".json").write_text(voices)


def load_takes(path: Path) -> list[Take]:
    """What ``save_takes`` wrote."""
    arrays, voices = load_file(path), json.loads(path.with_suffix(".json").read_text())
    edges = np.concatenate(([0], np.cumsum(arrays["lengths"])))
    return [
        Take(arrays["features"][a:b], arrays["phones"][a:b], arrays["moved"][a:b], Voice(**voice))
        for a, b, voice in zip(edges[:-1], edges[1:], voices, strict=True)
    ]


def train(config: TrainConfig, takes: Sequence[Take]) -> SpeechNetwork:
    """Train on takes; prints how it goes."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    network = SpeechNetwork(NetworkConfig(config.width))
    if config.start:
        network.load_state_dict(load_network(Path(config.start)).state_dict())
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(max(1.0 - _AVERAGED / config.steps, 0.0)))
    averaged = cast(SpeechNetwork, mean.module)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, config.steps + 1, pct_start=0.15)
    began, sums = time.monotonic(), np.zeros(3)
    for step in range(1, config.steps + 1):
        features, phones, moved = _batch(takes, config.batch, rng)
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast where the processor knows it
            losses = _losses(network, features, phones, moved)
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step > config.steps // 4:
            mean.update_parameters(network)
        sums += [float(value.detach()) for value in losses]
        if step % 100 == 0:
            print(
                f"step {step} {time.monotonic() - began:.0f} s:", *(f"{value / 100:.3f}" for value in sums), flush=True
            )
            sums[:] = 0.0
        if step % _KEPT == 0:
            save_network(config.out / f"{name_of(config)}_part.safetensors", averaged, {"steps": step})
    return averaged.eval()


def _batch(takes: Sequence[Take], size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random pieces: features [B, T, SIZE], and at the outputs' moments phones [B, T / 2] and movements."""
    weights = np.array([len(take.phones) * _weight(take.voice) for take in takes], dtype=float)
    features, phones, moved = [], [], []
    for index in rng.choice(len(takes), size, p=weights / weights.sum()):
        take = takes[index]
        start = STRIDE * int(rng.integers(0, max((len(take.phones) - _CROP) // STRIDE, 1)))
        piece = np.zeros((_CROP, take.features.shape[1]), dtype=np.float32)
        part = take.features[start : start + _CROP]
        piece[: len(part)] = part
        features.append(_varied(piece, rng))
        said = np.arange(start, start + _CROP, STRIDE) - DELAY * STRIDE
        said = np.clip(said, 0, len(take.phones) - 1)
        phones.append(take.phones[said])
        moved.append(take.moved[said])
    stacked = np.stack(features), np.stack(phones).astype(np.int64), np.stack(moved).astype(np.float32)
    return torch.from_numpy(stacked[0]), torch.from_numpy(stacked[1]), torch.from_numpy(stacked[2])


def _weight(voice: Voice) -> float:
    """How often a take is heard: real and lifelike English most; foreign phones are less certain."""
    if voice.engine == "recorded":
        return _FOREIGN if voice.foreign else _WEIGHTS.get(voice.name, 1.0)
    return _WEIGHTS.get(voice.engine, 0.5)


def _varied(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spectra as of another throat and microphone, bands and moments hidden, pitch hidden."""
    if rng.random() < 0.8:
        places = np.arange(BANDS)
        source = np.clip(places + rng.uniform(-3, 3) + rng.uniform(-0.06, 0.06) * (places - 32), 0, BANDS - 1)
        low = source.astype(int)
        share = (source - low).astype(np.float32)
        features[:, :BANDS] = features[:, low] * (1 - share) + features[:, np.minimum(low + 1, BANDS - 1)] * share
    knots = rng.normal(0, 0.12, 8)
    features[:, :BANDS] += np.interp(np.arange(BANDS), np.linspace(0, BANDS - 1, 8), knots)
    for _ in range(2):
        if rng.random() < 0.5:
            first, count = rng.integers(0, BANDS), rng.integers(1, 12)
            features[:, first : min(first + count, BANDS)] = 0.0
        if rng.random() < 0.4:
            moment = int(rng.integers(0, len(features)))
            features[moment : moment + int(rng.integers(3, 12))] = 0.0
    if rng.random() < 0.3:
        features[:, BANDS + 1 :] = 0.0
    return features + rng.normal(0, 0.08, features.shape).astype(np.float32)


def _losses(network: SpeechNetwork, features: Tensor, phones: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Errors of phones, of visemes, and of movements with their speeds; contacts count more."""
    logits, guess, _, _ = network(features)
    logits, guess = logits[:, _UNJUDGED:].float(), guess[:, _UNJUDGED:].float()
    phones, moved = phones[:, _UNJUDGED:], moved[:, _UNJUDGED:]
    by_phone = functional.cross_entropy(logits.flatten(0, 1), phones.flatten(), label_smoothing=0.05)
    by_viseme = functional.nll_loss(viseme_log_probabilities(logits).flatten(0, 1), _VISEMES_OF_NAMES[phones].flatten())
    weight = torch.ones(len(MOVEMENTS))
    weight[CLOSE] = 2.0
    place = (weight * (guess - moved) ** 2).mean()
    speed = (weight * (guess.diff(dim=1) - moved.diff(dim=1)) ** 2).mean()
    return by_phone, 0.5 * by_viseme, 20 * place + 60 * speed


def viseme_log_probabilities(logits: Tensor) -> Tensor:  # [..., NAMES] -> [..., VISEMES]
    """Log probability that any of a viseme's phones is said."""
    given = logits.log_softmax(-1)
    groups = [given[..., index == _VISEMES_OF_NAMES].logsumexp(-1) for index in range(len(VISEMES))]
    return torch.stack(groups, dim=-1)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    for item in fields(TrainConfig):
        kind = Path if item.name == "out" else type(item.default)
        parser.add_argument(f"--{item.name}", type=kind, required=item.name == "out", default=item.default)
    config = TrainConfig(**vars(parser.parse_args()))
    takes = [take for take in prepare(config) if take.voice.engine != config.without]
    hours = sum(len(take.phones) for take in takes) / 360_000
    print(f"{len(takes)} takes, {hours:.1f} h of speech: {told(takes)}", flush=True)
    network = train(config, takes)
    kept = {name: value for name, value in asdict(config).items() if name not in ("out", "recordings", "start")}
    about = kept | {"hours": round(hours, 2), "speech": told(takes)}
    path = config.out / f"{name_of(config)}.safetensors"
    save_network(path, network, about)
    print(f"wrote {path}")


def name_of(config: TrainConfig) -> str:
    """What the network's file is called."""
    return f"speech_without_{config.without}" if config.without else "speech"


if __name__ == "__main__":
    main()
