"""Learning an avatar while the footage arrives: usable after the first seconds, better with every further one.

One thread records and tracks (``capture.live``, ``capture.tracking.live``), the caller's trains between the frames.
What is trained on is drawn from a bounded pool, as RGBAvatar (arXiv 2503.12886) does with its recent and global pools:
the newest frames, so that what has just been seen is learned soon; a fair sample of everything, so that nothing is
forgotten (Vitter 1985, "Random sampling with a reservoir"); and the expressions farthest from the usual, of which a
fair sample holds few.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capture.live import Framing, Picture, Recorder
from capture.tracking.live import Known, LiveTracker
from recon.avatars.splats import SplatAvatar
from recon.binding import compacted
from recon.bust import has_torso, with_bust
from recon.corrections import CodeStatistics
from recon.interrupt import deferred_interrupt
from recon.loop import open_run
from recon.train import SplatSession, TrainConfig
from studio.avatar import RenderOutput
from studio.cameras import Camera
from studio.captures import Capture, capture_body, open_capture, write_cameras
from studio.code_range import CodeRange, measure_range
from studio.codes import Codes, CodeSpace, CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, require_new, write_folder
from studio.heads.model import HeadModel
from studio.kernels.backends import choose_kernels
from studio.kernels.warmup import warm_up
from studio.logs import say

TRACK = "live"
_CHUNK_SECONDS = 0.5  # of footage that is tracked at once
_SHARES = (0.4, 0.4, 0.2)  # of the draws: recent frames, the reservoir, rare expressions
_MEAN_REACH = 0.2  # of the steps so far: how far back the running mean of the parameters reaches
_MEAN_STEPS = 30  # and so many more, so that the first ones count at once
_CALMING = 400  # steps after which learning rates have fallen to half
_LEAST_RATE = 0.25
_IDLE_SECONDS = 0.02


@dataclass(frozen=True)
class OnlineConfig:
    """How footage is taken while it arrives.

    Args:
        fps: frames per second that are recorded and learned from.
        size: side of the square images in pixels.
        pool: most frames that are trained on at any time.
        extra: seconds of training after the stream has ended.
        landmarker: MediaPipe's model bundle; found through ``studio.assets`` when not given.
    """

    fps: float = 8.0
    size: int = 256
    pool: int = 600
    extra: float = 0.0
    landmarker: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.fps <= 60:
            raise StudioError("impossible frame rate", got=self.fps, expected="1 to 60 frames per second")
        if self.pool < 8:
            raise StudioError("the pool is too small", got=self.pool, expected="at least 8 frames")


class ReplayPool:
    """At most ``capacity`` frames of a stream: the newest, a fair sample of all, and the least usual.

    Args:
        capacity: how many in all; a quarter each for the newest and the least usual.
        seed: of the sample and of the draws.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self._sample_size = capacity - 2 * (capacity // 4)
        self._recent: deque[int] = deque(maxlen=capacity // 4)
        self._sample: list[int] = []
        self._rare: list[int] = []
        self._rarest = capacity // 4
        self._offered = 0
        self._rng = np.random.default_rng(seed)
        self.drawn = 0

    def offer(self, frame: int) -> None:
        """Add the newest frame."""
        self._recent.append(frame)
        self._offered += 1
        if len(self._sample) < self._sample_size:
            self._sample.append(frame)
        elif (place := int(self._rng.integers(self._offered))) < self._sample_size:
            self._sample[place] = frame

    def rank(self, unusual: np.ndarray) -> None:
        """Keep the frames for which ``unusual`` [T], over all frames so far, is greatest."""
        best = np.argsort(-unusual, kind="stable")[: min(self._rarest, max(len(unusual) // 5, 1))]
        self._rare = [int(frame) for frame in best]

    def next(self) -> int:
        """A frame to train on."""
        self.drawn += 1
        pools = (self._recent, self._sample, self._rare or self._sample)
        pool = pools[int(self._rng.choice(3, p=_SHARES))]
        return int(pool[int(self._rng.integers(len(pool)))])

    def frames(self) -> set[int]:
        """All that may be drawn."""
        return {*self._recent, *self._sample, *self._rare}


@dataclass(frozen=True)
class Progress:
    """What there is at some moment of a stream.

    Args:
        capture: as recorded.
        track: its codes.
        known: of the person.
        framing: of the pictures.
    """

    capture: Capture
    track: CodeTrack
    known: Known
    framing: Framing


class Producer:
    """Records and tracks a stream on a thread of its own; ``newest`` is what there is so far."""

    def __init__(self, stream: Iterable[Picture], recorder: Recorder, head: HeadModel) -> None:
        self.newest: Progress | None = None
        self.error: BaseException | None = None
        self._stream, self._recorder, self._head = stream, recorder, head
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="footage", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Take no more pictures; returns when the last one is tracked."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            tracker: LiveTracker | None = None
            chunk, new = max(round(_CHUNK_SECONDS * self._recorder.fps), 1), 0
            for number, frame in self._stream:
                if self._recorder.take(number, frame):
                    new += 1
                    tracker = tracker or self._tracker()
                    if self.newest is None or new >= chunk:
                        self._publish(tracker)
                        new = 0
                if self._stopped.is_set():
                    break
            if tracker is not None and new:
                self._publish(tracker)
        except BaseException as error:
            self.error = error
        finally:
            self._recorder.close()

    def _tracker(self) -> LiveTracker:
        framing = self._recorder.framing
        assert framing is not None
        return LiveTracker(self._head, framing.camera.Ks[0], self._recorder.fps)

    def _publish(self, tracker: LiveTracker) -> None:
        capture = self._recorder.capture()
        track = tracker.update(capture, self._recorder.landmarks())
        assert tracker.known is not None
        assert self._recorder.framing is not None
        self.newest = Progress(capture, track, tracker.known, self._recorder.framing)


class OnlineSession(SplatSession):
    """Training on a capture that grows. Gaussians stay; head, codes and what the networks see of them are renewed."""

    def __init__(self, progress: Progress, head: HeadModel, config: TrainConfig, pool: int) -> None:
        self._whole_head = head
        super().__init__(progress.capture, progress.track, head, replace(config, validation=0.0, split="train"))
        self._identity = _identity(progress.track, head)
        self._pool = ReplayPool(pool, config.seed)
        self._admit(progress, 0)
        self.steps = 0

    def renew(self, progress: Progress) -> None:
        """Take in what has been recorded since, and what is known better now."""
        before = len(self.codes.expression)
        identity = _identity(progress.track, self._whole_head)
        self.codes = progress.track.codes
        person = _person(self._whole_head, identity)
        self.views.renew(progress.capture, person, self.codes)
        known_better = not torch.equal(identity, self._identity)
        self._identity = identity
        self._admit(progress, before)
        if known_better:
            self._reshape(progress.track, person)

    def _admit(self, progress: Progress, before: int) -> None:
        valid = progress.track.valid
        self.keys = [(t, 0) for t in range(len(valid))]
        for frame in range(before, len(valid)):
            if bool(valid[frame]):
                self._pool.offer(frame)
        expression = progress.track.codes.expression
        away = (expression - expression[valid].mean(0)).norm(dim=-1)
        self._pool.rank(torch.where(valid, away, -1.0)[: len(valid)].numpy())
        self.sampler = self._pool

    def _reshape(self, track: CodeTrack, person: HeadModel) -> None:
        """Another shape of the head under the same Gaussians, and networks that see the codes of all frames."""
        avatar, seen = self.avatar, track.codes[track.valid]
        statistics = CodeStatistics.fit(seen, person, self.config.model.components)
        before, after = avatar.statistics.components(seen), statistics.components(seen)
        learned = avatar.learned
        learned.weights = learned.weights.carried_over(before, after, statistics.sizes.tolist())
        small, _ = compacted(person, self._placed)
        code_range = measure_range(track)
        self.avatar = replace(avatar, head=small, statistics=statistics, code_range=code_range, learned=learned)
        known = self.optimizer.state
        self.optimizer = self._new_optimizer()
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in known:
                    self.optimizer.state[parameter] = known[parameter]
        now = self._copied("mean")
        self._mean = {name: value if _is_new(name) else self._mean[name] for name, value in now.items()}

    def train_once(self) -> float:
        """One step; returns the loss."""
        loss = self.step(self.steps)
        self.steps += 1
        return loss

    def _rate(self, step: int) -> float:
        return max(_LEAST_RATE, _CALMING / (_CALMING + step))

    def _reach(self, step: int) -> float:
        return _MEAN_STEPS + _MEAN_REACH * step

    def snapshot(self) -> SplatAvatar:
        """The avatar as it is now, by itself: training on does not change it."""
        learned = copy.deepcopy(self.avatar.learned)
        prefix = "mean/learned/"
        learned.load_state_dict({k.removeprefix(prefix): v for k, v in self._mean.items() if k.startswith(prefix)})
        background = self.backdrop.image(0)
        if background is not None and not self.backdrop.random:
            background = self._mean["mean/backdrop/images"][0].clone().clamp(0, 1)
        return replace(self.avatar, learned=learned.requires_grad_(False), background=background)

    def result(self) -> tuple[SplatAvatar, dict[str, Any]]:
        """The avatar, and how many steps and frames it has seen."""
        return self.snapshot(), {"step": self.steps, "frames": len(self.keys), "pool": len(self._pool.frames())}


def _is_new(name: str) -> bool:
    """Whether a parameter has just been replaced, so that its running mean says nothing."""
    return name.startswith("mean/learned/weights.")


def _identity(track: CodeTrack, head: HeadModel) -> Tensor:
    return torch.from_numpy(np.asarray(track.extras.get("identity", np.zeros(head.num_identity)))).float()


def _person(head: HeadModel, identity: Tensor) -> HeadModel:
    person = head.with_identity(identity)
    return person if has_torso(person) else with_bust(person)


class LatestAvatar:
    """An avatar that stands for whichever one is the latest; ``now`` may be replaced at any time, from any thread."""

    def __init__(self, now: SplatAvatar) -> None:
        self.now = now

    @property
    def space(self) -> CodeSpace:
        return self.now.space

    @property
    def camera(self) -> Camera:
        return self.now.camera

    @property
    def codes(self) -> Codes:
        return self.now.codes

    @property
    def code_range(self) -> CodeRange:
        return self.now.code_range

    @property
    def background(self) -> Tensor | None:
        return self.now.background

    def render(self, camera: Camera, codes: Codes) -> RenderOutput:
        """As the avatar of this moment renders."""
        return self.now.render(camera, codes)


@dataclass(frozen=True)
class Look:
    """What ``on_look`` is told after each step.

    Args:
        seconds: since the stream began.
        frames: recorded so far.
        loss: of the step.
        session: its ``snapshot`` is the avatar at this moment.
        progress: what is known of the footage.
    """

    seconds: float
    frames: int
    loss: float
    session: OnlineSession
    progress: Progress


def learn_online(
    stream: Iterable[Picture],
    head: HeadModel,
    config: TrainConfig,
    out: Path,
    online: OnlineConfig | None = None,
    on_look: Callable[[Look], None] | None = None,
) -> Path:
    """Record, track and train until the stream ends, or until Ctrl-C, which keeps what there is.

    Args:
        stream: numbered pictures, see ``capture.live``.
        head: the head model.
        config: how an avatar is trained; its iterations, splits, growth and levels have no meaning here.
        out: a new folder: ``capture`` with the track "live", and ``run`` with the avatar.
        online: how footage is taken.
        on_look: called after each step.

    Returns:
        The avatar folder, ``out``/run/avatar.

    Raises:
        StudioError: ``out`` exists, or the stream ended before a face was seen for long enough.
    """
    online = online or OnlineConfig()
    config = replace(config, levels=(), growth=replace(config.growth, rounds=0))
    require_new(out)
    warm_up().join()  # kernels that are not compiled yet must not cost footage
    body: dict[str, Any] = {"format": "stream"}
    with write_folder(out / "capture", Manifest(kind="capture", body=body)) as folder:
        recorder = Recorder(folder, online.fps, online.size, bundle=online.landmarker)
        producer = Producer(stream, recorder, head)
        session, log = _train(producer, head, config, online, on_look)
        progress = producer.newest
        assert progress is not None
        capture = progress.capture
        body |= capture_body(capture.timestep_ids, capture.fps, capture.splits)
        write_cameras(folder / "cameras.json", capture.cameras)
        recorder.landmarks().save(folder / "landmarks.npz")
    session.views.capture = open_capture(out / "capture")  # where its images are from now on
    return _store(session, progress.track, config, out, log)


def _train(
    producer: Producer,
    head: HeadModel,
    config: TrainConfig,
    online: OnlineConfig,
    on_look: Callable[[Look], None] | None,
) -> tuple[OnlineSession, list[dict[str, float]]]:
    """Train while the producer goes on; the session with all that was recorded, and figures for metrics.jsonl."""
    began, log = time.monotonic(), list[dict[str, float]]()
    session: OnlineSession | None = None
    taken: Progress | None = None
    until: float | None = None
    with deferred_interrupt() as interrupt:
        while not interrupt.requested:
            now = time.monotonic()
            if producer.ended and until is None:
                until = now + online.extra
            newest = producer.newest
            if newest is not None and newest is not taken:
                if session is None:
                    session = OnlineSession(newest, head, config, online.pool)
                    say(f"an avatar after {time.monotonic() - began:.1f} s; it improves until the stream ends (Ctrl-C)")
                else:
                    session.renew(newest)
                taken = newest
            if until is not None and now >= until and newest is taken:
                break
            if session is None or taken is None:
                time.sleep(_IDLE_SECONDS)
                continue
            loss, seconds = session.train_once(), time.monotonic() - began
            if session.steps % config.check_every == 0:
                log.append({"step": session.steps, "loss": loss, "seconds": seconds, "frames": len(session.keys)})
            if on_look is not None:
                on_look(Look(seconds, len(session.keys), loss, session, taken))
        producer.stop()
    if producer.error is not None and session is None:
        raise producer.error
    if session is None:
        raise StudioError("the stream ended before there was an avatar", expected="a face for two seconds or more")
    if producer.error is not None:
        say(f"warning: the footage broke off: {producer.error}")
    if producer.newest is not None and producer.newest is not taken:
        session.renew(producer.newest)
    return session, log


def _store(
    session: OnlineSession, track: CodeTrack, config: TrainConfig, out: Path, log: list[dict[str, float]]
) -> Path:
    """Write the track and the run of a capture that is whole by now."""
    capture, run = out / "capture", out / "run"
    digest = content_hash(capture)
    track.save(capture / "tracks" / TRACK, parents={capture.name: digest})
    parents = {capture.name: digest, "track": track.hash}
    open_run(parents, config, run, resume=False)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    avatar, body = session.result()
    manifest = Manifest(
        kind="avatar",
        kernels=choose_kernels(config.kernels, "cpu"),
        seed=config.seed,
        parents=parents,
        body={**body, "config": asdict(config)},
    )
    avatar.save(run / "avatar", manifest)
    return run / "avatar"
