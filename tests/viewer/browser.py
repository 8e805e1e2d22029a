"""What a browser does, without one: viser's wire format over a websocket."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import cv2
import msgspec.msgpack
import numpy as np
import viser
import zstandard
from websockets.sync.client import connect

from studio.rotations import matrix_to_quat, rigid_inverse
from viewer.views import Place

Message = dict[str, Any]


class Browser:
    """One connected page: sends cameras and widget values, keeps the widgets and the latest picture.

    Args:
        url: of the viewer.
    """

    def __init__(self, url: str) -> None:
        address = url.replace("http://", "ws://")
        protocol: Any = f"viser-v{viser.__version__}"
        self._socket = connect(address, subprotocols=[protocol], max_size=None, compression=None)
        self.widgets: dict[str, Message] = {}  # uuid -> the message that made it, with later updates applied
        self.picture: np.ndarray | None = None  # [H, W, 3] uint8, RGB
        self.pictures = 0
        self.key = ""  # by which a page's own connection would be known
        self.camera_moves: list[Message] = []
        self.files: list[Message] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()

    def look(self, place: Place, fov: float, width: int, height: int) -> None:
        """Move the camera or resize the window."""
        to_world = rigid_inverse(place.viewmat)
        self.send(
            "ViewerCameraMessage",
            wxyz=matrix_to_quat(to_world[:3, :3]).tolist(),
            position=place.position.tolist(),
            fov=fov,
            near=0.01,
            far=1000.0,
            image_height=height,
            image_width=width,
            look_at=place.target.tolist(),
            up_direction=place.up.tolist(),
        )

    def turn(self, label: str, value: object) -> None:
        """Set a widget, by its label or hint, as a user's hand does."""
        self.send("GuiUpdateMessage", uuid=self.find(label), updates={"value": value})

    def click(self, label: str) -> None:
        self.turn(label, True)

    def find(self, label: str) -> str:
        """The uuid of the first widget whose label is, or whose hint begins with, ``label``."""
        for uuid, widget in self.widgets.items():
            props = widget["props"]
            if props.get("label") == label or str(props.get("hint")).startswith(label):
                return uuid
        raise KeyError(label)

    def value(self, label: str) -> Any:
        return self.widgets[self.find(label)]["value"]

    def send(self, kind: str, **fields: object) -> None:
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def send_garbage(self, data: bytes) -> None:
        self._socket.send(data)

    def wait(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Take what comes until something is true."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            self._receive(0.1)

    def _receive(self, seconds: float) -> None:
        try:
            data = self._socket.recv(timeout=seconds)
        except TimeoutError:
            return
        assert isinstance(data, bytes)
        packed = int.from_bytes(data[8:16], "little")
        content = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data[16 : 16 + packed]))
        for message in content["messages"]:
            self._take(message)

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "BackgroundImageMessage" and message["rgb_data"] is not None:
            pixels = cv2.imdecode(np.frombuffer(message["rgb_data"], np.uint8), cv2.IMREAD_COLOR_RGB)
            self.picture, self.pictures = pixels, self.pictures + 1
        elif kind == "GuiUpdateMessage":
            widget = self.widgets[message["uuid"]]
            for name, value in message["updates"].items():
                (widget if name == "value" else widget["props"])[name] = value
        elif message.get("key", "").endswith("studio:connect"):
            self.key = json.loads(message["value"])["key"]
        elif kind.startswith("SetCamera"):
            self.camera_moves.append(message)
        elif kind.startswith("FileTransfer"):
            self.files.append(message)
        elif "uuid" in message and "props" in message:
            self.widgets[message["uuid"]] = message
