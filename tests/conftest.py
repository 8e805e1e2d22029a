"""Fixtures and rules for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("STUDIO_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference recordings and assets; tests that need it are skipped where it is absent."""
    if not (SHARED / "README.md").is_file():
        pytest.skip(f"no reference recordings at {SHARED} (set STUDIO_SHARED)")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def signing_key(tmp_path_factory) -> None:
    """Tests sign with a key of their own."""
    from studio.provenance.identity import make_identity

    folder = tmp_path_factory.mktemp("signing") / "key"
    make_identity(folder, "the tests")
    os.environ["STUDIO_SIGNING"] = str(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where torch sees no CUDA device."""
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu_tests:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu_tests:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
