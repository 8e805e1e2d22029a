"""The one error a user meets: a single line saying what is wrong, what was found, what was expected and what to do."""

from __future__ import annotations

import errno
import os
import re

_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StudioError(Exception):
    """A problem that the user can mend.

    Args:
        what: what is wrong, naming the file, key or object.
        got: what was found.
        expected: what would have been right.
        next: what to do now.
    """

    def __init__(self, what: str, *, got: object = None, expected: object = None, next: str | None = None) -> None:
        self.what, self.got, self.expected, self.next = what, got, expected, next
        parts = [what]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        if next is not None:
            parts.append(f"next: {next}")
        super().__init__("; ".join(" ".join(str(part).split()) for part in parts))


def is_disk_full(error: BaseException) -> bool:
    """Also where a library has wrapped the error: safetensors and FFmpeg keep only its text, NumPy not even that."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    if isinstance(error, OSError) and _SHORT_WRITE.fullmatch(str(error)):
        return True
    texts = [os.strerror(code) for code in _FULL]
    return any(text in str(item) for item in (error, error.__cause__, error.__context__) if item for text in texts)
