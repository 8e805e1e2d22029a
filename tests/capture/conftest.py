"""A small synthetic rig, rendered once."""

from __future__ import annotations

import pytest

from capture.synthetic.make import SyntheticConfig, make_synthetic_capture
from studio.captures import Capture, open_capture


@pytest.fixture(scope="session")
def little_rig(tmp_path_factory) -> Capture:
    """Five cameras, twenty-four frames. Read only: change copies (``benchmarks.check_faults.copy_of``)."""
    folder = tmp_path_factory.mktemp("little") / "rig"
    return open_capture(make_synthetic_capture(folder, SyntheticConfig(cameras=5, frames=24, size=160, supersample=1)))
