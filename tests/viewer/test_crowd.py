"""Many rude clients for a short while: no errors, nothing kept of who left. The long version: benchmarks.viewer."""

from __future__ import annotations

import random
import threading
import time

from benchmarks.viewer import rude_visit
from studio.codes import Codes
from tests.viewer.avatars import CardAvatar, still
from viewer.app import Viewer
from viewer.settings import ViewerConfig


def test_rude_clients_harm_nobody_and_leave_nothing() -> None:
    failures: list[Exception] = []
    with Viewer(CardAvatar(), still(Codes.neutral(), 50), ViewerConfig(port=0, size=64)) as viewer:
        end = time.monotonic() + 4.0

        def visit(number: int) -> None:
            try:
                while time.monotonic() < end:
                    rude_visit(viewer, random.Random(number), min(end, time.monotonic() + 1.5))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not failures
        gallery, until = viewer._desk.gallery, time.monotonic() + 10
        while gallery._readouts and time.monotonic() < until:
            time.sleep(0.05)
        assert not gallery._readouts
        assert not gallery._arrivals
        assert not gallery._worker._slots
        rude_visit(viewer, random.Random(9), time.monotonic() + 0.5)
