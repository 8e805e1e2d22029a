"""The port and the address that are served."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from studio.errors import StudioError
from viewer import server as server_module
from viewer.server import address, open_server


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_that_was_asked_for_is_an_error(taken_port: int) -> None:
    with pytest.raises(StudioError, match=rf"port {taken_port}.*in use.*leave the port out"):
        open_server("127.0.0.1", taken_port, "test")


@pytest.mark.parametrize("port", [70000, -1])
def test_an_impossible_port_is_an_error(port: int) -> None:
    with pytest.raises(StudioError, match=f"port {port}"):
        open_server("127.0.0.1", port, "test")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_that_is_not_this_machines_is_an_error(host: str) -> None:
    with pytest.raises(StudioError, match=r"no such address|cannot serve"):
        open_server(host, None, "test")


def test_the_next_free_port_is_taken_and_said(
    taken_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server_module, "_FIRST_PORT", taken_port)
    server = open_server("127.0.0.1", None, "test")
    try:
        port = server.get_port()
        assert taken_port < port < taken_port + 100
        captured = capsys.readouterr()
        assert f"port {taken_port} is taken, using {port}" in captured.err
        assert captured.out == ""
        with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
            assert connection.getpeername()[0] == "127.0.0.1"
        assert server.get_host() == "127.0.0.1"
    finally:
        server.stop()


def test_it_never_publishes_itself() -> None:
    server = open_server("127.0.0.1", 0, "test")
    try:
        assert server.request_share_url() is None
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("::1", "http://[::1]:8080"),
        ("0.0.0.0", f"http://{socket.gethostname()}:8080"),
    ],
)
def test_the_address_can_be_typed_into_a_browser(host: str, expected: str) -> None:
    assert address(host, 8080) == expected
