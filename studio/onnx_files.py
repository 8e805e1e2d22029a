"""Networks that users bring as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from studio.errors import StudioError


def open_onnx(path: Path, what: str) -> Any:
    """An inference session of onnxruntime on the CPU.

    Args:
        path: the file.
        what: what it should be, for people: "a matting network".

    Raises:
        StudioError: onnxruntime is not installed; no such file; not a network.
    """
    try:
        import onnxruntime
    except ImportError as error:
        advice = 'pip install -c constraints.txt "head-avatar-studio[matte]"'
        raise StudioError(f"{what} needs onnxruntime", got="not installed", next=advice) from error
    if not path.is_file():
        raise StudioError(f"no such file: {path}", expected=f"{what} (.onnx)", next="check the path")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, without a common parent
        raise StudioError(f"cannot load {path}", got=str(error)[:200], expected="an ONNX network") from error
