"""Sliders for dials, in folders, kept in step with the state on show.

Two sides write a slider: hands in browsers, and the state on show. Whose value counts is decided on one thread, the
server's event loop, where viser receives what hands do: a value that a hand chose is taken there as a wish, in the
same step in which it arrives, and no slider with a wish is written until the state has followed. So a hand is never
overruled by a state that is older than its move, however many updates are under way. A value that the server had sent
just before the move may reach the browser after it; the first wish after such a write is therefore sent back.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import reduce

import viser

from studio.codes import Codes
from viewer.controls import Dial, reset
from viewer.panels.widgets import set_value
from viewer.session import Session


class DialBoard:
    """A folder of sliders for each group of dials.

    Args:
        server: where the sliders are added, in the container that is open.
        session: the state that they turn and follow.
        dials: in the order of the folders.
        opened: the groups whose folders start open.
        let_go: called when a person moves a slider: stops what else moves them.
        mirrors: whether a slider moves its twin on the other side of the face, asked each time.
        is_seen: whether anybody looks at the sliders: those that nobody sees need not follow.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        session: Session,
        dials: list[Dial],
        opened: tuple[str, ...],
        let_go: Callable[[], object],
        mirrors: Callable[[], bool] = lambda: False,
        is_seen: Callable[[], bool] = lambda: True,
    ) -> None:
        self._session = session
        self._dials = {dial.name: dial for dial in dials}
        self._sliders: dict[str, viser.GuiSliderHandle[float]] = {}
        self._loop = server.get_event_loop()
        self._wishes: dict[str, tuple[float]] = {}  # what a hand chose and the state does not show yet
        self._written: set[str] = set()  # sliders that the state has moved since a hand last did; event loop only
        self._lock = threading.Lock()  # of the wishes
        self._turning = threading.Lock()  # one move at a time, or an older one could be shown last
        self._let_go = let_go
        self._mirrors = mirrors
        self._is_seen = is_seen
        for group in dict.fromkeys(dial.group for dial in dials):
            members = [dial for dial in dials if dial.group == group]
            with server.gui.add_folder(group, expand_by_default=group in opened):
                for dial in members:
                    self._add_slider(server, dial)
                self._add_reset(server, group, members)

    @property
    def dials(self) -> list[Dial]:
        return list(self._dials.values())

    def show(self) -> None:
        """Set every slider to the state on show, soon, but for those whose wish the state has not followed yet."""
        if not self._is_seen():
            return
        with suppress(RuntimeError):  # the server has stopped
            self._loop.call_soon_threadsafe(self._write)

    def _write(self) -> None:
        codes = self._session.scene.codes
        with self._lock:
            free = [dial for dial in self._dials.values() if dial.name not in self._wishes]
        for dial in free:
            slider, value = self._sliders[dial.name], dial.shown(codes)
            if slider.value != value:
                set_value(slider, value)
                self._written.add(dial.name)

    def _add_slider(self, server: viser.ViserServer, dial: Dial) -> None:
        value = dial.shown(self._session.scene.codes)
        marks = None if dial.seen is None else tuple(sorted({round(dial.limited(end), 3) for end in dial.seen}))
        slider = server.gui.add_slider(dial.label, dial.low, dial.high, dial.step, value, marks=marks, hint=dial.hint)
        self._sliders[dial.name] = slider

        @slider.on_update
        async def _(event: viser.GuiEvent[viser.GuiSliderHandle[float]]) -> None:
            # Viser calls this on the event loop right after it has stored the value, so that nothing comes between.
            if event.client is not None:
                with self._lock:
                    self._wishes[dial.name] = (slider.value,)
                if dial.name in self._written:
                    self._written.remove(dial.name)
                    _send_back(slider)
                await asyncio.to_thread(self._turn, dial)

    def _add_reset(self, server: viser.ViserServer, group: str, dials: list[Dial]) -> None:
        button = server.gui.add_button(f"Reset {group.lower()}", color="gray")

        @button.on_click
        def _(event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
            self._let_go()
            self._session.pose(lambda codes: reset(codes, self._session.rest, dials))
            self.show()

    def _turn(self, dial: Dial) -> None:
        """Make the state follow a hand; of several moves on the way only the last one counts."""
        with self._turning:
            with self._lock:
                wish = self._wishes.get(dial.name)
            if wish is None:
                return
            self._let_go()
            twin = self._dials.get(dial.twin or "") if self._mirrors() else None
            turned = [dial] if twin is None else [dial, twin]

            def write(codes: Codes, one: Dial) -> Codes:
                return one.write(codes, one.limited(wish[0]))

            self._session.pose(lambda codes: reduce(write, turned, codes))
            with self._lock:
                if self._wishes.get(dial.name) is wish:  # else a newer one is on its way
                    del self._wishes[dial.name]
        self.show()


def _send_back(slider: viser.GuiSliderHandle[float]) -> None:
    """Tell all browsers the value, also those that should have it; viser leaves out what has not changed."""
    value = slider.value
    set_value(slider, slider.min if value != slider.min else slider.max)
    set_value(slider, value)
