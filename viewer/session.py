"""What all browsers of one viewer share: the state shown, how it is shown, and who wants to know of changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from reenact.project.scene import Actor
from studio.codes import Codes

Color = tuple[int, int, int]
Listener = Callable[[], object]


@dataclass(frozen=True)
class Split:
    """What stands beside the avatar.

    Args:
        other: nothing, the footage of the capture's camera, or the second avatar.
        layout: next to each other, or one picture with a boundary that can be moved.
        at: where the boundary is, 0..1 of the width.
    """

    other: Literal["none", "footage", "rival"] = "none"
    layout: Literal["side", "wipe"] = "side"
    at: float = 0.5


@dataclass(frozen=True)
class Scene:
    """What is shown, wherever it is looked at from.

    Args:
        codes: the driving state, without batch dimension.
        backdrop: sRGB colour behind the avatar, 0..255.
        with_footage: show the avatar's own background where the view is its own camera's.
        mode: how it is shown, a name in ``viewer.modes``.
        frame: the timestep of the capture that belongs to the state.
        split: what stands beside it.
        overlays: what is drawn over it, names in ``viewer.overlays``.
        company: other characters beside the avatar, at ``frame`` of their codes.
    """

    codes: Codes
    backdrop: Color
    with_footage: bool = True
    mode: str = "colour"
    frame: int = 0
    split: Split = Split()
    overlays: frozenset[str] = frozenset()
    company: tuple[Actor, ...] = ()


class Session:
    """The scene on show. Changes may come from any thread.

    Args:
        scene: shown first; its codes are what "reset" goes back to.
    """

    def __init__(self, scene: Scene) -> None:
        self.rest = scene.codes
        self._scene = scene
        self._listeners: list[Listener] = []
        self._followers: list[Listener] = []
        self._movers: list[Callable[[], bool]] = []
        self._lock = threading.Lock()

    @property
    def scene(self) -> Scene:
        """What is on show."""
        return self._scene

    def on_change(self, listener: Listener) -> None:
        """Call ``listener`` after every change, on the thread that made it."""
        self._listeners.append(listener)

    def on_follow(self, listener: Listener) -> None:
        """Call ``listener`` when controls should catch up with the state."""
        self._followers.append(listener)

    def add_mover(self, stop: Callable[[], bool]) -> None:
        """Something that moves the avatar by itself; ``stop`` ends that and says whether it was moving."""
        self._movers.append(stop)

    def take_over(self, *, but: Callable[[], bool] | None = None) -> bool:
        """A person, or the mover whose ``stop`` is ``but``, takes over: whatever else moves the avatar stops."""
        return any([stop() for stop in self._movers if stop != but])

    def follow(self) -> None:
        """Make the controls catch up with the state."""
        for follower in self._followers:
            follower()

    def pose(self, edit: Callable[[Codes], Codes], *, frame: int | None = None) -> None:
        """Replace the state by what ``edit`` makes of it, and the timestep where one is given."""

        def change(scene: Scene) -> Scene:
            return replace(scene, codes=edit(scene.codes), frame=scene.frame if frame is None else frame)

        self._change(change)

    def set_background(self, backdrop: Color, with_footage: bool) -> None:
        """Choose what is behind the avatar."""
        self.show(backdrop=backdrop, with_footage=with_footage)

    def show(self, **settings: Any) -> None:
        """Change how the scene is shown: fields of ``Scene`` other than its codes."""
        self._change(lambda scene: replace(scene, **settings))

    def _change(self, edit: Callable[[Scene], Scene]) -> None:
        with self._lock:
            changed = edit(self._scene)
            self._scene = changed
        for listener in self._listeners:
            listener()
