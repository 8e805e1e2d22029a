"""The house's order, checked by reading the imports: studio <- capture <- recon <- reenact <- viewer <- studio.cli."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
ORDER = ("studio", "capture", "recon", "reenact", "viewer")
CUDA_ONLY = {"gsplat", "nerfacc", "tinycudann"}
FILES = sorted(path for room in ORDER for path in (PROJECT / room).rglob("*.py"))
EVERYTHING = [*FILES, *sorted(path for room in ("tests", "benchmarks") for path in (PROJECT / room).rglob("*.py"))]
# They write the serialised files, hostile ones too, whose reading is tested.
MAY_SERIALISE = {
    "tests/contracts/reader_examples.py",
    "tests/recon/test_perceptual.py",
    "tests/studio/heads/flame_fixture.py",
    "tests/studio/test_hostile.py",
    "tests/studio/test_unpickler.py",
}
FORBIDDEN = {
    "a CUDA device is chosen by the caller": r"\.cuda\(\)",
    "unsafe loading": r"\bpickle\b|\btorch\.(load|save)\(|allow_pickle=True|\bjoblib\b|\bshelve\b",
    "running text as code": r"(?<![\w.])(eval|exec)\(",
    "a shell": r"shell=True|\bos\.(system|popen)\(",
    "swallowing every error": r"except(\s+BaseException)?\s*:\s*(pass)?$",
}
# Weights that users bring as others publish them, in torch's format of before 2020 that ``studio.unpickler`` does not
# know: tensors only, by torch's restricted reader, after a check of sha256.
PUBLISHED_WEIGHTS = {"recon/perceptual.py"}
RESTRICTED = r"torch\.load\(.*weights_only=True"


def _name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def _imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or "", node


def _rank(module: str) -> int | None:
    """Position of a module's room; the command line comes after all; None for what is not ours."""
    if module == "studio.cli" or module.startswith("studio.cli."):
        return len(ORDER)
    room = module.partition(".")[0]
    return ORDER.index(room) if room in ORDER else None


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_a_room_imports_only_from_those_before_it(path):
    own = _rank(_name(path).removesuffix(".py").replace("/", "."))
    for module, node in _imports(ast.parse(path.read_text(encoding="utf-8"))):
        rank = _rank(module)
        assert rank is None or rank <= own, f"{_name(path)}:{node.lineno} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_cuda_libraries_are_imported_inside_functions(path):
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        found = {module.partition(".")[0] for module, _ in _imports(statement)} & CUDA_ONLY
        assert not found, f"{_name(path)} imports {found} when it is imported"


@pytest.mark.parametrize("path", [path for path in EVERYTHING if path != Path(__file__)], ids=_name)
def test_nothing_forbidden(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if _name(path) in PUBLISHED_WEIGHTS and re.search(RESTRICTED, line):
            continue
        for why, pattern in FORBIDDEN.items():
            if why == "unsafe loading" and _name(path) in MAY_SERIALISE:
                continue
            assert not re.search(pattern, line), f"{_name(path)}:{number} {why}: {line.strip()}"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{_name(path)} has no docstring"


def test_the_entry_point_imports_nothing_heavy():
    heavy = ["torch", "numpy", "scipy", "numba", "hydra", "omegaconf", "yaml", "cv2", "av", "mediapipe", "viser"]
    code = f"import sys, studio.cli.main; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert run.stdout.strip() == "[]"
