"""The kernel cache: its name follows every source, its folder is always writable, a cold compile is announced once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.errors import StudioError
from studio.kernels import compiled
from studio.kernels.backends import choose_kernels
from studio.kernels.buffers import borrow

ROOT = Path(__file__).parents[3]


def test_the_digest_follows_imported_modules(tmp_path, monkeypatch):
    """A change three imports away gives another cache folder: numba itself would reuse stale machine code."""
    (tmp_path / "low.py").write_text("X = 1\n")
    (tmp_path / "lower.py").write_text("def f():\n    from studio.kernels.low import X\n")
    (tmp_path / "middle.py").write_text("from studio.kernels import (\n    bottom,\n    lower,\n)\n")
    (tmp_path / "top.py").write_text("import os\nfrom studio.kernels import middle  # and more\n")
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))

    def digest() -> str:
        compiled._digest.cache_clear()
        compiled._read.cache_clear()
        return compiled._digest(tmp_path / "top.py")

    first = digest()
    assert digest() == first
    (tmp_path / "unrelated.py").write_text("X = 1\n")
    assert digest() == first
    (tmp_path / "low.py").write_text("X = 2\n")
    assert digest() != first


def test_the_cache_folder(tmp_path, monkeypatch):
    def folder() -> Path:
        compiled.cache_folder.cache_clear()
        compiled._is_writable.cache_clear()
        return compiled.cache_folder()

    try:
        monkeypatch.setenv("STUDIO_CACHE", str(tmp_path / "a b"))
        assert folder() == tmp_path / "a b" / "kernels"
        monkeypatch.delenv("STUDIO_CACHE")
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        if sys.platform.startswith("linux"):
            assert str(folder()).startswith(compiled.tempfile.gettempdir())
    finally:
        monkeypatch.undo()
        folder()


def test_compiling_is_announced_once_and_the_next_process_reuses_it(tmp_path):
    program = (
        "import numpy as np; from studio.kernels.splat_order import place_tiles\n"
        "print(place_tiles(np.ones((2, 3), np.int64), np.zeros(4, np.int64)), place_tiles.stats.cache_hits)"
    )
    env = dict(os.environ, STUDIO_CACHE=str(tmp_path / "with spaces"), PYTHONPATH=str(ROOT))
    env["STUDIO_COMPILE_HELPER"] = "1"  # without one
    first, second = (
        subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stderr.count("compiling CPU kernels for this processor (once") == 1
    assert first.stdout.startswith("6 Counter()")
    assert second.stderr == ""
    assert second.stdout.startswith("6 Counter({")


def test_buffers_are_aligned_used_again_and_never_while_a_view_lives():
    first, second = borrow("test", (3, 5)), borrow("test", 15)
    place = first.ctypes.data
    assert first.shape == (3, 5)
    assert place % 64 == 0
    assert place != second.ctypes.data
    view = torch.from_numpy(first).reshape(-1)[2:].numpy().view(np.uint32)
    del first
    assert borrow("test", 15).ctypes.data != place
    assert view.size == 13
    del view
    assert borrow("test", 14).ctypes.data == place
    assert borrow("test", 10_000_000).size == 10_000_000


def test_backends_are_chosen_by_device_and_refused_where_absent(monkeypatch):
    assert choose_kernels("auto", "cpu") == "cpu"
    assert choose_kernels("cpu", torch.device("cpu")) == "cpu"
    with pytest.raises(StudioError, match="unknown kernels; got 'gpu'; expected auto, cuda or cpu"):
        choose_kernels("gpu", "cpu")
    with pytest.raises(StudioError, match=r"kernels=cpu; got tensors on cuda"):
        choose_kernels("cpu", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StudioError, match="kernels=cuda; got no CUDA device"):
        choose_kernels("cuda", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_kernels("auto", "cuda:0") == "cuda"
