"""The picture that an avatar folder brings, shown while the avatar itself is being opened."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import viser

from viewer.server import LocalServer

_PREVIEW = "preview.png"


def show_poster(server: LocalServer, folder: Path) -> None:
    """Send each browser that comes the folder's picture; nothing where there is none that can be read."""
    picture = cv2.imread(str(folder / _PREVIEW))
    if picture is None:
        return
    poster = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def hang(client: viser.ClientHandle) -> None:
        width, height = client.camera.image_width, client.camera.image_height
        if min(width, height) > 0:
            client.scene.set_background_image(framed(poster, width / height), format="jpeg")

    server.on_client_connect(hang)


def framed(
    picture: np.ndarray,  # [H, W, 3]
    shape: float,
) -> np.ndarray:
    """The picture in the middle of one of that shape (width / height), its borders drawn out; [H', W', 3]."""
    height, width = picture.shape[:2]
    across = max(round(height * shape) - width, 0)
    down = max(round(width / shape) - height, 0)
    left, top = across // 2, down // 2
    return cv2.copyMakeBorder(picture, top, down - top, left, across - left, cv2.BORDER_REPLICATE)
