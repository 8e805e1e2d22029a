"""Runs the jobs of one command line: composes the settings and hands them to the verb's module."""

from __future__ import annotations

import signal
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from studio.cli.arguments import CommandLine
from studio.cli.compose import compose_jobs, to_config
from studio.folders import next_free


def run_jobs(line: CommandLine) -> None:
    """Run the verb once, or once for each combination of a sweep; ``--cfg`` prints the settings instead."""
    jobs = compose_jobs(line.verb, line.settings, line.multirun)
    if line.print_config:
        print("---\n".join(OmegaConf.to_yaml(job) for job in jobs), end="")
        return
    if len(jobs) > 1:
        _separate_outputs(line.verb, jobs)
    signal.signal(signal.SIGTERM, _stop)
    module = import_module(f"studio.cli.verbs.{line.verb}")
    for index, job in enumerate(jobs):
        if len(jobs) > 1:
            print(f"job {index + 1} of {len(jobs)}: {job.get('out')}", flush=True)
        module.run(to_config(line.verb, job))


def _separate_outputs(verb: str, jobs: list[DictConfig]) -> None:
    """Give the jobs of a sweep that names no output a folder each."""
    if "out" in jobs[0] and all(job.out is None for job in jobs):
        sweep = next_free(Path("outputs") / f"{verb}-sweep")
        for index, job in enumerate(jobs):
            job.out = str(sweep / str(index))


def _stop(signum: int, frame: Any) -> None:
    """A polite request to end is treated as Ctrl-C: work is saved and temporary folders are removed."""
    raise KeyboardInterrupt
