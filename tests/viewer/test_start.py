"""Starting the viewer: what is served before the avatar is open."""

from __future__ import annotations

from pathlib import Path

from viewer.start import _MOST_PREVIEW, _PNG, _preview


def test_the_poster_is_a_png_of_sensible_size_or_nothing(tmp_path: Path) -> None:
    assert _preview(tmp_path) == b""
    for data, expected in ((_PNG + b"1", True), (b"GIF89a", False), (_PNG + bytes(_MOST_PREVIEW), False)):
        (tmp_path / "preview.png").write_bytes(data)
        assert _preview(tmp_path) == (data if expected else b"")
