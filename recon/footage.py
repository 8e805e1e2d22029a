"""Footage that arrives: recorded and tracked on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from capture.live import Framing, Picture, Recorder
from capture.tracking.live import Known, LiveTracker
from studio.captures import Capture
from studio.codes import CodeTrack
from studio.heads.model import HeadModel

_CHUNK_SECONDS = 0.5  # of footage that is tracked at once


@dataclass(frozen=True)
class Progress:
    """What there is at some moment of a stream.

    Args:
        capture: as recorded.
        track: its codes.
        known: of the person.
        framing: of the pictures.
    """

    capture: Capture
    track: CodeTrack
    known: Known
    framing: Framing


class Producer:
    """Records and tracks a stream on a thread of its own; ``newest`` is what there is so far."""

    def __init__(self, stream: Iterable[Picture], recorder: Recorder, head: HeadModel) -> None:
        self.newest: Progress | None = None
        self.error: BaseException | None = None
        self._stream, self._recorder, self._head = stream, recorder, head
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="footage", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Take no more pictures; returns when the last one is tracked."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            tracker: LiveTracker | None = None
            chunk, new = max(round(_CHUNK_SECONDS * self._recorder.fps), 1), 0
            for number, frame in self._stream:
                if self._recorder.take(number, frame):
                    new += 1
                    tracker = tracker or self._tracker()
                    if self.newest is None or new >= chunk:
                        self._publish(tracker)
                        new = 0
                if self._stopped.is_set():
                    break
            if tracker is not None and new:
                self._publish(tracker)
        except BaseException as error:
            self.error = error
        finally:
            self._recorder.close()

    def _tracker(self) -> LiveTracker:
        framing = self._recorder.framing
        assert framing is not None
        return LiveTracker(self._head, framing.camera.Ks[0], self._recorder.fps)

    def _publish(self, tracker: LiveTracker) -> None:
        capture = self._recorder.capture()
        track = tracker.update(capture, self._recorder.landmarks())
        assert tracker.known is not None
        assert self._recorder.framing is not None
        self.newest = Progress(capture, track, tracker.known, self._recorder.framing)
