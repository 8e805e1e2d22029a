"""A second process for a cold compile; what it does is in ``warmup``."""

from __future__ import annotations

import os
import subprocess
import sys

_HELPER = "STUDIO_COMPILE_HELPER"  # set in a helper, which needs none itself
_PROGRAM = "from studio.kernels.warmup import help_compiling; help_compiling()"


def start_helper() -> subprocess.Popen[bytes] | None:
    """A process that compiles the kernels last to first and ends with this one; None where it could not help."""
    if _HELPER in os.environ or (os.cpu_count() or 1) < 2 or not sys.executable:
        return None
    environment = {**os.environ, _HELPER: "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    quiet = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet
        )
    except OSError:
        return None
