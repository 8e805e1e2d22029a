"""From composed settings to the frozen dataclasses that the rooms' functions take, every value checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from studio.errors import StudioError
from studio.nearest import did_you_mean

Built = TypeVar("Built")
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


def build(cls: type[Built], values: Mapping[str, Any], where: str = "") -> Built:
    """An instance of a dataclass from plain values.

    Args:
        cls: a dataclass whose fields are numbers, text, paths, Literal, tuples, mappings, unions of them or
            dataclasses.
        values: its fields by name; fields that are left out keep their default.
        where: dotted name of the group, for messages.

    Raises:
        StudioError: a name that the dataclass does not have, a missing one, or a value of another type.
    """
    hints = typing.get_type_hints(cls)
    fields = {item.name: item for item in dataclasses.fields(cls) if item.init}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise StudioError(
                f"unknown setting {_dotted(where, name)}", expected=did_you_mean(name, fields) or ", ".join(fields)
            )
    for name, item in fields.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise StudioError(f"missing setting {_dotted(where, name)}", next=f"give {_dotted(where, name)}=…")
    return cls(**{name: convert(value, hints[name], _dotted(where, name)) for name, value in values.items()})


def convert(value: Any, hint: Any, name: str) -> Any:
    """A plain value (as YAML gives it, or text from the command line) as the type that a field declares."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, name)
    if origin is typing.Literal:
        if value not in arguments:
            listed = [str(choice) for choice in arguments]
            raise StudioError(f"wrong value of {name}", got=value, expected=" | ".join(listed))
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return _convert_tuple(value, arguments, name)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(type, hint), value, name)
    if origin is Mapping and arguments and isinstance(value, Mapping):
        return {
            convert(key, arguments[0], name): convert(item, arguments[1], f"{name}.{key}")
            for key, item in value.items()
        }
    if hint in _WORDS:
        return _convert_scalar(value, hint, name)
    if isinstance(value, origin if isinstance(origin, type) else hint):
        return value
    raise StudioError(f"wrong value of {name}", got=repr(value), expected=getattr(hint, "__name__", hint))


def _convert_union(value: Any, arguments: tuple[Any, ...], name: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    problem: StudioError | None = None
    for choice in arguments:
        if choice is not type(None):
            try:
                return convert(value, choice, name)
            except StudioError as error:
                problem = problem or error
    assert problem is not None
    raise problem


def _convert_tuple(value: list[Any] | tuple[Any, ...], arguments: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise StudioError(f"wrong number of values in {name}", got=len(value), expected=len(hints))
    return tuple(convert(item, hint, f"{name}[{index}]") for index, (item, hint) in enumerate(zip(value, hints)))


def _convert_scalar(value: Any, hint: type, name: str) -> Any:
    """Exact conversions only: no 1.5 for a whole number, no 1 for true; numbers are finite, whole ones have 64 bits."""
    wrong = StudioError(f"wrong value of {name}", got=repr(value)[:90], expected=_WORDS[hint])
    if hint is bool:
        words = {"true": True, "false": False}
        if isinstance(value, bool) or str(value).lower() in words:
            return words[str(value).lower()]
        raise wrong
    if isinstance(value, bool | list | tuple | Mapping) or value is None:
        raise wrong
    if hint is int and isinstance(value, float):
        raise wrong
    try:
        converted = hint(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if (hint is float and not math.isfinite(converted)) or (hint is int and abs(converted) >= 2**63):
        raise wrong
    return converted


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
