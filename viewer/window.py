"""The viewer in a window of its own instead of a browser."""

from __future__ import annotations

from studio.errors import StudioError


def show_window(url: str) -> None:
    """Show a page in a native window until it is closed.

    Raises:
        StudioError: pywebview is not installed, or there is no screen.
    """
    try:
        import webview
    except ImportError as error:
        raise StudioError(
            "window=true needs pywebview", next="pip install 'head-avatar-studio[window]', or open the address"
        ) from error
    try:
        webview.create_window("Head avatar studio", url, width=1280, height=800)
        webview.start()
    except Exception as error:  # each platform's toolkit raises its own
        raise StudioError("no window could be opened", got=error, next=f"open {url} in a browser") from error
