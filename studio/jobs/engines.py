"""Where tasks run: a pool of processes here, an existing Ray cluster, or Slurm. Each is asked to start calls.

The scheduling is the library's: concurrent.futures, Ray, or Slurm through submitit.
"""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from studio.errors import StudioError
from studio.jobs.tasks import Call, perform
from studio.machine import free_memory

EngineName = Literal["local", "ray", "slurm"]
_CLUSTER = 'pip install "head-avatar-studio[cluster]"'
_REACH = 5.0  # seconds
_ROOM = 0.85  # of the free memory that a job may take


class Running(Protocol):
    """A call that was started."""

    def done(self) -> bool: ...

    def result(self) -> Any:
        """What ``perform`` gave, or its error, or ``Lost``."""
        ...


class Engine(Protocol):
    """Starts calls.

    Attributes:
        cores: of all machines; calls that need more are not started at once. Infinite where the engine queues itself.
        memory: bytes, likewise.
        gpus: devices, likewise.
    """

    cores: float
    memory: float
    gpus: float

    def start(self, call: Call, memory: float, gpus: int) -> Running: ...

    def close(self, kill: bool) -> None:
        """No more calls; those that run are waited for, or killed."""
        ...


class Lost(Exception):
    """The worker that had the call is gone: killed, out of memory, or its machine is off."""


@dataclass
class _Future:
    future: Any
    lost: tuple[type[BaseException], ...]
    on_lost: Callable[[], None] = lambda: None

    def done(self) -> bool:
        return bool(self.future.done())

    def result(self) -> Any:
        try:
            return self.future.result()
        except self.lost as error:
            self.on_lost()
            raise Lost(f"{type(error).__name__}: {error}") from error


class LocalEngine:
    """Processes of this machine, each with its own interpreter; they end when the driver is gone.

    Args:
        workers: processes.
        memory: bytes that they may take together; most of what is free when not given.
        gpus: devices.
        log: file to which the workers' messages go, instead of the driver's standard error.
    """

    def __init__(self, workers: int, memory: float | None = None, gpus: int = 0, log: Path | None = None) -> None:
        self._log = log
        self.cores, self.gpus = float(workers), float(gpus)
        self.memory = memory if memory is not None else _ROOM * (free_memory() or 4e9)
        self._others = set(multiprocessing.active_children())
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def start(self, call: Call, memory: float, gpus: int) -> Running:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            log = None if self._log is None else str(self._log)
            self._pool = concurrent.futures.ProcessPoolExecutor(int(self.cores), context, _begin_worker, (log,))
        pool = self._pool
        try:
            future = pool.submit(perform, call)
        except BrokenProcessPool:  # a worker died while nobody looked
            self._forget(pool)
            return self.start(call, memory, gpus)
        return _Future(future, (BrokenProcessPool, concurrent.futures.CancelledError), lambda: self._forget(pool))

    def _forget(self, pool: concurrent.futures.ProcessPoolExecutor) -> None:
        """The next call gets a new pool."""
        if self._pool is pool:
            self._pool = None
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self, kill: bool) -> None:
        if kill:
            for child in set(multiprocessing.active_children()) - self._others:
                child.kill()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker(log: str | None) -> None:
    """In a worker: write messages to the log; end at once when the driver is gone, even by SIGKILL."""
    if log is not None:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    driver = multiprocessing.parent_process()
    assert driver is not None

    def watch() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="driver watch").start()


class RayEngine:
    """An existing Ray cluster (or one on this machine): it places calls by cores, memory and devices.

    The job folder and all sources must lie where every node sees them under the same path.
    """

    def __init__(self, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise StudioError("engine=ray needs Ray", next=_CLUSTER) from error
        self._ray, self.cores, self.memory, self.gpus = ray, float("inf"), float("inf"), float("inf")
        carried = {name: os.environ[name] for name in ("PYTHONPATH", "STUDIO_SHARED") if name in os.environ}
        _require_reachable(address)
        try:
            ray.init(
                address=address, runtime_env={"env_vars": carried}, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise StudioError(
                f"no Ray cluster at {address}", got=str(error).splitlines()[0], next="ray start --head, or address=auto"
            ) from error
        self._perform = ray.remote(max_retries=0)(perform)
        self._open: list[Any] = []

    def start(self, call: Call, memory: float, gpus: int) -> Running:
        options = {"num_cpus": call.threads, "num_gpus": gpus, "memory": memory, "name": call.name}
        reference = self._perform.options(**options).remote(call)
        self._open.append(reference)
        errors = self._ray.exceptions
        lost = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.TaskCancelledError)
        return _RayCall(self._ray, reference, lost)

    def close(self, kill: bool) -> None:
        if kill:
            for reference in self._open:
                self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _require_reachable(address: str | None) -> None:
    """Ray itself would wait for minutes for an address where nobody listens."""
    host, _, port = (address or "auto").rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACH).close()
    except OSError as error:
        raise StudioError(
            f"no Ray cluster at {address}", got=error, next="ray start --head, or address=auto"
        ) from error


@dataclass
class _RayCall:
    ray: Any
    reference: Any
    lost: tuple[type[BaseException], ...]

    def done(self) -> bool:
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def result(self) -> Any:
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self.lost as error:
            raise Lost(f"{type(error).__name__}") from error


class SlurmEngine:
    """Slurm through submitit; "debug" and "local" are submitit's own stand-ins for machines without Slurm."""

    def __init__(self, folder: Path, partition: str | None, cluster: str | None = None, minutes: int = 240) -> None:
        try:
            import submitit
        except ImportError as error:
            raise StudioError(
                "engine=slurm needs submitit", next='pip install "head-avatar-studio[cluster]"'
            ) from error
        self.cores = self.memory = self.gpus = float("inf")
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster or "slurm")
        except RuntimeError as error:
            raise StudioError("no Slurm here", got=str(error), next="run on a login node, or engine=local") from error
        self._common: dict[str, Any] = {"timeout_min": minutes}
        if partition is not None:
            self._common["slurm_partition"] = partition
        self._open: list[Any] = []

    def start(self, call: Call, memory: float, gpus: int) -> Running:
        wanted = {"cpus_per_task": call.threads, "mem_gb": max(1, round(1.3 * memory / 1e9)), "name": "studio"}
        self._executor.update_parameters(**self._common, **wanted, gpus_per_node=gpus)
        job = self._executor.submit(perform, call)
        self._open.append(job)
        return _SlurmCall(job)

    def close(self, kill: bool) -> None:
        for job in self._open:
            if kill and not job.done():
                job.cancel()


@dataclass
class _SlurmCall:
    job: Any

    def done(self) -> bool:
        return bool(self.job.done())

    def result(self) -> Any:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        error = self.job.exception()
        if error is None:
            return self.job.result()
        if isinstance(error, UncompletedJobError):
            raise Lost(str(error).splitlines()[0])
        if isinstance(error, FailedJobError):
            raise StudioError(f"{self.job.job_id} failed", got=str(error).strip().splitlines()[-1])
        raise error
