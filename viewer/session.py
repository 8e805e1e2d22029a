"""What all browsers of one viewer share: the state shown, what is behind it, and who wants to know of changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from studio.codes import Codes

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """What is shown, wherever it is looked at from.

    Args:
        codes: the driving state, without batch dimension.
        backdrop: sRGB colour behind the avatar, 0..255.
        with_footage: show the avatar's own background where the view is its own camera's.
    """

    codes: Codes
    backdrop: Color
    with_footage: bool = True


class Session:
    """The scene on show. Changes may come from any thread.

    Args:
        scene: shown first; its codes are what "reset" goes back to.
    """

    def __init__(self, scene: Scene) -> None:
        self.rest = scene.codes
        self._scene = scene
        self._listeners: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def scene(self) -> Scene:
        """What is on show."""
        return self._scene

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change, on the thread that made it."""
        self._listeners.append(listener)

    def pose(self, edit: Callable[[Codes], Codes]) -> None:
        """Replace the state by what ``edit`` makes of it."""
        self._change(lambda scene: replace(scene, codes=edit(scene.codes)))

    def set_background(self, backdrop: Color, with_footage: bool) -> None:
        """Choose what is behind the avatar."""
        self._change(lambda scene: replace(scene, backdrop=backdrop, with_footage=with_footage))

    def _change(self, edit: Callable[[Scene], Scene]) -> None:
        with self._lock:
            self._scene = edit(self._scene)
        for listener in self._listeners:
            listener()
