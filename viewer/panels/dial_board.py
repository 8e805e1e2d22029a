"""Sliders for dials, in folders, kept in step with the state on show."""

from __future__ import annotations

import threading
from collections.abc import Callable
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
        let_go: called when a person moves a slider: stops what else moves them, and says whether something did.
        mirrors: whether a slider moves its twin on the other side of the face, asked each time.
    """

    def __init__(
        self,
        server: viser.ViserServer,
        session: Session,
        dials: list[Dial],
        opened: tuple[str, ...],
        let_go: Callable[[], bool],
        mirrors: Callable[[], bool] = lambda: False,
    ) -> None:
        self._session = session
        self._dials = {dial.name: dial for dial in dials}
        self._sliders: dict[str, viser.GuiSliderHandle[float]] = {}
        self._lock = threading.Lock()
        self._let_go = let_go
        self._mirrors = mirrors
        for group in dict.fromkeys(dial.group for dial in dials):
            members = [dial for dial in dials if dial.group == group]
            with server.gui.add_folder(group, expand_by_default=group in opened):
                for dial in members:
                    self._add_slider(server, dial)
                self._add_reset(server, group, members)

    @property
    def dials(self) -> list[Dial]:
        return list(self._dials.values())

    def show(self, held: Dial | None = None) -> None:
        """Set every slider to the state on show, but for one that a hand holds."""
        with self._lock:
            codes = self._session.scene.codes
            for dial in self._dials.values():
                if dial is not held:
                    set_value(self._sliders[dial.name], dial.shown(codes))

    def _add_slider(self, server: viser.ViserServer, dial: Dial) -> None:
        value = dial.shown(self._session.scene.codes)
        slider = server.gui.add_slider(dial.label, dial.low, dial.high, dial.step, value, hint=dial.hint)
        self._sliders[dial.name] = slider
        slider.on_update(lambda event: self._turn(dial) if event.client is not None else None)

    def _add_reset(self, server: viser.ViserServer, group: str, dials: list[Dial]) -> None:
        button = server.gui.add_button(f"Reset {group.lower()}", color="gray")

        @button.on_click
        def _(event: viser.GuiEvent[viser.GuiButtonHandle]) -> None:
            self._let_go()
            self._session.pose(lambda codes: reset(codes, self._session.rest, dials))
            self.show()

    def _turn(self, dial: Dial) -> None:
        """A person moved a slider: take where it stands by now, for events may overtake each other."""
        slider = self._sliders[dial.name]
        wish = slider.value
        if self._let_go():
            set_value(slider, wish)
        twin = self._dials.get(dial.twin or "") if self._mirrors() else None
        turned = [dial] if twin is None else [dial, twin]

        def write(codes: Codes, one: Dial) -> Codes:
            return one.write(codes, one.limited(slider.value))

        self._session.pose(lambda codes: reduce(write, turned, codes))
        self.show(held=dial)
