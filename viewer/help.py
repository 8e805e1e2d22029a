"""The help: all keys, and how to get about; and the switch between light and dark."""

from __future__ import annotations

from typing import Any

from viewer.desk import Client, Desk

_BRAND = (96, 140, 190)
_MOVING = "**Drag** to orbit · **right-drag** to move · **wheel** to zoom"


class Help:
    """A button and keys at the foot of the panel.

    Args:
        desk: whose shortcuts are listed; build it last.
        dark: how pages begin.
    """

    def __init__(self, desk: Desk, *, dark: bool) -> None:
        self._desk = desk
        self._begins_dark = dark
        self._dark: dict[int, bool] = {}
        desk.command("Light or dark", "L", self.toggle_theme, is_free=True)
        desk.command("Help", "H", self.show, is_free=True)
        foot = desk.gui.add_button_group("", ("Help", "Light / dark"))

        def choose(event: Any) -> None:
            desk.attempt(self.show if foot.value == "Help" else self.toggle_theme, event.client)

        foot.on_click(choose)
        desk.control.free(foot)

    def show(self, client: Client) -> None:
        """The overlay, in one browser."""
        if client is None:
            return
        rows = [f"| `{shortcut.key}` | {shortcut.label} |" for shortcut in self._desk.shortcuts]
        with client.gui.add_modal("Keys and mouse") as modal:
            client.gui.add_markdown("\n".join((_MOVING, "", "| key | does |", "|---|---|", *rows)))
            close = client.gui.add_button("Close")
            close.on_click(lambda _: modal.close())

    def toggle_theme(self, client: Client) -> None:
        """Light or dark, in one browser."""
        if client is None:
            return
        dark = not self._dark.get(client.client_id, self._begins_dark)
        self._dark[client.client_id] = dark
        client.gui.configure_theme(dark_mode=dark, show_logo=False, show_share_button=False, brand_color=_BRAND)
