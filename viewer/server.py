"""The web server under the viewer: a port that is free, no talk of its own, and no way out to other machines."""

from __future__ import annotations

import secrets
import socket
import warnings
from contextlib import suppress

import rich
import viser
from viser._messages import FileTransferStartUpload

from studio.errors import StudioError
from studio.logs import say
from viewer.gate import LOOPBACK, Gate, guarded

_FIRST_PORT = 8080
_PORTS_TRIED = 100


class LocalServer(viser.ViserServer):
    """A viser server behind a gate that never opens a tunnel: a browser could otherwise ask it to publish the avatar.

    Attributes:
        gate: who may come in.
    """

    gate: Gate

    def request_share_url(self, verbose: bool = True) -> None:
        """Refuse: the viewer is served where the user asked for it, and nowhere else."""
        return None


def open_server(host: str, port: int | None, label: str) -> LocalServer:
    """Start serving.

    Args:
        host: address to listen on.
        port: this one, 0 for any, or None for the first free one from 8080 on.
        label: title of the control panel.

    Raises:
        StudioError: the port is taken, or this machine has no such address.
    """
    chosen = _free_port(host) if port is None else port
    if port is not None:
        _require_free(host, port)
    # A browser may leave at any moment, also while its picture is being drawn: that is no reason for a warning.
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")
    # viser prints a banner, and a line when it stops; the viewer says the one line that matters itself.
    rich.get_console().quiet = True
    gate = Gate(None if host in LOOPBACK else secrets.token_urlsafe(18))
    with guarded(gate):
        server = LocalServer(host=host, port=chosen, label=label, verbose=False)
    server.gate = gate
    refuse_uploads(server.gui)
    server.on_client_connect(lambda client: refuse_uploads(client.gui))
    if chosen and server.get_port() != chosen:  # taken by another program since it was tried
        server.stop()
        raise _taken(chosen, "another program took it just now")
    return server


def refuse_uploads(gui: viser.GuiApi) -> None:
    """Take no files: the viewer asks for none, and viser would keep the pieces of any that is sent."""
    with suppress(AssertionError):  # refused already
        gui._websock_interface.unregister_handler(FileTransferStartUpload)


def address(host: str, port: int, token: str | None = None) -> str:
    """What to type into a browser."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
    base = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    return base if token is None else f"{base}/?token={token}"


def _free_port(host: str) -> int:
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS_TRIED):
        if _problem(host, port) is None:
            if port != _FIRST_PORT:
                say(f"port {_FIRST_PORT} is taken, using {port}")
            return port
    raise _taken(f"{_FIRST_PORT}-{_FIRST_PORT + _PORTS_TRIED - 1}", _problem(host, _FIRST_PORT))


def _require_free(host: str, port: int) -> None:
    problem = _problem(host, port)
    if problem is not None:
        raise _taken(port, problem)


def _taken(port: int | str, problem: object) -> StudioError:
    return StudioError(
        f"cannot serve the viewer on port {port}",
        got=problem,
        expected="a free port from 1024 to 65535",
        next="leave the port out to take the next free one",
    )


def _problem(host: str, port: int) -> str | None:
    """Why nothing can listen there; None where it can.

    Raises:
        StudioError: this machine has no such address.
    """
    if not 0 <= port <= 65535:
        return "a number that is no port"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise StudioError(
            f"no such address: {host}", got=error.strerror, expected="127.0.0.1 or an address of this machine"
        ) from error
    except OSError as error:
        return error.strerror or str(error)
    return None
