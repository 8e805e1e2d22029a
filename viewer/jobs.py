"""Commands of the studio that run beside the viewer: training, rendering, exporting."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

_PERCENT = re.compile(r"(\d{1,3})%")
_TAIL = 12
_PATIENCE = 5.0
_STOPPED = 130  # exit code of a command that was interrupted


class Job:
    """A running command; its own process, so that nothing it does can stop the viewer.

    Args:
        arguments: of ``studio``, such as ("export", "avatar=…", "out=…").
        on_news: called when it tells something and when it ends, on a thread of its own.
    """

    def __init__(self, arguments: Sequence[str], on_news: Callable[[Job], object] | None = None) -> None:
        self._on_news = on_news
        self.told: deque[str] = deque(maxlen=_TAIL)
        self.percent = 0
        environment = {**os.environ, "STUDIO_PROGRESS_SECONDS": "0.5"}
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "studio.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._listen, name="viewer-job", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def was_stopped(self) -> bool:
        """Whether it ended by Ctrl-C or an order, as a user wanted."""
        return self.process.poll() == _STOPPED

    @property
    def failed(self) -> bool:
        return self.process.poll() not in (None, 0)

    @property
    def last(self) -> str:
        """The last thing that it said."""
        return self.told[-1] if self.told else ""

    def cancel(self) -> None:
        """As Ctrl-C: it keeps what it can, such as a checkpoint."""
        if self.is_running:
            self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End it, gently first."""
        self.cancel()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(_PATIENCE)

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.rsplit("\r", 1)[-1].strip()
            if text:
                self.told.append(text[:300])
                found = _PERCENT.findall(text)
                self.percent = min(int(found[-1]), 100) if found else self.percent
                self._news()
        self.process.wait()
        self._news()

    def _news(self) -> None:
        if self._on_news is not None:
            self._on_news(self)
