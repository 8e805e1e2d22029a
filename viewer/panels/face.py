"""The tab that makes faces: a palette, every expression channel as a slider, and what the avatar never saw."""

from __future__ import annotations

from dataclasses import replace

from studio.codes import Codes
from viewer.controls import beyond_limits, face_dials
from viewer.desk import Desk, Tab
from viewer.faces import mirrored, palette, randomized
from viewer.panels.dial_board import DialBoard
from viewer.presets import presets_for

_OPEN_FOLDERS = ("Eyes", "Jaw")
_WITHIN = "All within what was recorded"
_MORE = "More faces …"


class FacePanel:
    """Controls in the container that is open."""

    def __init__(self, desk: Desk) -> None:
        self._session = session = desk.session
        gui, space = desk.gui, desk.session.rest.space
        names = presets_for(space)
        self._faces = palette(space)
        more = [name for name in self._faces if name not in names]
        faces = gui.add_button_group("Try", names, visible=bool(names))
        palette_box = gui.add_dropdown("Face", (_MORE, *more), hint="Emotions and the single shapes of the code space")
        self._strength = gui.add_slider("Strength", 0.0, 1.0, 0.05, 1.0, hint="Of the faces above")
        turn = gui.add_button_group("Change", ("Random", "Mirror", "Reset"))
        both = gui.add_checkbox("Both sides", True, hint="Left and right move together")
        self._range_note = gui.add_markdown(_WITHIN)
        dials = face_dials(desk.avatar.code_range)
        self._pages = desk.pages
        self._limits = beyond_limits(desk.avatar.code_range)
        self.board = DialBoard(
            desk.server, session, dials, _OPEN_FOLDERS, session.take_over, lambda: both.value, self._is_seen
        )
        session.on_follow(self._follow)
        session.on_change(self._warn)
        desk.pages.on_tab(self._follow)
        self._worn = ""
        faces.on_click(lambda _: self.wear(faces.value))
        palette_box.on_update(lambda _: self.wear(palette_box.value) if palette_box.value != _MORE else None)
        self._strength.on_update(lambda _: self.wear(self._worn) if self._worn else None)
        turn.on_click(lambda _: self._change(turn.value))
        desk.command("Random face", "X", lambda _: self._change("Random"))
        desk.command("Mirror the face", "M", lambda _: self._change("Mirror"))

    def wear(self, name: str) -> None:
        """Make a face."""
        self._worn = name
        self._session.take_over()
        self._session.pose(lambda codes: self._faces[name](codes, self._session.rest, self._strength.value))
        self.board.show()

    def _change(self, how: str) -> None:
        self._session.take_over()
        self._worn = ""
        rest = self._session.rest
        changes = {
            "Random": lambda codes: randomized(_at_rest(codes, rest), self.board.dials),
            "Mirror": lambda codes: mirrored(codes, self.board.dials),
            "Reset": lambda codes: _at_rest(codes, rest),
        }
        self._session.pose(changes[how])
        self.board.show()

    def _is_seen(self) -> bool:
        return self._pages.is_open(TAB.label)

    def _follow(self) -> None:
        if self._is_seen():
            self.board.show()
            self._warn()

    def _warn(self) -> None:
        """Say which channels are where the avatar has learned nothing, so that odd looks explain themselves.

        Always one line, so that nothing moves under the hand.
        """
        if not self._is_seen():
            return
        codes, (low, high) = self._session.scene.codes, self._limits
        beyond = ((codes.expression < low) | (codes.expression > high)).nonzero().flatten().tolist()
        names = [codes.space.channels[index] for index in beyond]
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        text = f"Beyond the recording: {names[0]}{more}" if names else _WITHIN
        if self._range_note.content != text:
            self._range_note.content = text


def _at_rest(codes: Codes, rest: Codes) -> Codes:
    return replace(codes, expression=rest.expression.clone())


TAB = Tab("Face", 20, FacePanel, lambda desk: len(desk.avatar.space) > 0)
