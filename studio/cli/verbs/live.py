"""``studio live``: an avatar that is learned while the footage arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from studio.cli.config import Config
from studio.cli.finish import finish
from studio.cli.rooms import chosen_head, note_origin
from studio.errors import StudioError
from studio.folders import next_free
from studio.logs import say

if TYPE_CHECKING:
    from capture.live import Picture
    from recon.online import Look

_SAY_EVERY = 5.0  # seconds
_SHOW_EVERY = 1.0


def run(config: Config) -> None:
    """Take the stream until it ends or Ctrl-C; leaves a capture, a run and an avatar."""
    from recon.online import TRACK, OnlineConfig, learn_online
    from recon.train_config import TrainConfig

    online = config.build(OnlineConfig, "stream")
    stream, name = _stream(config, online.fps)
    out = config.optional_path("out") or next_free(Path("outputs") / f"{name}_live")
    train = config.build(TrainConfig, "avatar", kernels=config.text("kernels"), seed=config.get("seed", int))
    with ExitStack() as stack:
        hooks = [_telling()]
        if config.flag("view"):
            hooks.append(stack.enter_context(_showing()))

        def on_look(look: Look) -> None:
            for hook in hooks:
                hook(look)

        avatar = learn_online(stream, chosen_head(config), train, out, online, on_look)
    note_origin(out / "run", config, out / "capture", TRACK)
    finish(out / "capture", avatar, next="view", avatar=avatar)


def _stream(config: Config, fps: float) -> tuple[Iterator[Picture], str]:
    """The pictures and a name for them."""
    from capture.live import from_camera, paced
    from studio.media.video_reader import probe

    source, camera = config.optional_path("source"), config.get("camera", int | None)
    if (source is None) == (camera is None):
        raise StudioError(
            "either a video or a camera is needed",
            got="neither" if source is None else "both",
            expected="source=clip.mp4 or camera=0",
        )
    if source is not None:
        probe(source)
        return paced(source, fps), source.stem
    assert camera is not None
    return from_camera(camera, fps), f"camera{camera}"


def _telling() -> Callable[[Look], None]:
    """A line now and then."""
    told = time.monotonic()

    def tell(look: Look) -> None:
        nonlocal told
        if time.monotonic() - told >= _SAY_EVERY:
            told = time.monotonic()
            say(f"{look.seconds:.0f} s: {look.frames} frames, {look.session.steps} steps, loss {look.loss:.3f}")

    return tell


@contextmanager
def _showing() -> Iterator[Callable[[Look], None]]:
    """A viewer that always shows the avatar as it is by now."""
    from recon.latest import LatestAvatar
    from viewer.app import Viewer

    with ExitStack() as stack:
        latest: LatestAvatar | None = None
        viewer: Viewer | None = None
        shown = 0.0

        def show(look: Look) -> None:
            nonlocal latest, viewer, shown
            if time.monotonic() - shown < _SHOW_EVERY:
                return
            shown = time.monotonic()
            if latest is None or viewer is None:
                latest = LatestAvatar(look.session.snapshot())
                viewer = stack.enter_context(Viewer(latest))
                say(f"the avatar is shown at {viewer.url}")
            else:
                latest.now = look.session.snapshot()
                viewer.redraw()

        yield show
