"""What the user typed, sorted: a verb, its settings and the switches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.cli.verbs import VERBS
from studio.errors import StudioError
from studio.nearest import did_you_mean


@dataclass(frozen=True)
class CommandLine:
    """What the user typed: a verb, its key=value settings and the switches."""

    verb: str
    settings: tuple[str, ...]
    help: bool
    multirun: bool
    print_config: bool


_SWITCHES = {
    "-h": "help",
    "--help": "help",
    "-m": "multirun",
    "--multirun": "multirun",
    "-c": "print_config",
    "--cfg": "print_config",
    "--cfg=job": "print_config",
}


def parse(arguments: Sequence[str]) -> CommandLine:
    """Sort the arguments of a verb. Raises StudioError for an unknown verb or switch."""
    verb, *rest = arguments
    if verb not in VERBS:
        raise StudioError(
            "unknown command", got=verb, expected=did_you_mean(verb, VERBS) or ", ".join(VERBS), next="studio --help"
        )
    switches = {name: False for name in _SWITCHES.values()}
    settings: list[str] = []
    for argument, before in zip(rest, ["", *rest]):
        if argument in _SWITCHES:
            switches[_SWITCHES[argument]] = True
        elif argument == "job" and before in ("-c", "--cfg"):
            continue
        elif argument.startswith("-"):
            raise StudioError(
                "unknown switch", got=argument, expected=", ".join(_SWITCHES), next=f"studio {verb} --help"
            )
        else:
            settings.append(argument)
    return CommandLine(verb, tuple(settings), **switches)
