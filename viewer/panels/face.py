"""The tab that makes faces: every expression channel as a slider, faces to try, and what the avatar never saw."""

from __future__ import annotations

from collections.abc import Callable

import viser

from studio.code_range import CodeRange
from viewer.controls import face_dials
from viewer.panels.dial_board import DialBoard
from viewer.presets import presets_for, wear
from viewer.session import Session

_OPEN_FOLDERS = ("Eyes", "Jaw")
_WITHIN = "All within what was recorded"


class FacePanel:
    """Controls in the container that is open.

    Args:
        server: where the controls are added.
        session: the state that they change.
        code_range: of the recording that the avatar was learned from.
        let_go: as for the sliders, see ``DialBoard``.
    """

    def __init__(
        self, server: viser.ViserServer, session: Session, code_range: CodeRange, let_go: Callable[[], bool]
    ) -> None:
        self._session = session
        self._let_go = let_go
        gui = server.gui
        names = presets_for(session.rest.space)
        faces = gui.add_button_group("Try", names, visible=bool(names))
        both = gui.add_checkbox("Both sides", True, hint="Left and right move together")
        self._range_note = gui.add_markdown(_WITHIN)
        self.board = DialBoard(server, session, face_dials(code_range), _OPEN_FOLDERS, let_go, lambda: both.value)
        faces.on_click(lambda _: self.wear(faces.value))
        session.on_change(self._warn)

    def wear(self, preset: str) -> None:
        """Make a face."""
        self._let_go()
        self._session.pose(lambda codes: wear(codes, self._session.rest, preset))
        self.board.show()

    def _warn(self) -> None:
        """Say which channels are where the avatar has learned nothing, so that odd looks explain themselves.

        Always one line, so that nothing moves under the hand.
        """
        codes = self._session.scene.codes
        names = [dial.name for dial in self.board.dials if dial.is_beyond(codes)]
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        text = f"Beyond the recording: {names[0]}{more}" if names else _WITHIN
        if self._range_note.content != text:
            self._range_note.content = text
