"""Nothing outside of the project's folder is read or written for a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import StudioError
from tests.viewer.avatars import CardAvatar
from tests.viewer.browser import Browser
from viewer.app import Viewer
from viewer.desk import Desk
from viewer.settings import ViewerConfig
from viewer.subject import Subject


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's folder with a link that leads out of it."""
    (tmp_path / "secret").mkdir()
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "way_out").symlink_to(tmp_path / "secret")
    return folder


def test_paths_of_a_browser_end_at_the_projects_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    monkeypatch.setattr(Desk, "notify", lambda desk, client, title, body, *more: notes.append(body))
    subject = Subject(CardAvatar(), "anna", folder=project / "anna")
    with Viewer(subject, None, ViewerConfig(port=0, folder=project)) as viewer, Browser(viewer.url) as browser:
        points = viewer._desk.viewpoints
        browser.look(points.front, points.front_fov, 64, 64)
        browser.wait(lambda: browser.picture is not None)
        for number, text in enumerate(("../out.mp4", f"{project.parent}/x.mp4", "way_out/x.mp4", "a/../../x.mp4")):
            browser.turn("Video", text)
            browser.click("Render")
            browser.wait(lambda number=number: len(notes) > number)  # type: ignore[misc]
            assert "stays inside" in notes[-1]
            with pytest.raises(StudioError, match="stays inside"):
                viewer._desk.inside(text)
        assert viewer._desk.inside("films/out.mp4") == (project / "films/out.mp4").resolve()
    assert sorted(path.name for path in project.parent.rglob("*")) == ["project", "secret", "way_out"]


@pytest.mark.parametrize("text", ["", " ", "a\0b", "a/../../b", "/etc/passwd", "x" * 5000 + "/../../.."])
def test_what_is_no_path_inside_is_refused(project: Path, text: str) -> None:
    with (
        Viewer(CardAvatar(), None, ViewerConfig(port=0, folder=project)) as viewer,
        pytest.raises(StudioError, match="stays inside"),
    ):
        viewer._desk.inside(text)
