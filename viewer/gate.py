"""Who may come in: every request, of pages and of websockets, passes here before viser sees it.

Without a token only this machine's own pages may talk to the viewer: a site in another tab, or a name that was pointed
at 127.0.0.1, is refused by its ``Origin`` and ``Host``. With a token every request must carry it, in the link that was
printed or in the cookie that the link leaves.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from studio.logs import say

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SCRIPT = "/studio/page.js"
_FILES = {
    _SCRIPT: Path(__file__).parent / "page.js",
    "/studio/splats.js": Path(__file__).parent / "splats.js",
    "/studio/canvas.js": Path(__file__).parents[1] / "reenact" / "web" / "canvas.js",
    "/studio/worker.js": Path(__file__).parents[1] / "reenact" / "web" / "worker.js",
}
SPLATS = "/studio/splats.bin"
_CHANNEL = "/studio/channel"
_SOUNDS = "/studio/sound/"
_MOST_SOUNDS = 4
_MOST_BYTES = 2_000_000  # of one message from a browser: the longest are pieces of sound
_POSTER = (
    'body::before{content:"";position:fixed;inset:0;z-index:1;pointer-events:none;background:center/contain no-repeat'
)
_REFUSED = (
    "<!doctype html><meta charset=utf-8><title>Head avatar studio</title>"
    "<body style='font:16px system-ui;max-width:32em;margin:20vh auto;color:#445'>"
    "<h2>This viewer is not open to everybody</h2><p>{reason}</p>"
)
_NO_TOKEN = "Open it with the whole link that <code>studio view</code> printed, token included."
_NOT_LOCAL = "It serves this machine only: open it at 127.0.0.1, or start it with <code>host=0.0.0.0</code>."
_Inner = Callable[[Any, Request], Response | None]
_patching = threading.Lock()


@dataclass
class Gate:
    """What is let through, and what the viewer serves beside viser's page.

    Args:
        token: what every request must carry; None where only this machine is served.
        talk: serves a page's own connection until its end.
        poster: PNG file that a page shows until it gets its first picture; empty without any.
        splats: the avatar for pages that draw it themselves, see ``viewer.drawers``; empty without any.
    """

    token: str | None = None
    talk: Callable[[Any], Awaitable[None]] | None = None
    poster: bytes = b""
    splats: bytes = b""
    _sounds: dict[str, bytes] = field(default_factory=dict)

    def offer_sound(self, wav: bytes) -> str:
        """Serve a sound; returns its path. Of many only the newest stay."""
        path = f"{_SOUNDS}{secrets.token_urlsafe(12)}.wav"
        self._sounds[path] = wav
        while len(self._sounds) > _MOST_SOUNDS:
            self._sounds.pop(next(iter(self._sounds)))
        return path

    def answer(self, inner: _Inner, connection: Any, request: Request) -> Response | None:
        """The response to a request; None lets a websocket through."""
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        refusal = self._refusal(request)
        if refusal is not None:
            body = _REFUSED.format(reason=refusal).encode()
            return _response(HTTPStatus.FORBIDDEN, "text/html; charset=utf-8", body)
        path = urlsplit(request.path).path
        if is_socket:
            return None if path == _CHANNEL else inner(connection, request)
        if path in _FILES:
            return _response(HTTPStatus.OK, "text/javascript; charset=utf-8", _file(_FILES[path]))
        if path == SPLATS and self.splats:
            return _response(HTTPStatus.OK, "application/octet-stream", self.splats)
        if path in self._sounds:
            return _response(HTTPStatus.OK, "audio/wav", self._sounds[path])
        response = inner(connection, request) if path != "/" else self._page(inner, connection, request)
        return response

    def _page(self, inner: _Inner, connection: Any, request: Request) -> Response | None:
        """Viser's page, with the studio's script in it and the token in a cookie."""
        if "Accept-Encoding" in request.headers:
            del request.headers["Accept-Encoding"]  # it is compressed already, and must be edited
        response = inner(connection, request)
        if response is None or response.body is None:
            return response
        script = f'{self._poster()}<script src="{_SCRIPT}"></script></head>'.encode()
        title = b"<title>Head avatar studio</title>"
        body = bytes(response.body).replace(b"<title>Viser</title>", title, 1).replace(b"</head>", script, 1)
        page = _response(HTTPStatus.OK, "text/html; charset=utf-8", body)
        if self.token is not None:
            page.headers["Set-Cookie"] = f"{_cookie(request)}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        return page

    def _poster(self) -> str:
        """Style of a page that is to begin with the poster: it is there before any script has run."""
        if not self.poster:
            return ""
        data = base64.b64encode(self.poster).decode()
        return f"<style id=studio-poster>{_POSTER} url(data:image/png;base64,{data})}}</style>"

    def _refusal(self, request: Request) -> str | None:
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "The page that asks belongs to another site."
        if self.token is None:
            name = urlsplit(f"//{host}").hostname or ""
            return None if name in LOOPBACK else _NOT_LOCAL
        given = [*parse_qs(urlsplit(request.path).query).get("token", []), *_cookies(request).values()]
        fits = any(hmac.compare_digest(value.encode(), self.token.encode()) for value in given)
        return None if fits else _NO_TOKEN


@contextmanager
def guarded(gate: Gate) -> Iterator[None]:
    """Servers that viser starts inside the block ask the gate first. (Viser has no place to say so.)"""
    usual = websockets.asyncio.server.serve

    def serve(handler: Any, *args: Any, process_request: _Inner, **options: Any) -> Any:
        options["max_size"] = _MOST_BYTES

        async def handle(connection: Any) -> None:
            own = urlsplit(connection.request.path).path == _CHANNEL
            try:
                await (gate.talk if own and gate.talk is not None else handler)(connection)
            except Exception as error:  # of what a browser sent: its connection ends, nothing else does
                say(f"the connection of a browser ended: {type(error).__name__}: {str(error)[:100]}")

        def process(connection: Any, request: Request) -> Response | None:
            return gate.answer(process_request, connection, request)

        return usual(handle, *args, process_request=process, **options)

    with _patching:
        setattr(websockets.asyncio.server, "serve", serve)  # noqa: B010
        try:
            yield
        finally:
            setattr(websockets.asyncio.server, "serve", usual)  # noqa: B010


def _cookie(request: Request) -> str:
    """Cookies are shared by all ports of a host: each viewer's has its own name."""
    port = urlsplit(f"//{request.headers.get('Host', '')}").port
    return f"studio_{port or 80}"


def _cookies(request: Request) -> Mapping[str, str]:
    try:
        found = SimpleCookie(request.headers.get("Cookie", ""))
        name = _cookie(request)
    except (CookieError, ValueError):
        return {}
    return {name: found[name].value} if name in found else {}


def _response(status: HTTPStatus, kind: str, body: bytes) -> Response:
    headers = Headers()
    headers["Content-Type"] = kind
    headers["Content-Length"] = str(len(body))
    headers["Cache-Control"] = "no-store"
    headers["Referrer-Policy"] = "no-referrer"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"
    return Response(status.value, status.phrase, headers, body)


@cache
def _file(path: Path) -> bytes:
    return path.read_bytes()
