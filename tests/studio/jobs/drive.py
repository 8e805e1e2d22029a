"""A driver as a process of its own, to be killed: ``python -m tests.studio.jobs.drive FOLDER CHUNKS SECONDS``."""

from __future__ import annotations

import sys
from pathlib import Path

from studio.jobs.costs import Costs
from studio.jobs.driver import Driver
from studio.jobs.engines import LocalEngine
from studio.jobs.job import owned
from tests.studio.jobs.work import chunk_tasks

if __name__ == "__main__":
    folder, chunks, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with owned(folder):
        Driver(folder, chunk_tasks(chunks, seconds=seconds), LocalEngine(2, 1e12), Costs()).run()
