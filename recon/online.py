"""Learning an avatar while the footage arrives: usable after the first seconds, better with every further one.

One thread records and tracks (``recon.footage``), the caller's trains between the frames (``recon.online_session``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from capture.live import Picture, Recorder
from recon.footage import Producer, Progress
from recon.interrupt import deferred_interrupt
from recon.loop import open_run
from recon.online_session import OnlineSession
from recon.train_config import TrainConfig
from studio.captures import capture_body, open_capture, write_cameras
from studio.codes import CodeTrack
from studio.errors import StudioError
from studio.folders import Manifest, content_hash, require_new, write_folder
from studio.heads.model import HeadModel
from studio.kernels.backends import choose_kernels
from studio.kernels.warmup import warm_up
from studio.logs import say

TRACK = "live"
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
        kernels=choose_kernels("auto", session.device),
        seed=config.seed,
        parents=parents,
        body={**body, "config": asdict(config)},
    )
    avatar.save(run / "avatar", manifest)
    return run / "avatar"
