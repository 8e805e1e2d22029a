"""Who is on the stage of a timeline, and who of them is being directed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from viewer.desk import Client, Desk
from viewer.direction import Direction


class CastBoard:
    """Controls in the container that is open.

    Args:
        desk: what it works with.
        direction: the project whose characters they are.
        on_choice: called when another one is directed.
    """

    def __init__(self, desk: Desk, direction: Direction, on_choice: Callable[[], object]) -> None:
        self._direction = direction
        gui = desk.gui
        with gui.add_folder("Characters", expand_by_default=False):
            self._who: Any = gui.add_dropdown("Lanes of", (direction.chosen,))
            path = gui.add_text("Avatar", "", hint="An avatar's folder, below the project's folder")
            name = gui.add_text("Called", "", hint="How the project calls the character; the folder's name when empty")
            cast = gui.add_button_group("", ("Add character", "Remove"))

        def change(_: Client) -> None:
            if cast.value == "Remove":
                direction.remove(direction.chosen)
            else:
                folder = desk.inside(path.value)
                usual = folder.parent.name if folder.name == "avatar" else folder.name
                direction.add(name.value.strip() or usual, folder)
            self.show()
            on_choice()

        def choose(_: Client) -> None:
            direction.choose(str(self._who.value))
            on_choice()

        cast.on_click(lambda event: desk.attempt(change, event.client))
        self._who.on_update(lambda event: desk.attempt(choose, event.client) if event.client else None)

    def show(self) -> None:
        """The characters as the project has them."""
        options = tuple(self._direction.data["characters"])
        if tuple(self._who.options) != options:
            self._who.options = options
        if self._who.value != self._direction.chosen:
            self._who.value = self._direction.chosen
