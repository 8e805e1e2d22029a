"""The wheel: built without network from a folder with spaces in its path, complete, and working on its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("studio", "capture", "recon", "reenact", "viewer", "configs")
DATA = (".yaml", ".npz", ".npy", ".json", ".png", ".safetensors")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """The contents of a wheel that was built from a copy of the sources."""
    source = tmp_path_factory.mktemp("my projects") / "head avatar studio"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", source / "dist", source], check=True, capture_output=True, text=True)
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(source / "unpacked")
    return source / "unpacked"


def test_the_wheel_holds_every_module_and_data_file(unpacked):
    for package in PACKAGES:
        for path in (PROJECT / package).rglob("*"):
            if path.suffix in (".py", *DATA) and "__pycache__" not in path.parts:
                assert (unpacked / path.relative_to(PROJECT)).is_file(), path.relative_to(PROJECT)


def test_the_wheel_holds_nothing_else(unpacked):
    top = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert top == set(PACKAGES)


@pytest.mark.parametrize("arguments", [["--help"], ["make", "--help"], ["info", "folder=a b", "--cfg"]])
def test_the_unpacked_wheel_works_alone(unpacked, arguments, tmp_path):
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); from studio.cli.main import main; sys.exit(main())"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert run.stdout
    assert not run.stderr


def test_torch_is_pinned_and_heavy_duplicates_are_absent():
    pins = (PROJECT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in pins
    text = (PROJECT / "pyproject.toml").read_text()
    names = re.findall(r'^    "([\w-]+)', text.partition("[project.optional-dependencies]")[0], re.MULTILINE)
    assert {"torch", "gsplat", "nerfacc", "kornia", "imageio", "viser", "hydra-core"} <= set(names)
    assert [name for name in names if name.startswith("opencv")] == ["opencv-contrib-python"]
    assert re.search(r"^cuda = \[", text, re.MULTILINE)
    assert re.search(r"^dev = \[", text, re.MULTILINE)


def test_the_readme_names_commands_that_exist():
    from studio.cli.verbs import VERBS

    text = (PROJECT / "README.md").read_text()
    makefile = (PROJECT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target}" in text
        assert f"\n{target}: " in makefile
    for verb in VERBS:
        assert f"studio {verb}" in text, f"README does not show studio {verb}"
    assert "make test" in (PROJECT / ".ci" / "run").read_text()
