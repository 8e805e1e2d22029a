"""Damaged and hostile files for every reader of footage: each must be read or answered with one StudioError.

    python -m benchmarks.fuzz [--count 2000] [--seed 0] [EXAMPLE …]

Every example of tests/contracts/reader_examples.py is written once; then one of its files at a time is mutated (bits,
cuts, copies; in JSON, archives and text also values, keys and paths) and read in a child process. A child that dies,
takes longer than ``SECONDS`` on a file, grows by more than ``MEGABYTES``, writes outside of its folder or raises
anything but StudioError is a failure; it is told with what reproduces it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from studio.errors import StudioError

SECONDS = 20.0
MEGABYTES = 1500
_VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("inf"), -0.0, 0.5, True, None),
    *("", "x", "../../../../etc/passwd", "/etc/passwd", "a" * 5000, "..", "\0", "💥", [], {}, [[]], [1, 2, 3]),
)
_WORDS = (b"nan", b"inf", b"-1", b"0", b"1e400", b"99999999999999999999", b"../../x", b"", b"\xff\xfe", b"\0", b"\n\n")


def mutate(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """A damaged or hostile variant of a file."""
    kinds: list[Callable[[bytes, random.Random], bytes]] = [_bits, _cut, _copied, _noise]
    if suffix == ".json":
        kinds += [_json_value] * 8
    elif suffix in (".npz", ".frame"):
        kinds += [_archive] * 6
    elif suffix in (".txt", ""):
        kinds += [_words] * 6
    return rng.choice(kinds)(data, rng)


def _bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] if rng.random() < 0.5 else data[:start] + data[stop:]


def _copied(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    place = rng.randrange(len(data) + 1)
    return data[:place] + data[start : min(stop, start + 4096)] * rng.choice((1, 1, 30)) + data[place:]


def _noise(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 4, 16, 256))
    return data[:place] + rng.randbytes(length) + data[place + rng.choice((0, length)) :]


def _words(data: bytes, rng: random.Random) -> bytes:
    words = data.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(_WORDS)
    return b" ".join(words)


def _json_value(data: bytes, rng: random.Random) -> bytes:
    """A value, key or element of a JSON file is changed, removed or doubled."""
    try:
        root = [json.loads(data)]
    except ValueError:
        return _bits(data, rng)
    holder: Any = root
    while True:
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if isinstance(inner, dict | list) and inner and rng.random() < 0.85:
            holder = inner
            continue
        break
    action = rng.random()
    if action < 0.2 and holder is not root:
        del holder[key]
    elif action < 0.3 and isinstance(holder, list) and holder is not root:
        holder += [inner] * rng.choice((1, 100))
    elif isinstance(inner, int | float) and action < 0.5:
        holder[key] = inner * rng.choice((-1, 0, 2, 1000, 1e-9))
    else:
        holder[key] = rng.choice(_VALUES)
    return json.dumps(root[0]).encode()


def _archive(data: bytes, rng: random.Random) -> bytes:
    """A member of a zip archive is damaged, renamed, lost or blown up, the archive itself being whole."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {item.filename: archive.read(item) for item in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError):
        return _bits(data, rng)
    name = rng.choice(list(members))
    action = rng.random()
    if action < 0.1:
        del members[name]
    elif action < 0.2:
        members[rng.choice(("../../evil.npy", "evil", name.upper()))] = members.pop(name)
    elif action < 0.3:
        members[name] += bytes(rng.choice((1, 1000, 20_000_000)))
    else:
        members[name] = rng.choice((_bits, _bits, _cut, _copied, _noise))(members[name], rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return stream.getvalue()


class Target:
    """An example that can be read again and again with one of its files mutated."""

    def __init__(self, name: str, root: Path) -> None:
        """Args: name: of the example; root: an empty folder for it."""
        from capture.readers import readers
        from tests.contracts.reader_examples import EXAMPLES

        reader, write = EXAMPLES[name]
        self.name, self.root, self.reader = name, root, readers()[reader]
        self.example = write(root / "source")
        pictures = [path for path in (root / "source").rglob("*") if path.suffix in (".png", ".jpg")]
        self.files = [path for path in self.example.hostile for _ in range(6)] + sorted(pictures)[:2]
        self.whole = {path: path.read_bytes() for path in self.files}

    def attempt(self, seed: int) -> str:
        """Read the mutation of a seed: "read", "refused", or what went wrong."""
        rng = random.Random(f"{self.name} {seed}")
        path, out = rng.choice(self.files), self.root / "out"
        path.write_bytes(mutate(self.whole[path], path.suffix, rng))
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                accepted = self.reader.accepts(self.example.source)  # must not raise either
                self.reader.read(self.example.source, out, self.reader.settings())
            result = "read" if accepted else "read, though not recognised"
        except StudioError as error:
            result = "refused" if "\n" not in str(error) else "a message of several lines"
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        finally:
            path.write_bytes(self.whole[path])
        shutil.rmtree(out, ignore_errors=True)
        stray = [item.name for item in self.root.iterdir() if item.name != "source"]
        return f"left {stray}" if stray else result


def _serve(name: str, seeds: list[int], pipe: Connection) -> None:
    """In the child: one message before and one after each mutation."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)  # FFmpeg's and libpng's complaints
    with tempfile.TemporaryDirectory() as folder:
        target = Target(name, Path(folder))
        target.attempt(-1)  # what is loaded at first use is not growth
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed in seeds:
            pipe.send((seed, None))
            result = target.attempt(seed)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            before = max(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            pipe.send((seed, f"grew by {grown:.0f} MB" if grown > MEGABYTES else result))


def fuzz(name: str, count: int, first: int = 0) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Outcomes of ``count`` mutations of an example, and the failures with their seeds."""
    outcomes: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    todo = list(range(first, first + count))
    context = multiprocessing.get_context("spawn")
    while todo:
        ours, theirs = context.Pipe()
        child = context.Process(target=_serve, args=(name, todo, theirs))
        child.start()
        theirs.close()
        current, began = None, time.monotonic()
        while todo:
            allowance = SECONDS if current is not None else 120.0  # a child's start imports everything
            problem = None
            try:
                if not ours.poll(allowance):
                    problem = f"took longer than {time.monotonic() - began:.0f} s"
                else:
                    seed, result = ours.recv()
                    began = time.monotonic()
                    current = seed if result is None else None
                    if result is None:
                        continue
                    todo.remove(seed)
                    outcomes[result if result in ("read", "refused") else "failed"] += 1
                    if result not in ("read", "refused", "read, though not recognised"):
                        failures.append((seed, result))
                    continue
            except EOFError:
                child.join(10)
                problem = f"the process died ({child.exitcode})"
            failures.append((current if current is not None else -1, problem))
            outcomes["failed"] += 1
            if current is None:
                todo = []
            else:
                todo.remove(current)
            break
        child.kill()
        child.join()
    return outcomes, failures


def main() -> None:
    """Fuzz the examples named, or all."""
    from tests.contracts.reader_examples import EXAMPLES

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples", nargs="*", help="all by default")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first mutation")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.examples or EXAMPLES:
        began = time.monotonic()
        outcomes, failures = fuzz(name, arguments.count, arguments.seed)
        failed += len(failures)
        told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        print(f"{name:<20} {told} ({time.monotonic() - began:.0f} s)", flush=True)
        for seed, problem in failures[:10]:
            print(f"  seed {seed}: {problem}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
