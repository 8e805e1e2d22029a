"""Who may move things: everybody, or the one browser that has taken the controls while the others watch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import viser
from viser._messages import CommandTriggerMessage, GuiUpdateMessage, TransformControlsUpdateMessage

from viewer.server import LocalServer

_TAKE, _LET_GO, _TAKEN = "Take the controls", "Let go of the controls", "Another browser has the controls"


class Control:
    """Lets the controls that all browsers share be moved by their holder only, where there is one.

    Looking is free: cameras, and what was declared ``free``.

    Args:
        server: whose controls.

    Attributes:
        holder: number of the browser that has the controls; None for nobody.
    """

    def __init__(self, server: LocalServer) -> None:
        self._server = server
        self._free: set[str] = set()
        self._buttons: dict[int, Any] = {}
        self._lock = threading.RLock()
        self.holder: int | None = None
        for kind in (GuiUpdateMessage, CommandTriggerMessage, TransformControlsUpdateMessage):
            self._guard(kind)
        server.on_client_connect(lambda client: self._show())
        server.on_client_disconnect(self._leave)

    def free(self, control: Any) -> None:
        """Leave a control to everybody, since it moves nothing but what its own browser sees."""
        self._free.add(control._impl.uuid)

    def take(self, client: viser.ClientHandle | None) -> None:
        """Take the controls, or let go of them; nothing while another browser has them."""
        with self._lock:
            if client is not None and self.holder in (None, client.client_id):
                self.holder = client.client_id if self.holder is None else None
                self._show()

    def _leave(self, client: viser.ClientHandle) -> None:
        with self._lock:
            self._buttons.pop(client.client_id, None)
            if self.holder == client.client_id:
                self.holder = None
            self._show()

    def _guard(self, kind: type[Any]) -> None:
        """Ask before viser's own handlers do. (Viser has no place to say so.)"""
        interface = self._server._websock_server
        for usual in list(interface._incoming_handlers.get(kind, ())):
            interface.unregister_handler(kind, usual)
            interface.register_handler(kind, self._asked(usual))

    def _asked(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        async def handle(client_id: int, message: Any) -> None:
            if self.holder in (None, client_id) or getattr(message, "uuid", None) in self._free:
                done = usual(client_id, message)
                if done is not None:
                    await done
            elif isinstance(message, GuiUpdateMessage):
                self._put_back(client_id, message.uuid)

        return handle

    def _put_back(self, client_id: int, uuid: str) -> None:
        """Show a browser the value that its hand could not change."""
        handle: Any = self._server.gui._gui_input_handle_from_uuid.get(uuid)
        client = self._server.get_clients().get(client_id)
        if handle is not None and client is not None and not handle._impl.is_button:
            client._websock_connection.queue_message(GuiUpdateMessage(uuid, {"value": handle._impl.value}))

    def _show(self) -> None:
        """A button in each browser, where there are several."""
        with self._lock:
            clients = self._server.get_clients()
            for number, client in clients.items():
                if len(clients) < 2 and self.holder is None:
                    button = self._buttons.pop(number, None)
                    if button is not None:
                        button.remove()
                    continue
                if number not in self._buttons:
                    button = self._buttons[number] = client.gui.add_button(_TAKE, color="gray", order=-0.5)
                    button.on_click(lambda event: self.take(event.client))
                button = self._buttons[number]
                button.label = _LET_GO if self.holder == number else _TAKEN if self.holder is not None else _TAKE
                button.disabled = self.holder not in (None, number)
