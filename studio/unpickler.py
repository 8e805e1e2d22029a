"""Data that Python programs serialised (torch.save's checkpoints, FLAME's files), read without executing any of it.

A small machine interprets the instructions that ``pickletools`` parses. It makes numbers, text, lists, dictionaries and
arrays; a class is only ever a name with its fields, and calling anything but the few constructors of arrays is refused.
Memory is bounded by the size of the file.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from studio.errors import StudioError

MAX_FILE_BYTES = 1 << 30
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_EXPECTED = "arrays, numbers, text, lists and dictionaries"


@dataclass(frozen=True)
class Name:
    """A class or function that the file refers to; never looked up."""

    text: str


@dataclass
class Record:
    """An object of a class that is not known here: the class's name and what was stored of it."""

    name: str
    state: Any = None


@dataclass
class _Array:
    """An array whose content comes with a later instruction."""

    value: np.ndarray | None = None


@dataclass
class _Type:
    """A numpy data type; its byte order comes with a later instruction."""

    value: np.dtype[Any]


def read_serialised(path: Path) -> Any:
    """The data of a serialised file, in torch.save's container or plain.

    Returns:
        Numbers, text, lists, tuples, dictionaries, numpy arrays (tensors become arrays) and ``Record``s.

    Raises:
        StudioError: missing, damaged, or it would have to execute something.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ValueError(f"{size} bytes")
        if zipfile.is_zipfile(path):
            return _read_container(path)
        return _Machine(path.read_bytes()).run()
    except StudioError as error:
        raise StudioError(f"{path}: {error.what}", got=error.got, expected=error.expected, next=error.next) from error
    except FileNotFoundError as error:
        raise StudioError(f"cannot read {path}", got="no such file", expected=_EXPECTED) from error
    except Exception as error:  # whatever nonsense a damaged file leads to
        raise StudioError(
            f"cannot read {path}", got=str(error)[:200] or type(error).__name__, expected=_EXPECTED
        ) from error


def _read_container(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = [item.filename for item in archive.infolist() if item.filename.endswith("data.pkl")]
        if len(names) != 1 or sum(item.file_size for item in archive.infolist()) > MAX_FILE_BYTES:
            raise ValueError("not a file of torch.save")
        prefix = names[0].removesuffix("data.pkl")
        data = archive.read(names[0])
        return _Machine(data, lambda key: archive.read(f"{prefix}data/{key}")).run()


def plain_array(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> np.ndarray:
    """An array of numbers or text from its bytes. Raises ValueError when they do not fit or it holds objects."""
    size = dtype.itemsize
    for length in shape:
        size *= length  # Python's integers: no overflow
    if dtype.kind not in "biufcUS" or min(shape, default=0) < 0 or len(shape) > 8 or size != len(data):
        raise ValueError(f"an array {shape} of {dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


@dataclass
class _Machine:
    """Runs the instructions of one file.

    Args:
        data: the instructions.
        storage: the bytes of a tensor's storage, by its key.
    """

    data: bytes
    storage: Callable[[str], bytes] | None = None
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    spent: int = 0
    stored: dict[str, bytes] = field(default_factory=dict)

    def run(self) -> Any:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(self.data)):
            name = opcode.name
            if name == "STOP":
                return _resolved(self.stack.pop(), {})
            if name in _PUSHES:
                self.stack.append(argument)
            elif name in _INSTRUCTIONS:
                _INSTRUCTIONS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise StudioError(f"an instruction that is not allowed ({name})", expected=_EXPECTED)
        raise ValueError("it ends early")

    def items(self) -> list[Any]:
        """What was stacked since the last mark."""
        place = self.marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items

    def take(self, count: int) -> tuple[Any, ...]:
        taken = tuple(self.stack[len(self.stack) - count :])
        if len(taken) < count:
            raise ValueError("nothing left")
        del self.stack[len(self.stack) - count :]
        return taken

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(target, dict) or not isinstance(key, str | int | bytes):
                raise ValueError("not a dictionary of names")
            target[key] = value

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("not a list")
        self.stack[-1].extend(items)

    def call(self, function: Any, arguments: Any) -> Any:
        text = function.text if isinstance(function, Name) else type(function).__name__
        constructor = _CONSTRUCTORS.get(text)
        if constructor is None or not isinstance(arguments, tuple):
            raise StudioError("it would have to call something", got=text, expected=_EXPECTED, next="do not trust it")
        return constructor(self, *arguments)

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, fortran, content = state
            target.value = plain_array(self.raw(content), dtype.value, _sizes(shape), bool(fortran))
        elif isinstance(target, _Type):
            target.value = target.value.newbyteorder(state[1]) if state[1] in ("<", ">") else target.value
        elif isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):  # an OrderedDict's own fields do not matter
            raise ValueError("nothing to fill")

    def new(self, cls: Any, *_: Any) -> Record:
        if not isinstance(cls, Name):
            raise ValueError("no class")
        return Record(cls.text)

    def array(self, *_: Any) -> _Array:
        return _Array()

    def scalar(self, dtype: _Type, content: Any) -> Any:
        return plain_array(self.raw(content), dtype.value, (), False).item()

    def dtype(self, text: str, *_: Any) -> _Type:
        made = np.dtype(text) if isinstance(text, str) and len(text) < 16 else None
        if made is None or made.kind not in "biufcUS":
            raise ValueError(f"arrays of {text!r:.40}")
        return _Type(made)

    def from_buffer(self, content: Any, dtype: _Type, shape: Any, order: str) -> _Array:
        return _Array(plain_array(self.raw(content), dtype.value, _sizes(shape), order == "F"))

    def encode(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(encoding)
        return self.raw(text)

    def spend(self, amount: int) -> None:
        """Count what is copied, since a small file can ask for the same large thing again and again."""
        self.spent += amount
        if self.spent > 2 * len(self.data):
            raise ValueError("more data than the file holds")

    def raw(self, content: Any) -> bytes:
        """The bytes of an array; Python 2 stored them as text."""
        if isinstance(content, bytes):
            return content
        self.spend(len(content))
        return content.encode("latin-1") if isinstance(content, str) else bytes(content)

    def mapping(self, pairs: Any = ()) -> dict[Any, Any]:
        self.spend(len(pairs))
        self.stack.append({})
        self.set_items([item for pair in pairs for item in pair])
        made: dict[Any, Any] = self.stack.pop()
        return made

    def members(self, items: Any = ()) -> list[Any]:
        """A set, as the list of what it holds."""
        self.spend(len(items))
        return list(items)

    def reference(self, parts: Any) -> tuple[bytes, np.dtype[Any]]:
        """A tensor's storage: its bytes and type."""
        kind, cls, key = parts[:3]
        if kind != "storage" or self.storage is None or not isinstance(key, str):
            raise ValueError("a reference to something else")
        if key not in self.stored:
            self.stored[key] = self.storage(key)
        return self.stored[key], np.dtype(_STORAGES[cls.text.removeprefix("torch.")])

    def tensor(self, storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> np.ndarray:
        content, dtype = storage
        flat = np.frombuffer(content, dtype=dtype)
        shape, strides = _sizes(shape), _sizes(strides)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if min((*shape, *strides, offset), default=0) < 0 or (0 not in shape and last >= len(flat)):
            raise ValueError(f"a tensor {shape} in a storage of {len(flat)}")
        if int(np.prod([float(size) for size in shape])) > len(flat):
            raise ValueError("a tensor larger than its storage")
        steps = [stride * dtype.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = tuple(shape)
    if not all(isinstance(size, int) for size in sizes):
        raise ValueError("sizes that are no numbers")
    return sizes


def _resolved(value: Any, done: dict[int, Any]) -> Any:
    """The finished data: arrays in the place of their promises. What is shared is visited once."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        made: dict[Any, Any] = {}
        done[id(value)] = made
        made.update({key: _resolved(item, done) for key, item in value.items()})
        return made
    if isinstance(value, list):
        items: list[Any] = []
        done[id(value)] = items
        items.extend(_resolved(item, done) for item in value)
        return items
    if isinstance(value, tuple):
        done[id(value)] = result = tuple(_resolved(item, done) for item in value)
        return result
    if isinstance(value, Record):
        done[id(value)] = record = Record(value.name)
        record.state = _resolved(value.state, done)
        return record
    return value


def _memoise(machine: _Machine, argument: int | None) -> None:
    machine.memo[len(machine.memo) if argument is None else int(argument)] = machine.stack[-1]


def _collect(machine: _Machine, _: object, made: Callable[[list[Any]], Any]) -> None:
    machine.stack.append(made(machine.items()))


def _pairs(machine: _Machine, items: list[Any]) -> dict[Any, Any]:
    return machine.mapping(list(zip(items[::2], items[1::2], strict=True)))


def _last(machine: _Machine, _: object, count: int) -> None:
    machine.stack.append(machine.take(count))


def _global(machine: _Machine, argument: str | None) -> None:
    module, name = machine.take(2) if argument is None else argument.split(" ", 1)
    machine.stack.append(Name(f"{module}.{name}"))


def _reduce(machine: _Machine, _: object) -> None:
    machine.stack.append(machine.call(*machine.take(2)))


def _new_object(machine: _Machine, _: object) -> None:
    machine.stack.append(machine.new(*machine.take(2)))


_PUSHES = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "LIST": partial(_collect, made=list),
    "TUPLE": partial(_collect, made=tuple),
    "DICT": lambda machine, _: machine.stack.append(_pairs(machine, machine.items())),
    "TUPLE1": partial(_last, count=1),
    "TUPLE2": partial(_last, count=2),
    "TUPLE3": partial(_last, count=3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.items()),
    "SETITEM": lambda machine, _: machine.set_items(list(machine.take(2))),
    "SETITEMS": lambda machine, _: machine.set_items(machine.items()),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.items(),
    "PUT": _memoise,
    "BINPUT": _memoise,
    "LONG_BINPUT": _memoise,
    "MEMOIZE": _memoise,
    "GET": lambda machine, key: machine.stack.append(machine.memo[int(key)]),
    "BINGET": lambda machine, key: machine.stack.append(machine.memo[int(key)]),
    "LONG_BINGET": lambda machine, key: machine.stack.append(machine.memo[int(key)]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _global,
    "REDUCE": _reduce,
    "NEWOBJ": _new_object,
    "BUILD": lambda machine, _: machine.build(machine.stack.pop()),
    "BINPERSID": lambda machine, _: machine.stack.append(machine.reference(machine.stack.pop())),
}
_CONSTRUCTORS: Mapping[str, Callable[..., Any]] = {
    "numpy.core.multiarray._reconstruct": _Machine.array,
    "numpy._core.multiarray._reconstruct": _Machine.array,
    "numpy.core.multiarray.scalar": _Machine.scalar,
    "numpy._core.multiarray.scalar": _Machine.scalar,
    "numpy.core.numeric._frombuffer": _Machine.from_buffer,
    "numpy._core.numeric._frombuffer": _Machine.from_buffer,
    "numpy.dtype": _Machine.dtype,
    "_codecs.encode": _Machine.encode,
    "collections.OrderedDict": _Machine.mapping,
    "__builtin__.set": _Machine.members,
    "builtins.set": _Machine.members,
    "copy_reg._reconstructor": _Machine.new,
    "copyreg._reconstructor": _Machine.new,
    "torch._utils._rebuild_tensor_v2": _Machine.tensor,
}
