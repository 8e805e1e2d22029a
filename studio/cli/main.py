"""``studio <verb> key=value …``: reads the arguments and runs a verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from studio import __version__
from studio.cli.arguments import parse
from studio.cli.help import overview, verb_help


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
