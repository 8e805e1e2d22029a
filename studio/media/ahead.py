"""Work done ahead of its use by a few threads, results in order and a bounded number of them waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
THREADS = 4  # decoding waits for the disk as well as for a core


def ahead(tasks: Iterable[Callable[[], Result]], depth: int = 2 * THREADS) -> Iterator[Result]:
    """Yield the results of tasks in order while later ones are worked on.

    Args:
        tasks: functions without arguments; the iterable itself is advanced in the caller's thread.
        depth: at most so many results wait.

    Raises:
        Whatever a task raises, in its place; tasks that have not begun are then dropped.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="ahead") as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) >= depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
