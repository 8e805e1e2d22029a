"""Who may come in: this machine's own pages, or who has the token; and nothing is taken that nobody asked for."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.viewer.avatars import CardAvatar
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.settings import ViewerConfig
from viewer.views import Viewpoints

CONFIG = ViewerConfig(port=0, size=64)


@pytest.fixture(scope="module")
def local() -> Iterator[Viewer]:
    with Viewer(CardAvatar(), None, CONFIG) as viewer:
        yield viewer


@pytest.fixture(scope="module")
def served() -> Iterator[Viewer]:
    with Viewer(CardAvatar(), None, replace(CONFIG, host="0.0.0.0")) as viewer:
        yield viewer


def get(viewer: Viewer, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", viewer._desk.server.get_port(), timeout=10)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    return response


def test_the_page_holds_the_studios_script(local: Viewer) -> None:
    response = get(local)
    assert response.status == 200
    assert b"/studio/page.js" in response.body  # type: ignore[attr-defined]
    assert b"Head avatar studio" in response.body  # type: ignore[attr-defined]
    script = get(local, "/studio/page.js")
    assert script.getheader("Content-Type", "").startswith("text/javascript")
    assert get(local).getheader("Set-Cookie") is None


def test_a_page_begins_with_the_poster_while_there_is_one(local: Viewer) -> None:
    gate = local._desk.server.gate
    gate.poster = b"\x89PNG of a head"
    try:
        page = get(local).body  # type: ignore[attr-defined]
        assert b"url(data:image/png;base64," + base64.b64encode(gate.poster) + b")" in page
    finally:
        gate.poster = b""
    assert b"studio-poster" not in get(local).body  # type: ignore[attr-defined]


def test_names_that_were_pointed_at_this_machine_are_refused(local: Viewer) -> None:
    port = local._desk.server.get_port()
    assert get(local, Host=f"evil.example:{port}").status == 403
    for name in ("127.0.0.1", "localhost"):
        assert get(local, Host=f"{name}:{port}").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_pages_of_other_sites_get_no_websocket(local: Viewer, origin: str) -> None:
    port = local._desk.server.get_port()
    with pytest.raises(InvalidStatus) as caught:
        connect(f"ws://127.0.0.1:{port}", subprotocols=["viser-v1"], origin=origin)  # type: ignore[list-item, arg-type]
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    "path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/studio/sound/../page.js", "/pages.py"]
)
def test_no_path_leads_to_a_file(local: Viewer, path: str) -> None:
    assert get(local, path).status == 404


def test_others_need_the_token_for_pages_and_for_websockets(served: Viewer) -> None:
    port, token = served._desk.server.get_port(), served._desk.server.gate.token
    assert token is not None
    assert len(token) >= 20
    for path in ("/", "/?token=", f"/?token={token[:-1]}", "/studio/page.js"):
        assert get(served, path).status == 403
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{port}", subprotocols=["viser-v1"])  # type: ignore[list-item]
    answer = get(served, f"/?token={token}")
    assert answer.status == 200
    cookie = answer.getheader("Set-Cookie", "")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert get(served, "/studio/page.js", Cookie=cookie.partition(";")[0]).status == 200
    assert get(served, "/studio/page.js", Cookie="studio_1=" + token).status == 403
    with connect(f"ws://127.0.0.1:{port}/?token={token}", subprotocols=["viser-v0"]):  # type: ignore[list-item]
        pass
    assert served.url.endswith(f"?token={token}")


def test_sounds_are_served_while_they_are_new(local: Viewer) -> None:
    gate = local._desk.server.gate
    first = gate.offer_sound(b"RIFF first")
    assert get(local, first).body == b"RIFF first"  # type: ignore[attr-defined]
    for index in range(4):
        gate.offer_sound(bytes([index]))
    assert get(local, first).status == 404


def test_uploads_and_long_messages_are_not_taken(local: Viewer) -> None:
    points = Viewpoints.of(CardAvatar())
    with Browser(local.url) as browser:
        browser.look(points.front, points.front_fov, 64, 64)
        browser.wait(lambda: browser.picture is not None)
        upload = {"transfer_uuid": "x", "filename": "a", "mime_type": "", "part_count": 9, "size_bytes": 9 << 30}
        browser.send("FileTransferStartUpload", source_component_uuid=browser.find("jawOpen"), **upload)
        part = {"transfer_uuid": "x", "part_index": 0, "content": b"0" * 1000, "source_component_uuid": None}
        browser.send("FileTransferPart", **part)
        browser.turn("jawOpen", 1.0)
        browser.wait(lambda: browser.picture is not None and _red(browser.picture) > 200)
        assert not local._desk.gui._current_file_upload_states
        browser.send("GuiUpdateMessage", uuid="nobody", updates={"value": "0" * 3_000_000})  # but for its length, fine
        with pytest.raises(ConnectionClosed):
            browser.wait(lambda: False, 10)


def _red(picture: np.ndarray) -> int:
    """How red its middle is: what jawOpen does to the card."""
    return int(picture[picture.shape[0] // 2, picture.shape[1] // 2, 0])
