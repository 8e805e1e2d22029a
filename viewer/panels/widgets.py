"""Small things that every panel needs from viser's widgets."""

from __future__ import annotations

from typing import TypeVar

import viser

Value = TypeVar("Value")


def set_value(widget: viser.GuiInputHandle[Value], value: Value) -> None:
    """Set a widget in all browsers. (viser's property has a setter that type checkers do not see.)"""
    widget.value = value  # type: ignore[misc]
