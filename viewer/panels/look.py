"""The tab for looking: where from, in front of what, and saving a picture."""

from __future__ import annotations

import viser

from viewer.gallery import Gallery
from viewer.session import Session
from viewer.views import Place, View, Viewpoints

_FOOTAGE, _COLOR = "Footage", "Colour"


class LookPanel:
    """Controls in the container that is open.

    Args:
        server: where the controls are added.
        session: whose background is chosen.
        gallery: makes the pictures to save.
        viewpoints: places to jump to.
        has_footage: whether the avatar has a background of its own.
    """

    def __init__(
        self, server: viser.ViserServer, session: Session, gallery: Gallery, viewpoints: Viewpoints, has_footage: bool
    ) -> None:
        self._session = session
        self._gallery = gallery
        self._viewpoints = viewpoints
        gui = server.gui
        front = gui.add_button("From the front", icon=viser.Icon.FACE_ID, color="gray", hint="F")
        capture = gui.add_button(
            "Capture's camera", icon=viser.Icon.VIDEO, color="gray", hint="As the recording saw it (C)"
        )
        self._background = gui.add_dropdown(
            "Background",
            (_FOOTAGE, _COLOR),
            hint="The footage's own background shows from the capture's camera only",
            visible=has_footage,
        )
        self._color = gui.add_rgb("Colour", session.scene.backdrop)
        picture = gui.add_button("Save picture", icon=viser.Icon.CAMERA, hint="PNG at full resolution (P)")
        gui.add_markdown("Drag to orbit · right-drag to move · wheel to zoom")
        front.on_click(lambda event: self.to_front(event.client))
        capture.on_click(lambda event: self.to_capture(event.client))
        picture.on_click(lambda event: self.save_picture(event.client))
        self._background.on_update(lambda _: self._choose())
        self._color.on_update(lambda _: self._choose())

    def _choose(self) -> None:
        self._session.set_background(self._color.value, self._background.value == _FOOTAGE)

    def save_picture(self, client: viser.ClientHandle | None) -> None:
        """Send a browser its view as a file."""
        if client is not None:
            self._gallery.save_picture(client)

    def to_front(self, client: viser.ClientHandle | None) -> None:
        """Put a browser's camera before the face where it is now."""
        if client is not None:
            _put(client, self._viewpoints.before(self._session.scene.codes), self._viewpoints.front_fov)

    def to_capture(self, client: viser.ClientHandle | None) -> None:
        """Put a browser's camera where the avatar was recorded."""
        if client is not None:
            shape = max(client.camera.image_width, 1) / max(client.camera.image_height, 1)
            _put(client, self._viewpoints.capture, self._viewpoints.capture_fov(shape))

    def fit_capture(self, client: viser.ClientHandle) -> None:
        """Where a browser begins at the capture's camera, fit the lens to its window, whose shape is known by now."""
        camera = client.camera
        if View.of(camera.wxyz, camera.position, camera.fov).is_from(self._viewpoints.capture):
            self.to_capture(client)


def _put(client: viser.ClientHandle, place: Place, fov: float) -> None:
    camera = client.camera
    with client.atomic():
        camera.up_direction = place.up.numpy()
        camera.position = place.position.numpy()
        camera.look_at = place.target.numpy()
        camera.fov = fov
