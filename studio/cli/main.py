"""``studio <verb> key=value …``: reads the arguments and runs a verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from studio import __version__
from studio.cli.help import overview, verb_help
from studio.cli.nearest import did_you_mean
from studio.cli.verbs import VERBS
from studio.errors import StudioError


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code: 0 done, 2 the user can mend it, 1 a defect, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _answer(arguments)
        sys.stdout.flush()
    except BaseException as error:
        from studio.cli.report import report

        return report(error, arguments)
    return 0


def _answer(arguments: Sequence[str]) -> None:
    """Print help or the version, or run a verb."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return
    if arguments[0] == "--version":
        print(f"studio {__version__}")
        return
    line = parse(arguments)
    if line.help:
        print(verb_help(line.verb, line.settings))
        return
    from studio.cli.run import run_jobs

    run_jobs(line)


if __name__ == "__main__":
    sys.exit(main())
